"""How model servers say things: the one table of words, codes and fields, each row with its source.

Statuses are agreed on, words are not. What is here is matched against untrusted text, so every pattern is bounded, and
`failures` cuts the text first. A row's groups `window` and `prompt` are the numbers that the server states, in tokens.

`string_above_max_length` is missing on purpose: OpenAI says it of any field that is too long (a cache key, a name).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from kheish.runtime.drivers.base import ErrorKind


class Saying(NamedTuple):
    """A row: the words, and where they are from (a page, or a path of the server's own repository)."""

    words: re.Pattern[str]
    source: str


def _row(words: str, source: str) -> Saying:
    for name in ("window", "prompt"):
        words = words.replace(f"<{name}>", rf"(?P<{name}>\d[\d,_]{{0,12}})")
    return Saying(re.compile(words, re.IGNORECASE), source)


#: The prompt is too long. The first row that fits counts; those that state numbers come first.
OVERFLOWS: tuple[Saying, ...] = (
    _row(r"input \(<prompt> tokens\) is longer than the model's context length \(<window> tokens\)",
         "sgl-project/sglang python/sglang/srt/managers/tokenizer_manager.py; Together"),
    _row(r"prompt \(length <prompt>\) is longer than the maximum model length of <window>",
         "vllm-project/vllm vllm/v1/engine/processor.py"),
    _row(r"maximum model length (?:is|of) <window>", "vllm-project/vllm vllm/entrypoints/openai"),
    _row(r"too large for model with <window> maximum context length", "https://docs.mistral.ai/api"),
    _row(r"prompt is too long: <prompt>, model maximum context length: <window>",
         "https://docs.fireworks.ai/guides/inference-error-codes"),
    _row(r"prompt is too long: <prompt> tokens > <window> maximum", "https://docs.anthropic.com/en/api/errors"),
    _row(r"input length and `?max_tokens`? exceed context limit: <prompt> \+ \d{1,9} > <window>",
         "https://docs.anthropic.com/en/docs/build-with-claude/context-windows"),
    _row(r"input token count(?: \(<prompt>\))? exceeds the maximum number of tokens allowed(?: \(<window>\))?",
         "https://ai.google.dev/gemini-api/docs/troubleshooting"),
    _row(r"input token count is <prompt> but (?:the )?model (?:only )?supports up to <window>",
         "https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/get-token-count"),
    _row(r"maximum prompt length is <window> but the request contains <prompt>", "https://docs.x.ai/docs/models"),
    _row(r"exceeded model token limit:? <window>(?: \(requested: <prompt>\))?", "https://platform.moonshot.ai/docs"),
    _row(r"range of input length should be \[\d{1,9}, ?<window>\]",
         "https://www.alibabacloud.com/help/en/model-studio/error-code"),
    _row(r"request \(<prompt> tokens\) exceeds the available context size \(<window> tokens\)",
         "ggml-org/llama.cpp tools/server/server-context.cpp"),
    _row(r"requested tokens \(<prompt>\) exceed context window of <window>",
         "abetlen/llama-cpp-python llama_cpp/llama.py"),
    _row(r"`inputs` tokens \+ `max_new_tokens` must be <= <window>(?:\. given: <prompt>)?",
         "huggingface/text-generation-inference router/src/validation.rs"),
    _row(r"`inputs` must have less than <window> tokens(?:\. given: <prompt>)?",
         "huggingface/text-generation-inference router/src/validation.rs"),
    _row(r"prompt token count of <prompt> exceeds the limit of <window>", "GitHub Copilot's chat endpoint"),
    _row(r"first <prompt> tokens when context the overflows.{0,60}context length of only <window>",
         "https://lmstudio.ai/docs; lmstudio-ai/lmstudio-bug-tracker"),
    _row(r"number of tokens in the prompt cannot exceed <window>(?: - received <prompt>)?",
         "https://docs.cohere.com/reference/errors"),
    _row(r"input length <prompt> exceeds the maximum allowed input length of <window>",
         "https://openrouter.ai/docs (Poolside); Baseten"),
    _row(r"prompt has <prompt> tokens?, but the configured context size is <window>", "antirez/ds4 server"),
    _row(r"prompt length \(<prompt>\) exceeds maximum input length \(<window>\)",
         "NVIDIA/TensorRT-LLM cpp/include/tensorrt_llm/batch_manager"),
    _row(r"length <prompt> is greater than (?:the )?max_seq_len <window>", "theroyallab/tabbyAPI backends/exllamav2"),
    _row(r"tokens? exceeds? the configured limit of <window>", "https://platform.openai.com/docs/guides/error-codes"),
    _row(r"request too large for .{0,300}limit <window>, requested <prompt>",
         "https://console.groq.com/docs/errors; OpenAI (tokens a minute: waiting does not help, sending less does)"),
    _row(r"(?:length|size|window|context)(?: length)? \(?<prompt>\)? exceeds (?:the )?(?:model'?s? )?(?:maximum )?"
         r"(?:context|input) (?:length|window|size) \(?<window>", "LiteLLM, Novita"),
    _row(r"maximum context length (?:is|of)(?: only)? <window>",
         "https://platform.openai.com/docs/guides/error-codes; vLLM, SGLang, DeepSeek, OpenRouter"),
    _row(r"context length is(?: only)? <window>", "vllm-project/vllm vllm/entrypoints/openai/serving_engine.py"),
    _row(r"prompt is too long|prompt (?:is )?too long; exceeded (?:max )?context length|input prompt (?:is )?too long",
         "ollama/ollama server/prompt.go; Anthropic"),
    _row(r"input is too long for (?:the )?requested model", "https://docs.aws.amazon.com/bedrock (Anthropic)"),
    _row(r"exceed(?:s|ed)?(?: the| this)?(?: model'?s?)?(?: maximum| available| max)? context"
         r" (?:length|window|size|limit)", "OpenAI's Responses API, llama.cpp, Ollama, Anthropic"),
    _row(r"context size has been exceeded", "ggml-org/llama.cpp tools/server/server-context.cpp"),
    _row(r"greater than the context length", "https://lmstudio.ai/docs"),
    _row(r"context window exceeds limit", "https://platform.minimax.io/docs"),
    _row(r"context[ _](?:length|window)[ _]exceeded", "in use by many"),
    _row(r"reduce the length of the (?:messages|input|prompt)", "https://console.groq.com/docs/errors"),
    _row(r"prompt exceeds max length|prompt tokens too long", "https://docs.z.ai/api-reference/api-code; Baidu"),
    _row(r"too many (?:input )?tokens|token limit exceeded", "Cohere, Bedrock, LiteLLM"),
    _row(r"(?:输入|上下文|提示).{0,20}(?:超过|超出).{0,20}(?:长度|上限|限制)", "https://open.bigmodel.cn/dev/api"),
)  # fmt: skip

#: The size of the prompt, where the row above states only the window
PROMPT_SIZES: tuple[re.Pattern[str], ...] = tuple(
    re.compile(words.replace("<n>", r"(\d[\d,_]{0,12})"), re.IGNORECASE)
    for words in (
        r"<n> in (?:your prompt|the messages)",  # OpenAI, vLLM: "(39000 in the messages, 1000 in the completion)"
        r"<n> tokens from the input messages",  # SGLang
        r"(?:your )?request has <n> input tokens",  # vLLM
        r"prompt contains(?: at least)? <n> (?:input )?tokens",  # Mistral, vLLM
        r"messages resulted in <n> tokens",  # OpenAI
        r"requested (?:about |a total of )?<n> tokens",  # OpenRouter; with the answer
    )
)

#: The longest answer was asked for that the window cannot hold, whatever the prompt
TOO_LONG_AN_ANSWER = re.compile(r"max_(?:new_|completion_)?tokens|in the completion|for the completion", re.IGNORECASE)

#: Codes, types and statuses of error bodies that tell the kind by themselves. Numbers are the provider's own.
CODES: dict[str, ErrorKind] = {
    "context_length_exceeded": "context_length",  # OpenAI, Azure, llama-cpp-python, DeepSeek
    "context_window_exceeded": "context_length",
    "contextwindowexceedederror": "context_length",  # LiteLLM's class
    "exceed_context_size_error": "context_length",  # llama.cpp tools/server/server-common.cpp
    "model_max_prompt_tokens_exceeded": "context_length",  # GitHub Copilot
    "model_context_window_exceeded": "context_length",  # https://docs.z.ai
    "prompt_too_long": "context_length",
    "request_too_large": "context_length",  # Anthropic's 413: bytes, and sending less is all that helps
    "1261": "context_length",  # https://docs.z.ai/api-reference/api-code
    "insufficient_quota": "quota",  # https://platform.openai.com/docs/guides/error-codes
    "exceeded_current_quota_error": "quota",  # https://platform.moonshot.ai/docs
    "billing_hard_limit_reached": "quota",
    "billing_error": "quota",  # Anthropic
    "arrearage": "quota",  # https://www.alibabacloud.com/help/en/model-studio/error-code
    "1113": "quota",  # https://docs.z.ai/api-reference/api-code
    "content_filter": "declined",  # Azure: the prompt was filtered
    "content_policy_violation": "declined",  # OpenAI
    "invalid_prompt": "declined",  # OpenAI: "flagged as potentially violating our usage policy"
    "data_inspection_failed": "declined",  # DashScope
    "datainspectionfailed": "declined",
    "1301": "declined",  # https://docs.z.ai/api-reference/api-code
    "api_key_invalid": "auth",  # Gemini, with status 400
    "authentication_error": "auth",
    "permission_error": "auth",  # Anthropic
    "permission_denied": "auth",  # Google
    "unauthenticated": "auth",
    "invalid_api_key": "auth",
    "rate_limit_error": "rate_limited",  # Anthropic
    "rate_limit_exceeded": "rate_limited",  # OpenAI, Groq
    "resource_exhausted": "rate_limited",  # Google
    "rate_limited": "rate_limited",
    "throttlingexception": "rate_limited",  # Bedrock
    "overloaded_error": "server",  # Anthropic's 529
    "server_error": "server",
    "unavailable_error": "server",  # llama.cpp while it loads the model
    "unavailable": "server",
    "api_error": "server",
}

#: Words that tell the kind where neither status nor code does
WORDS: tuple[tuple[ErrorKind, Saying], ...] = (
    ("auth", _row(r"api key not valid|invalid api key", "https://ai.google.dev/gemini-api/docs/troubleshooting (400)")),
    ("quota", _row(r"credit balance is too low", "https://docs.anthropic.com/en/api/errors (400)")),
    ("quota", _row(r"insufficient (?:account )?balance", "https://api-docs.deepseek.com/quick_start/error_codes")),
    ("declined", _row(r"content exists risk", "https://api-docs.deepseek.com (400)")),
    ("declined", _row(r"responsible ai policy|content management policy",
                      "https://learn.microsoft.com/azure/ai-services/openai/concepts/content-filter")),
    ("bad_request", _row(r"roles must alternate|chat template|jinja|unexpected role|tool call id"
                         r"|system role not supported",
                         "chat templates of vLLM and llama.cpp, which answer 500 or 400; Mistral")),
    ("server", _row(r"loading model|model is (?:currently |still )?loading",
                    "ggml-org/llama.cpp tools/server; Hugging Face")),
)  # fmt: skip

#: "Please try again in 6m0s" (OpenAI, Groq), "retry after 9 seconds" (Azure), "retry in 34.07s" (Gemini)
DELAY = re.compile(
    r"(?:try again|retry|wait)(?: again)? (?:in|after|for) (?P<delay>(?:\d{1,6}(?:\.\d{1,12})? ?[a-z]{1,12} ?){1,4})",
    re.IGNORECASE,
)
DELAY_PART = re.compile(r"(\d{1,6}(?:\.\d{1,12})?) ?(ms|milli|s|m|h)[a-z]{0,12}", re.IGNORECASE)
SECONDS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

#: A request field that the server does not take
FIELDS: tuple[Saying, ...] = tuple(
    _row(words.replace("<field>", r"(?P<field>[A-Za-z_][\w.\[\]]{0,120})"), source)
    for words, source in (
        (r"unknown (?:parameter|field|name)s?:? ['\"`]?<field>(?:['\"`]? at '(?P<at>[\w.\[\]]{1,80})')?",
         "OpenAI; serde and Go servers (Databricks); Gemini: Unknown name \"x\" at 'messages[1]'"),
        (r"(?:unsupported|unrecognized) (?:parameter|value|request argument)s?(?: supplied)?: ['\"`]?<field>",
         "https://platform.openai.com/docs/guides/error-codes"),
        (r"property ['\"`]<field>['\"`] is (?:unsupported|not supported)", "https://console.groq.com/docs/errors"),
        (r"<field>: extra inputs are not permitted", "Anthropic, Mistral"),
        (r"['\"`]<field>['\"`] is not (?:supported|allowed|permitted)", "Azure, Cerebras"),
        (r"\(?['\"]body['\"], ['\"]<field>['\"]", "vllm-project/vllm (errors of pydantic as text)"),
    )
)  # fmt: skip

#: How answers end, in all spellings (compared in lower case), and what of it is meant
FINISH_REASONS: dict[str, str] = {
    "stop": "stop", "end_turn": "stop", "stop_sequence": "stop", "eos": "stop", "eos_token": "stop",  # nosec B105  # words of servers
    "complete": "stop", "completed": "stop", "done": "stop", "finish": "stop", "finished": "stop",
    "tool_calls": "tool_calls", "tool_call": "tool_calls", "tool_use": "tool_calls", "function_call": "tool_calls",
    "length": "length", "max_tokens": "length", "max_output_tokens": "length", "model_length": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "content_filter", "content_filtered": "content_filter", "safety": "content_filter",
    "recitation": "content_filter", "blocklist": "content_filter", "prohibited_content": "content_filter",
    "spii": "content_filter", "sensitive": "content_filter", "guardrail_intervened": "content_filter",
    "refusal": "refusal",
    "error": "error", "error_finish": "error", "abort": "error", "aborted": "error", "cancelled": "error",
    "timeout": "error", "network_error": "error", "insufficient_system_resource": "error",
    "malformed_function_call": "error", "unexpected_tool_call": "error",
}  # fmt: skip
