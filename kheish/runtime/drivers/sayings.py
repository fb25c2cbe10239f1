"""The dialects of model servers: the one table of words, codes and fields, each row with its source.

Statuses are agreed on, words are not. What is here is matched against untrusted text, so every pattern is bounded, and
`failures` cuts the text first. A row's groups `window` and `prompt` are the numbers that the server states, in tokens.

Sources that begin with `seen:` were read, mostly reports of users with the server's answer in them. `told:` ones are
from the tests or tables of other public clients, not from the server. `unverified:` ones could not be found again.

`string_above_max_length` is missing on purpose: OpenAI says it of any field that is too long (a cache key, a name).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from kheish.runtime.drivers.base import ErrorKind


class Saying(NamedTuple):
    """A row: the pattern, and its source (a page, or a path of the server's own repository)."""

    words: re.Pattern[str]
    source: str


def _row(words: str, source: str) -> Saying:
    for name in ("window", "prompt"):
        words = words.replace(f"<{name}>", rf"(?P<{name}>[0-9][0-9,_]{{0,12}})")
    return Saying(re.compile(words, re.IGNORECASE), source)


#: The prompt is too long. The first matching row counts; those that state numbers come first.
OVERFLOWS: tuple[Saying, ...] = (
    _row(r"input \(<prompt> tokens\) is longer than the model's context length \(<window> tokens\)",
         "seen: sgl-project/sglang#8096, QwenLM/Qwen3#1321; told: Together"),
    _row(r"prompt \(length <prompt>\) is longer than the maximum model length of <window>",
         "seen: a copy of vllm/v1/engine/processor.py of vLLM"),
    _row(r"maximum model length (?:is|of) <window>", "told: vLLM"),
    _row(r"too large for model with <window> maximum context length",
         "told: Mistral"),
    _row(r"prompt is too long: <prompt>, model maximum context length: <window>",
         "seen: fw-ai/cookbook#134 (Fireworks)"),
    _row(r"prompt is too long: <prompt> tokens > <window> maximum", "seen: anthropics/claude-code#12186"),
    _row(r"input length and `?max_tokens`? exceed context limit: <prompt> \+ [0-9]{1,9} > <window>",
         "seen: anthropics/claude-code#228, docker/docker-agent#569"),
    _row(r"input token count(?: \(<prompt>\))? exceeds the maximum number of tokens allowed(?: \(?<window>\)?)?",
         "seen: google-gemini/gemini-cli#6678, googleapis/python-genai#2050 (Vertex), warpdotdev/warp#15662"),
    _row(r"input token count is <prompt> but (?:the )?model (?:only )?supports up to <window>",
         "seen: a user's traceback of google.api_core (InvalidArgument, 400); told: tests of several clients"),
    _row(r"maximum prompt length is <window> but the request contains <prompt>", "seen: cline/cline#3120"),
    _row(r"exceeded model token limit:? <window>(?: \(requested: <prompt>\))?", "seen: MoonshotAI/kimi-cli#2011"),
    _row(r"range of input length should be \[[0-9]{1,9}, ?<window>\]",
         "seen: QwenLM/qwen-code#98, infiniflow/ragflow#589"),
    _row(r"request \(<prompt> tokens\) exceeds the available context size \(<window> tokens\)",
         "told: llama.cpp tools/server/server-context.cpp; seen: its type, in server-common.cpp"),
    _row(r"requested tokens(?: \(<prompt>\))? exceed context window of <window>",
         "seen: abetlen/llama-cpp-python#120 (without the number of the prompt)"),
    _row(r"`inputs` tokens \+ `max_new_tokens` must be <= <window>(?:\. given: <prompt>)?",
         "seen: huggingface/chat-ui#340"),
    _row(r"`inputs` must have less than <window> tokens(?:\. given: <prompt>)?",
         "seen: huggingface/text-generation-inference#937"),
    _row(r"prompt token count of <prompt> exceeds the limit of <window>",
         "seen: microsoft/copilot-intellij-feedback#94, microsoft/vscode#289219"),
    _row(r"first <prompt> tokens when context the overflows.{0,60}context length of only <window>",
         "seen: lmstudio-ai/lmstudio-bug-tracker#546"),
    _row(r"greater than the context length \(n_keep: ?<prompt> ?>= ?n_ctx: ?<window>\)",
         "seen: tinyhumansai/openhuman#3550 (LM Studio)"),
    _row(r"number of tokens (?:in the prompt|\(prompt and prediction\)) cannot exceed <window>"
         r"(?: - received <prompt>)?",
         "seen: cohere-ai/sandbox-topically#4 (the second form)"),
    _row(r"input length <prompt> exceeds the maximum allowed input length of <window>",
         "told: Poolside, Baseten"),
    _row(r"prompt has <prompt> tokens?, but the configured context size is <window>", "told: DS4"),
    _row(r"prompt length \(<prompt>\) exceeds maximum (?:input|sequence) length \(<window>\)",
         "seen: triton-inference-server/tensorrtllm_backend#565, #141"),
    _row(r"length <prompt>(?: \+ [0-9]{1,9})? is greater than (?:the )?max_seq_len <window>",
         "seen: SillyTavern/SillyTavern#3543 (tabbyAPI, with the answer's length)"),
    _row(r"tokens? exceeds? the configured limit of <window>", "told: OpenAI, Azure"),
    _row(r"request too large for .{0,300}limit <window>, requested <prompt>",
         "seen: continuedev/continue#10218 (Groq, 413), vanna-ai/vanna-flask#11 (OpenAI, 429)"),
    _row(r"(?:length|size|window|context)(?: length)? \(?<prompt>\)? exceeds (?:the )?(?:model'?s? )?(?:maximum )?"
         r"(?:context|input) (?:length|window|size) \(?<window>", "unverified: LiteLLM, Novita"),
    _row(r"input length \(?<prompt>(?: tokens)?\)? exceeds the maximum (?:allowed )?length \(?<window>",
         "seen: langgenius/dify#32221 (Volcano Ark), sgl-project/sglang#4048"),
    _row(r"length of prompt_tokens \(<prompt>\) must be less than max_seq_len \(<window>\)",
         "seen: CherryHQ/cherry-studio#1131 (SiliconFlow)"),
    _row(r"too many input tokens\. max input tokens: <window>, request input token count: <prompt>",
         "told: the table of a client (Bedrock, 400)"),
    _row(r"maximum context length (?:is|of)(?: only)? <window>",
         "seen: vllm-project/vllm#20409, Aider-AI/aider#3721 (OpenRouter), smol-ai/developer#7"),
    _row(r"context length is(?: only)? <window>", "told: vLLM"),
    _row(r"prompt is too long|prompt (?:is )?too long; exceeded (?:max )?context length|input prompt (?:is )?too long",
         "told: Ollama, which cuts silently as a rule (ollama/ollama#2208)"),
    _row(r"input is too long for (?:the )?requested model",
         "seen: aws-samples/bedrock-chat#95, continuedev/continue#9592 (Bedrock)"),
    _row(r"exceed(?:s|ed)?(?: the| this)?(?: model'?s?)?(?: maximum| available| max)? context"
         r" (?:length|window|size|limit)", "told: OpenAI's Responses API, llama.cpp, Ollama, Anthropic"),
    _row(r"context size has been exceeded", "told: llama.cpp"),
    _row(r"greater than the context length", "seen: tinyhumansai/openhuman#3550 (LM Studio)"),
    _row(r"context window exceeds limit", "seen: MiniMax-AI/MiniMax-M2#119 (`… (2013)`, which is a code)"),
    _row(r"context[ _](?:length|window)[ _]exceeded", "told: many"),
    _row(r"reduce the length of the (?:messages|input|prompt)",
         "told: Groq; seen: Aider-AI/aider#3721, langchain-ai/langchain#11001"),
    _row(r"prompt exceeds max length|prompt tokens too long",
         "seen: zeroclaw-labs/zeroclaw#4124 (Z.ai), PaddlePaddle/ERNIE-SDK#336 (Baidu)"),
    # Bedrock's limit of a minute is "Too many tokens, please wait": seen: anthropics/claude-code#236
    _row(r"too many (?:input )?tokens(?!,? please wait)"
         r"|(?<!daily )(?<!monthly )(?<!hourly )(?<!minute )token limit exceeded",
         "seen: cohere-ai/sandbox-topically#4; told: tables of clients (Bedrock, LiteLLM)"),
    _row(r"(?:输入|上下文|提示|tokens).{0,20}(?:超过|超出).{0,20}(?:长度|上限|限制)",
         "told: tests of a client (Zhipu, Doubao)"),
)  # fmt: skip

#: The size of the prompt, where the row above states only the window
PROMPT_SIZES: tuple[re.Pattern[str], ...] = tuple(
    re.compile(words.replace("<n>", r"([0-9][0-9,_]{0,12})"), re.IGNORECASE)
    for words in (
        r"<n> of text input",  # OpenRouter (Aider-AI/aider#3721): "about N tokens" before it counts the answer, too
        r"<n> in (?:your prompt|the messages)",  # OpenAI, vLLM: "(39000 in the messages, 1000 in the completion)"
        r"<n> tokens from the input messages",  # SGLang
        r"(?:your )?request has <n> input tokens",  # vLLM
        r"prompt contains(?: at least)? <n> (?:input )?tokens",  # Mistral, vLLM
        r"messages resulted in <n> tokens",  # OpenAI
        r"requested (?:about |a total of )?<n> tokens",  # OpenRouter; with the answer
    )
)

#: The requested answer exceeds the window, whatever the prompt
TOO_LONG_AN_ANSWER = re.compile(
    r"max_(?:new_|completion_)?tokens|in the (?:completion|output)|for the completion", re.IGNORECASE
)

#: Codes, types and statuses of error bodies that determine the kind by themselves. Numbers are the provider's own.
#: ANTHROPIC: https://docs.claude.com/en/api/errors, and resources/shared of its SDK. GOOGLE: the names of
#: google.rpc.Code, which Google's error bodies have as `status`.
CODES: dict[str, ErrorKind] = {
    "context_length_exceeded": "context_length",  # OpenAI (xtekky/gpt4free#137), Azure, llama-cpp-python, DeepSeek
    "contextwindowexceedederror": "context_length",  # LiteLLM's class
    "exceed_context_size_error": "context_length",  # llama.cpp tools/server/server-common.cpp
    "model_max_prompt_tokens_exceeded": "context_length",  # GitHub Copilot
    "model_context_window_exceeded": "context_length",  # https://docs.z.ai
    "request_too_large": "context_length",  # ANTHROPIC, 413: bytes, and sending less is all that helps
    "1261": "context_length",  # https://docs.z.ai/api-reference/api-code
    "insufficient_quota": "quota",  # https://platform.openai.com/docs/guides/error-codes
    "exceeded_current_quota_error": "quota",  # https://platform.moonshot.ai/docs
    "billing_hard_limit_reached": "quota",  # OpenAI, 400 (dfinke/PowerShellAI#127)
    "billing_error": "quota",  # ANTHROPIC
    "arrearage": "quota",  # https://www.alibabacloud.com/help/en/model-studio/error-code
    "1113": "quota",  # https://docs.z.ai/api-reference/api-code
    "content_filter": "declined",  # Azure: the prompt was filtered
    "content_policy_violation": "declined",  # OpenAI
    "invalid_prompt": "declined",  # OpenAI: "flagged as potentially violating our usage policy"
    "data_inspection_failed": "declined",  # DashScope
    "datainspectionfailed": "declined",  # DashScope, as the native API spells it
    "1301": "declined",  # https://docs.z.ai/api-reference/api-code
    "api_key_invalid": "auth",  # Gemini, with status 400
    "authentication_error": "auth",  # ANTHROPIC
    "permission_error": "auth",  # ANTHROPIC
    "permission_denied": "auth",  # GOOGLE
    "unauthenticated": "auth",  # GOOGLE
    "invalid_api_key": "auth",  # OpenAI: https://platform.openai.com/docs/guides/error-codes
    "rate_limit_error": "rate_limited",  # ANTHROPIC
    "rate_limit_exceeded": "rate_limited",  # OpenAI, Groq
    "resource_exhausted": "rate_limited",  # GOOGLE
    "throttlingexception": "rate_limited",  # Bedrock
    "overloaded_error": "server",  # ANTHROPIC, 529
    "api_error": "server",  # ANTHROPIC, 500
    "timeout_error": "server",  # ANTHROPIC
    "server_error": "server",  # OpenAI
    "unavailable_error": "server",  # llama.cpp while it loads the model
    "unavailable": "server",  # GOOGLE
}

#: Words that determine the kind if neither status nor code does
WORDS: tuple[tuple[ErrorKind, Saying], ...] = (
    ("auth", _row(r"api key not valid|invalid api key", "told: Gemini (400)")),
    ("quota", _row(r"credit balance is too low", "seen: anthropics/claude-code#66314 (400)")),
    ("quota", _row(r"insufficient (?:account )?balance", "seen: continuedev/continue#11498 (DeepSeek, 402)")),
    ("declined", _row(r"content exists risk", "seen: deepseek-ai/awesome-deepseek-integration#13")),
    ("declined", _row(r"responsible ai policy|content management policy",
                      "https://learn.microsoft.com/azure/ai-services/openai/concepts/content-filter")),
    ("bad_request", _row(r"roles must alternate|chat template|jinja|unexpected role|tool call id"
                         r"|system role not supported",
                         "seen: microsoft/autogen#1037 (vLLM, 400), mistralai/mistral-vibe#1006 (llama.cpp, 500)")),
    ("rate_limited", _row(r"too many tokens,? please wait", "seen: anthropics/claude-code#236 (Bedrock)")),
    ("server", _row(r"loading model|model is (?:currently |still )?loading",
                    "ggml-org/llama.cpp tools/server; Hugging Face")),
)  # fmt: skip

#: seen: "try again in 644ms" (BuilderIO/micro-agent#86, OpenAI), "retry after 3 seconds" (microsoft/action-python#12,
#: Azure), "Try again in 50 seconds" (Azure-Samples/graphrag-accelerator#129), "retry in 47.434392449s"
#: (browserbase/mcp-server-browserbase#129, Gemini); told: "try again in 6m0s" (OpenAI, Groq)
DELAY = re.compile(
    r"(?:try again|retry|wait)(?: again)? (?:in|after|for) "
    r"(?P<delay>(?:[0-9]{1,6}(?:\.[0-9]{1,12})? ?[a-z]{1,12} ?){1,4})",
    re.IGNORECASE,
)
DELAY_PART = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,12})?) ?(ms|milli|s|m|h)[a-z]{0,12}", re.IGNORECASE)
SECONDS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

