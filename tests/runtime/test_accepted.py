"""Acceptance: whatever a conversation holds, each server gets what it takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from kheish.runtime import accepted, dialects
from kheish.runtime.drivers import chat
from kheish.runtime.drivers.base import Call, Message, Request, ToolSpec
from tests.support import strict

MODELS = {
    "openai": ("gpt-5", None),
    "mistral": ("ministral-8b", None),
    "gemma": ("google/gemma-3-4b-it", None),
    "gemini": ("gemini-3-pro", None),
    "anthropic": ("anthropic/claude-opus-5", None),
}
ODD = ("", " ", "\0", "\ud83d", "x" * 100, "functions.bash", "bash<|channel|>commentary", "9lives", "日本", "a b/c")
words = st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_categories=()), max_size=12))
ids = st.one_of(st.sampled_from(["c1", "c2", "call_" + "x" * 41, "toolu_01A", "functions.bash:0"]), words)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=6,
)
calls = st.builds(
    Call,
    id=ids,
    name=words,
    arguments=st.dictionaries(words, values, max_size=3),
    malformed=st.one_of(st.none(), words),
)
messages = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    text=words,
    calls=st.lists(calls, max_size=3).map(tuple),
    call_id=ids,
    is_error=st.booleans(),
    opaque=st.one_of(st.none(), st.just({"route": "r", "fields": {}, "calls": {}})),
).map(lambda one: one if one.role == "assistant" else Message(role=one.role, text=one.text, call_id=one.call_id))
TOOL = ToolSpec(name="bash", description="Run", parameters={"type": "object"})
CUT_OFF = [
    Message(role="system", text="Be brief."),
    Message(role="user", text="do it"),
    Message(role="assistant", calls=(Call(id="c" * 46, name=""), Call(id="c" * 46, name="functions.x"))),
    Message(role="tool", call_id="c" * 46, text=""),
    Message(role="user", text="again"),
    Message(role="user", text="and again"),
]


def body(rules: dialects.Rules, conversation: list[Message], has_tools: bool) -> dict[str, Any]:
    found = accepted.accept(conversation, has_tools=has_tools, rules=rules)
    return chat.body(Request(route_id="r", model="m", messages=found, tools=(TOOL,) if has_tools else ()))


@pytest.mark.found("A5")
@pytest.mark.parametrize("dialect", MODELS)
@example(conversation=CUT_OFF, has_tools=True)
@given(conversation=st.lists(messages, min_size=1, max_size=8), has_tools=st.booleans())
def test_each_dialect_takes_any_conversation(dialect: str, conversation: list[Message], has_tools: bool) -> None:
    rules = dialects.of("openai", *MODELS[dialect])
    made = body(rules, conversation, has_tools)
    assert strict.faults(dialect, made) == []
    once = accepted.accept(conversation, has_tools=has_tools, rules=rules)
    assert accepted.accept(once, has_tools=has_tools, rules=rules) == once


@example(conversation=CUT_OFF, has_tools=True)
@given(conversation=st.lists(messages, min_size=1, max_size=8), has_tools=st.booleans())
def test_the_strictest_degree_is_taken_by_all(conversation: list[Message], has_tools: bool) -> None:
    rules = dialects.of("openai", "unknown", None, dialects.STRICTEST)
    made = body(rules, conversation, has_tools)
    assert [fault for dialect in MODELS for fault in strict.faults(dialect, made)] == []


def test_the_text_of_a_skill_after_its_call_is_not_said_to_follow_an_end() -> None:
    use = Call(id="abcdefghi", name="use_skill", arguments={"name": "pdf"})
    given = [
        Message(role="user", text="do it"),
        Message(role="assistant", calls=(use,)),
        Message(role="tool", text="The skill pdf is loaded; its text follows.", call_id="abcdefghi"),
        Message(role="user", text="The skill pdf."),
    ]
    made = accepted.accept(given, has_tools=True, rules=dialects.MISTRAL)
    between = [one.text for one in made if one.role == "assistant"][-1]
    assert between == accepted.NO_TEXT and "ended" not in between and made[-1].text == "The skill pdf."


def test_what_a_server_takes_already_stays_as_it_is() -> None:
    plain = (
        Message(role="system", text="s"),
        Message(role="user", text="u"),
        Message(role="assistant", calls=(Call(id="call_1", name="bash", arguments={"a": [1.5, None]}),)),
        Message(role="tool", call_id="call_1", text="r"),
        Message(role="assistant", text="a"),
        Message(role="user", text="u"),
    )
    assert accepted.accept(plain, has_tools=True, rules=dialects.DEFAULT) == plain


def test_a_signature_follows_its_call_to_the_new_id() -> None:
    opaque = {"server": "x", "fields": {}, "calls": {"call_1": {"extra_content": "signed"}}}
    asked = Message(role="assistant", calls=(Call(id="call_1", name="bash"),), opaque=opaque)
    _, made, *_ = accepted.accept([asked], has_tools=True, rules=dialects.MISTRAL)
    assert made.opaque["calls"] == {made.calls[0].id: {"extra_content": "signed"}}


@pytest.mark.parametrize(
    ("model", "api_base", "rules"),
    [
        ("mistral-large-latest", None, dialects.MISTRAL),
        ("any", "https://api.mistral.ai/v1", dialects.MISTRAL),
        ("ministral-3b", None, dialects.MISTRAL),
        ("gemma3:4b", None, dialects.GEMMA),
        ("google/gemma-2-9b-it", None, dialects.GEMMA),
        ("gemma3n-e4b", None, dialects.GEMMA),
        ("gemma-4-27b", None, dialects.DEFAULT),
        ("functiongemma-270m", None, dialects.DEFAULT),
        ("vertex_ai/gemini-2.5-flash", None, dialects.GEMINI),
        ("claude-sonnet-5", None, dialects.ANTHROPIC),
        ("gpt-5", None, dialects.DEFAULT),
        (None, None, dialects.DEFAULT),
    ],
)
def test_a_dialect_is_known_by_model_or_address(model: str | None, api_base: str | None, rules: dialects.Rules) -> None:
    assert dialects.of("openai", model, api_base) == rules


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("bash", "bash"),
        ("functions.bash", "bash"),
        ("bash<|channel|>commentary", "bash"),
        ("", "unnamed"),
        ("  ", "unnamed"),
        ("9lives", "_9lives"),
        ("a b/c", "a_b_c"),
    ],
)
def test_names_of_calls(given: str, name: str) -> None:
    assert accepted.tool_name(given) == name
    long = accepted.tool_name(given + "x" * 100)
    assert len(long) <= 64 and accepted.tool_name(long) == long
