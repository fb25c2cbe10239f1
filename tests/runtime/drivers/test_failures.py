# ruff: noqa: E501 - what servers say is quoted as they say it
"""What servers say when a call fails: the words of each, as they are, and what is learned from them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kheish.runtime.drivers import failures, sayings
from kheish.runtime.drivers.base import ModelError


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "9", "retry-after-ms": "250"}, 0.25),
        ({}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert failures.retry_after(headers, now=10.0) == seconds


def openai(message: str, code: str | None = None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code, **more}}


#: server → (status, body, window, size of the prompt)
TOO_LONG: dict[str, tuple[int, Any, int | None, int | None]] = {
    "openai": (400, openai("This model's maximum context length is 8192 tokens. However, your messages resulted in 9031 "
                           "tokens. Please reduce the length of the messages.", "context_length_exceeded"), 8192, 9031),
    "volcano ark": (400, openai("Input length 203743 exceeds the maximum length 202752"), 202752, 203743),
    "sglang, without a window": (400, openai("Input length (160062 tokens) exceeds the maximum allowed length (59862 "
                                             "tokens)."), 59862, 160062),
    "siliconflow": (400, {"code": 20015, "message": "length of prompt_tokens (147509) must be less than max_seq_len "
                                                    "(65536).", "data": None}, 65536, 147509),
    "bedrock, with sizes": (400, {"message": "Too many input tokens. Max input tokens: 8192, request input token count: 9279 "},
                8192, 9279),
    "baidu": (400, openai("prompt tokens too long"), None, None),
    "openai responses": (400, openai("Your input exceeds the context window of this model."), None, None),
    "azure": (400, openai("Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 509178 "
                          "tokens."), 272000, 509178),
    "openai per minute": (429, openai("Request too large for gpt-4o in organization org-a on tokens per min (TPM): Limit "
                                      "30000, Requested 34954.", "rate_limit_exceeded"), 30000, 34954),
    "groq": (413, openai("Request too large for model `x` in organization `o` on tokens per minute (TPM): Limit 6000, "
                         "Requested 8120, please reduce your message size.", "rate_limit_exceeded"), 6000, 8120),
    "groq, messages": (400, openai("Please reduce the length of the messages or completion."), None, None),
    "gemini": (400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "The input token count (1196265) "
                                "exceeds the maximum number of tokens allowed (1048575)."}}], 1048575, 1196265),
    "vertex": (400, [{"error": {"code": 400, "message": "Unable to submit request because the input token count is 40000 "
                                "but model only supports up to 32768. Reduce the input token count."}}], 32768, 40000),
    "vertex, no brackets": (400, {"error": {"code": 400, "message": "The input token count exceeds the maximum number of "
                                            "tokens allowed 1048576."}}, 1048576, None),
    "tabbyAPI": (400, "ValueError: Request length 71599 + 2048 is greater than max_seq_len 65536", 65536, 71599),
    "triton": (400, "Cannot process new request: Prompt length (5056) exceeds maximum sequence length (2048)", 2048, 5056),
    "anthropic": (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: "
                                                   "214850 tokens > 200000 maximum"}}, 200000, 214850),
    "anthropic, limit": (400, openai("input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, "
                                     "decrease input length or `max_tokens` and try again"), 200000, 188240),
    "anthropic, bytes": (413, {"type": "error", "error": {"type": "request_too_large", "message": "Request exceeds the "
                                                          "maximum size"}}, None, None),
    "bedrock": (400, {"message": "Input is too long for requested model."}, None, None),
    "xai": (400, {"code": "Client specified an invalid argument", "error": "This model's maximum prompt length is 131072 "
                  "but the request contains 537812 tokens."}, 131072, 537812),
    "mistral": (400, {"object": "error", "message": "Prompt contains 65673 tokens and 0 draft tokens, too large for model "
                      "with 32768 maximum context length", "type": "invalid_request_error"}, 32768, 65673),
    "moonshot": (400, openai("Invalid request: Your request exceeded model token limit: 262144 (requested: 291351)"),
                 262144, 291351),
    "dashscope": (400, openai("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 98304]",
                              "invalid_parameter_error"), 98304, None),
    "sglang": (400, {"object": "error", "message": "The input (516368 tokens) is longer than the model's context length "
                     "(262144 tokens).", "code": 400}, 262144, 516368),
    "sglang, total": (400, {"object": "error", "message": "Requested token count exceeds the model's maximum context "
                            "length of 64000 tokens. You requested a total of 71897 tokens: 63897 tokens from the input "
                            "messages and 8000 tokens for the completion."}, 64000, 63897),
    "vllm": (400, {"object": "error", "message": "This model's maximum context length is 16384 tokens. However, you "
                   "requested 122946 tokens (112946 in the messages, 10000 in the completion).", "code": 400},
             16384, 112946),
    "vllm, engine": (400, openai("The decoder prompt (length 9254) is longer than the maximum model length of 4096."),
                     4096, 9254),
    "llama.cpp": (400, {"error": {"code": 400, "message": "the request exceeds the available context size, try "
                                  "increasing it", "type": "exceed_context_size_error", "n_prompt_tokens": 13392,
                                  "n_ctx": 8192}}, 8192, 13392),
    "llama.cpp, newer": (400, openai("request (13392 tokens) exceeds the available context size (8192 tokens)"),
                         8192, 13392),
    "llama.cpp, running": (500, openai("Context size has been exceeded."), None, None),
    "llama-cpp-python": (500, openai("Requested tokens (5136) exceed context window of 4096"), 4096, 5136),
    "ollama": (400, {"error": "prompt too long; exceeded max context length by 15935 tokens"}, None, None),
    "fireworks": (400, openai("The prompt is too long: 203557, model maximum context length: 196607"), 196607, 203557),
    "tgi": (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 "
                  "`inputs` tokens and 1024 `max_new_tokens`", "error_type": "validation"}, 4096, 4000),
    "tgi, inputs": (422, {"error": "Input validation error: `inputs` must have less than 4095 tokens. Given: 5000"},
                    4095, 5000),
    "together": (422, openai("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 8000 "
                             "`inputs` tokens and 512 `max_new_tokens`"), 8193, 8000),
    "copilot": (400, openai("prompt token count of 202345 exceeds the limit of 128000",
                            "model_max_prompt_tokens_exceeded"), 128000, 202345),
    "lm studio": (400, {"error": "Trying to keep the first 6269 tokens when context the overflows. However, the model is "
                        "loaded with context length of only 4096 tokens, which is not enough."}, 4096, 6269),
    "lm studio, older": (400, {"error": "The number of tokens to keep from the initial prompt is greater than the "
                               "context length."}, None, None),
    "lm studio, older, with numbers": (400, {"error": "The number of tokens to keep from the initial prompt is greater than "
                                       "the context length (n_keep: 10247 >= n_ctx: 4096). Try to load the model with a "
                                       "larger context length."}, 4096, 10247),
    "llama-cpp-python, older": (500, openai("Requested tokens exceed context window of 512"), 512, None),
    "anthropic, with the answer": (400, openai("input length and `max_tokens` exceed context limit: 178959 + 64000 > "
                                               "200000, decrease input length or `max_tokens`"), 200000, 178959),
    "openrouter, in parts": (400, openai("This endpoint's maximum context length is 16384 tokens. However, you requested "
                                         "about 94307 tokens (94307 of text input). Please reduce the length"),
                             16384, 94307),
    "cohere, older": (400, {"message": "too many tokens: total number of tokens (prompt and prediction) cannot exceed "
                            "2048 - received 6354."}, 2048, 6354),
    "cohere": (400, {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received "
                     "4292. Try using a shorter prompt"}, 4081, 4292),
    "deepseek": (400, openai("This model's maximum context length is 131072 tokens. However, you requested 140000 tokens "
                             "(132000 in the messages, 8000 in the completion)."), 131072, 132000),
    "openrouter": (400, {"error": {"message": "Provider returned error", "code": 400, "metadata": {
        "provider_name": "X", "raw": '{"error": {"message": "This endpoint\'s maximum context length is 32768 tokens. '
        'However, you requested about 40000 tokens"}}'}}}, 32768, 40000),
    "z.ai": (400, {"error": {"code": "1261", "message": "Prompt exceeds max length"}}, None, None),
    "litellm's proxy": (400, openai("litellm.ContextWindowExceededError: litellm.BadRequestError: OpenAIException - "
                                    "Input length (265330) exceeds model's maximum context length (262144)."),
                        262144, 265330),
    "as text": (400, '{"error": {"message": "{\\"error\\": {\\"message\\": \\"context_length_exceeded\\"}}"}}', None, None),
    "a proxy": (413, "<html>Request Entity Too Large</html>", None, None),
    "within a stream": (0, {"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}}, 8, 9),
}  # fmt: skip


@pytest.mark.found("A7")
@pytest.mark.parametrize("server", TOO_LONG)
def test_a_prompt_that_is_too_long_is_known_and_its_numbers_are_learned(server: str) -> None:
    status, body, window, size = TOO_LONG[server]
    error = failures.from_body(status or None, body)
    assert (error.kind, error.window, error.prompt_tokens) == ("context_length", window, size)


#: server → (status, body, kind, field)
OTHERS: dict[str, tuple[int | None, Any, str, str | None]] = {
    "a field is too long": (400, openai("Expected a string with maximum length 64, but got a string with length 65.",
                                        "string_above_max_length", param="prompt_cache_key"), "bad_request", None),
    "Bedrock's limit of a minute, in a stream": (None, {"message": "Too many tokens, please wait before trying again."},
                                                 "rate_limited", None),
    "tokens a day": (403, openai("Daily token limit exceeded"), "auth", None),
    "tokens a minute": (429, openai("Rate limit reached: too many tokens per minute"), "rate_limited", None),
    "too long an answer": (400, openai("max_tokens is too large: 99999. This model supports at most 4096"), "bad_request",
                           None),
    "openrouter, too long an answer": (400, openai("This endpoint's maximum context length is 131072 tokens. However, you "
                                                   "requested about 138956 tokens (7884 of text input, 131072 in the "
                                                   "output)."), "bad_request", "max_tokens"),
    "groq, a field": (400, openai("'messages.2' : for 'role:assistant' the following must be satisfied[('messages.2' : "
                                  "property 'reasoning_content' is unsupported)]"), "bad_request", "reasoning_content"),
    "vllm, too long an answer": (400, openai("'max_tokens' is too large: 8192. This model's maximum context length is "
                                             "4096 tokens and your request has 30 input tokens"), "bad_request",
                                 "max_tokens"),
    "tgi, too long an answer": (422, {"error": "`inputs` tokens + `max_new_tokens` must be <= 32769. Given: 30 `inputs` "
                                      "tokens and 99999 `max_new_tokens`"}, "bad_request", "max_tokens"),
    "tools": (400, openai("tools must be a list"), "bad_request", None),
    "openai, field": (400, openai("Unknown parameter: 'stream_options'.", "unknown_parameter", param="stream_options"),
                      "bad_request", "stream_options"),
    "openai, value": (400, openai("Unsupported value: 'stream' does not support true with this model.",
                                  "unsupported_value", param="stream"), "bad_request", "stream"),
    "mistral, field": (422, {"object": "error", "message": {"detail": [{
        "type": "extra_forbidden", "loc": ["body", "messages", 1, "assistant", "reasoning_content"],
        "msg": "Extra inputs are not permitted"}]}}, "bad_request", "messages[1].assistant.reasoning_content"),
    "vllm, field": (400, {"object": "error", "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), "
                          "'msg': 'Extra inputs are not permitted', 'input': {}}]"}, "bad_request", "stream_options"),
    "go, field": (400, {"message": 'Bad request: json: unknown field "stream_options"'}, "bad_request", "stream_options"),
    "gemini, field": (400, [{"error": {"code": 400, "message": "Invalid JSON payload received. Unknown name \"name\" at "
                                       "'messages[1]': Cannot find field."}}], "bad_request", "messages[1].name"),
    "groq, field": (400, openai("'messages.2' : for 'role:assistant' the following must be satisfied[('messages.2' : "
                                "property 'reasoning_content' is unsupported)]"), "bad_request", "reasoning_content"),
    "anthropic, field": (400, openai("messages.1.reasoning_content: Extra inputs are not permitted"), "bad_request",
                         "messages[1].reasoning_content"),
    "openai, nothing left": (429, openai("You exceeded your current quota", "insufficient_quota"), "quota", None),
    "deepseek, nothing left": (402, openai("Insufficient Balance"), "quota", None),
    "anthropic, nothing left": (400, openai("Your credit balance is too low to access the API."), "quota", None),
    "azure, filter": (400, openai("The response was filtered due to the prompt triggering Azure OpenAI's content "
                                  "management policy.", "content_filter"), "declined", None),
    "gemini, key": (400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.",
                                     "status": "INVALID_ARGUMENT"}}], "auth", None),
    "vllm, template": (400, {"object": "error", "message": "Conversation roles must alternate user/assistant/user/..."},
                       "bad_request", None),
    "llama.cpp, template": (500, openai("Jinja Exception: System role not supported"), "bad_request", None),
    "loading": (503, openai("Loading model", type="unavailable_error", code=503), "server", None),
    "a stream: code": (None, {"error": {"code": 429, "message": "slow down"}}, "rate_limited", None),
    "a stream: digits": (None, {"error": {"code": "502"}}, "server", None),
    "a stream: type": (None, {"type": "error", "error": {"type": "rate_limit_error"}}, "rate_limited", None),
    "a stream: overloaded": (None, {"error": {"type": "overloaded_error"}}, "server", None),
    "a stream: text": (None, {"error": "out of memory"}, "server", None),
    "nothing": (500, None, "server", None),
    "numbers": (400, 17, "bad_request", None),
}  # fmt: skip


@pytest.mark.found("A7")
@pytest.mark.parametrize("what", OTHERS)
def test_other_failures_have_their_kind_and_name_the_field(what: str) -> None:
    status, body, kind, field = OTHERS[what]
    error = failures.from_body(status, body)
    assert (error.kind, error.field) == (kind, field)


@pytest.mark.found("A10")
@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ([{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "x", "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}]}}], 34.0),
        (openai("Rate limit reached on tokens per min: Limit 200000. Please try again in 1.378s."), 1.378),
        (openai("Rate limit reached. Please try again in 608ms. Visit https://platform.openai.com"), 0.608),
        (openai("Rate limit reached for model. Please try again in 6m0s."), 360.0),
        (openai("Requests have exceeded the token rate limit. Please retry after 9 seconds."), 9.0),
        (openai("Quota exceeded. Please retry in 34.074824224s."), 34.074824224),
        ({"error": "Model x is currently loading", "estimated_time": 20.5}, 20.5),
        ({"error": {"message": "no", "metadata": {"headers": {"X-RateLimit-Reset": "1000000000001"}}}}, 0.0),
        (openai("try again in a while"), None),
        ([{"error": {"message": "x", "details": [{"retryDelay": "NaN"}]}}], None),
    ],
)  # fmt: skip
def test_the_wait_is_also_read_from_the_body(body: Any, seconds: float | None) -> None:
    assert failures.from_body(429, body).retry_after == seconds


def test_the_header_counts_before_the_body() -> None:
    error = failures.from_body(429, openai("Please try again in 5s."), headers={"retry-after": "7"})
    assert error.retry_after == 7.0


@pytest.mark.parametrize(
    "text",
    ["request too large for " * 200, "first 1 tokens when context the overflows" * 100, "length 1 " * 500,
     "try again in " + "1h" * 2000, "1" * 4000, "(" * 4000, "input (1 tokens" * 300, "unknown field " * 300],
)  # fmt: skip
def test_no_words_of_a_server_take_long_to_read(text: str) -> None:
    started = time.process_time()
    failures.from_body(400, openai(text))
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "body", ["[" * 9000, {"error": [[[[[[[[[{"error": "deep"}]]]]]]]]]}, {"error": {"message": {}}}]
)
def test_odd_bodies_are_read_too(body: Any) -> None:
    assert isinstance(failures.from_body(400, body), ModelError)


def test_each_row_of_the_table_has_a_source() -> None:
    rows = (*sayings.OVERFLOWS, *sayings.FIELDS, *(row for _, row in sayings.WORDS))
    assert all(row.source for row in rows)