#: A request field that the server does not accept
FIELDS: tuple[Saying, ...] = tuple(
    _row(words.replace("<field>", r"(?P<field>[A-Za-z_][\w.\[\]]{0,120})"), source)
    for words, source in (
        (r"unknown (?:parameter|field|name)s?:? ['\"`]?<field>(?:['\"`]? at '(?P<at>[\w.\[\]]{1,80})')?",
         "seen: LibreChat#11761 (Gemini), teabranch/open-responses-server#41 (OpenAI), "
         "databricks/databricks-sdk-py#1263"),
        (r"(?:unsupported|unrecognized) (?:parameter|value|request argument)s?(?: supplied)?: ['\"`]?<field>",
         "seen: sipeed/picoclaw#16 (OpenAI)"),
        (r"property ['\"`]<field>['\"`] is (?:unsupported|not supported)",
         "seen: karthink/gptel#774 (Groq), Kilo-Org/kilocode#10375 (Cerebras)"),
        (r"<field>: extra inputs are not permitted", "seen: anthropics/claude-code#4378, amrit110/oli#7"),
        (r"['\"`]<field>['\"`] is not (?:supported|allowed|permitted)", "Azure, Cerebras"),
        (r"\(?['\"]body['\"], ['\"]<field>['\"]", "vllm-project/vllm (errors of pydantic as text)"),
    )
)  # fmt: skip

#: How answers end, in all spellings (compared in lower case), and the meaning of each
FINISH_REASONS: dict[str, str] = {
    # OpenAI's five: openai-python, types/chat/chat_completion.py (vLLM, Groq, llama.cpp and most others have these)
    "stop": "stop", "length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls",  # nosec B105  # words of servers
    "content_filter": "content_filter",
    # Anthropic's and Bedrock's, behind proxies that pass them on; told: many clients
    "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "refusal",
    "model_context_window_exceeded": "length",  # and Z.ai's (mozilla-ai/any-llm#1200, earendil-works/pi#1868)
    # Gemini's: https://googleapis.github.io/js-genai/enums/types.FinishReason.html (and the Kotlin SDK for the last)
    "safety": "content_filter", "recitation": "content_filter", "blocklist": "content_filter",
    "prohibited_content": "content_filter", "spii": "content_filter", "malformed_function_call": "error",
    "unexpected_tool_call": "error",
    # Z.ai's: dify#7559 (`sensitive`), promptfoo#9905 (`network_error`)
    "sensitive": "content_filter", "network_error": "error",
    "insufficient_system_resource": "error",  # DeepSeek's: FinishReason of the crate ds-api
    # Bedrock's alone; told: clients of its Converse API (LiteLLM's types/llms/openai.py has the first)
    "guardrail_intervened": "content_filter", "content_filtered": "content_filter",
    "malformed_tool_use": "error", "malformed_model_output": "error",
    # TGI's (`eos_token`; told: its Python clients), Together's and Cohere's (told: their SDKs), Mistral's
    "eos": "stop", "eos_token": "stop", "complete": "stop", "model_length": "length",  # nosec B105
    "max_output_tokens": "length",  # OpenAI's Responses API: incomplete_details.reason of the SDK
    "error": "error",  # OpenRouter's and Mistral's, where the provider failed in the middle
    "abort": "error",  # SGLang's and vLLM's, for a request that was given up
    # No source was found; kept, since what they say is plain
    "completed": "stop", "done": "stop", "finish": "stop", "finished": "stop", "tool_call": "tool_calls",
    "error_finish": "error", "aborted": "error", "cancelled": "error", "timeout": "error",
}  # fmt: skip
