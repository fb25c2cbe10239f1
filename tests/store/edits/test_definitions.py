"""Files that people write: every error at once, each in its place, with the key that was meant."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from kheish.domain.definitions import KINDS, TOP
from kheish.errors import InvalidDefinition
from kheish.store.edits.definitions import Parsed, dump_markdown, dump_yaml, parse, parse_json, parse_markdown
from kheish.store.edits.problems import Finding, Rejected


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Drive(StrEnum):
    PHASES = "phases"
    AGENT = "agent"


class WorkspaceFile(Part):
    workspace_file: str


class Command(Part):
    command: str


class Text(Part):
    type: Literal["text"]
    text: str


class Asset(Part):
    type: Literal["asset"]
    asset_id: str


class Manifest(Part):
    title: str
    version: str | None = None
    drive: Drive = Drive.AGENT
    debug: bool = False
    turns: int = Field(default=1, gt=0)
    cost: float | None = None
    acceptance: list[str | WorkspaceFile | Command] = []
    items: list[Annotated[Text | Asset, Field(discriminator="type")]] = []
    tools: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}

    @field_validator("tools")
    @classmethod
    def _known(cls, tools: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [at for at, tool in enumerate(tools) if tool.startswith("no_")]
        if wrong:
            raise Rejected(*(Finding((at,), f"unknown tool {tools[at]}", "dangling_reference") for at in wrong))
        return tools


BAD = """\
# a comment
titel: x
version: 1.10
drive: phase
debug: yes
turns: "5"
acceptance:
  - fine
  - {comand: make}
  - [x]
items:
  - {type: text, text: 1.20, extra: 1}
  - {type: asst}
tools: [bash, no_tool, 1.10, no_other]
version: 1.2
"""


def places(parsed: Parsed[Any]) -> list[tuple[int | None, int | None, str, str | None]]:
    return [(found.line, found.column, found.code, found.suggestion) for found in parsed.problems]


def test_every_error_at_once_each_in_its_place() -> None:
    parsed = parse(Manifest, BAD.encode(), "playbooks/x/playbook.yaml")
    assert parsed.value is None
    assert places(parsed) == [
        (2, 1, "missing_key", None),
        (2, 1, "unknown_key", "title"),
        (4, 8, "bad_value", "phases"),
        (5, 8, "wrong_type", "true"),
        (6, 8, "wrong_type", None),
        (9, 5, "missing_key", None),
        (9, 6, "unknown_key", "command"),
        (10, 5, "wrong_type", None),
        (12, 30, "unknown_key", None),
        (13, 12, "bad_value", "asset"),
        (14, 15, "dangling_reference", None),
        (14, 30, "dangling_reference", None),
        (15, 1, "duplicate_key", None),
    ]
    assert "did you mean 'title'?" in parsed.problems[1].message
    assert {found.path for found in parsed.problems} == {"playbooks/x/playbook.yaml"}


def test_text_keeps_what_was_typed_and_anything_else_its_value() -> None:
    raw = b"title: 0x10\nversion: 1.10\nacceptance: [1.10, true]\ncost: 2\nmetadata: {a: 1.10, on: off, t: 12:30}\n"
    parsed = parse(Manifest, raw, "x.yaml")
    assert not parsed.problems and parsed.value is not None
    assert (parsed.value.title, parsed.value.version) == ("0x10", "1.10")
    assert parsed.value.acceptance == ["1.10", "true"]
    assert parsed.value.metadata == {"a": 1.1, "on": "off", "t": "12:30"}
    assert parsed.data is not None and parsed.data["version"] == "1.10"


def test_an_alias_is_text_here_and_a_number_there() -> None:
    parsed = parse(Manifest, b"title: &n 10\nturns: *n\n", "x.yaml")
    assert parsed.value is not None
    assert (parsed.value.title, parsed.value.turns) == ("10", 10)


@pytest.mark.parametrize("raw", [b"", b"# only a comment\n", b"---\n", b"null\n"])
def test_an_empty_file(raw: bytes) -> None:
    [found] = parse(Manifest, raw, "x.yaml").problems
    assert (found.code, found.line) == ("empty", 1) and "title" in found.message

    class Optional(Part):
        bind: str = "here"

    assert parse(Optional, raw, "x.yaml").value == Optional()


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b"- a\n", (1, 1, "wrong_type", None)),
        (b"title:\n", (1, 1, "wrong_type", None)),
        (b"title: [\n", (1, 8, "syntax", None)),
        (b"title: \xff", (1, 8, "not_utf8", None)),
        (b"title: !x y\n", (1, 8, "tag_not_allowed", None)),
    ],
)
def test_one_error(raw: bytes, place: tuple[int, int, str, None]) -> None:
    assert places(parse(Manifest, raw, "x.yaml")) == [place]


def test_a_problem_keeps_its_id_when_lines_move_and_no_two_share_one() -> None:
    before = parse(Manifest, BAD.encode(), "x.yaml").problems
    after = parse(Manifest, b"# one more line\n" + BAD.encode(), "x.yaml").problems
    ids = [found.problem_id for found in before]
    # the message of a duplicate key names a line; all others stay
    assert ids[:-1] == [found.problem_id for found in after][:-1]
    assert len(set(ids)) == len(ids)


def test_the_caller_places_what_only_it_can_know() -> None:
    parsed = parse(Manifest, b"title: x\nmetadata:\n  persona: nobody\n", "x.yaml")
    found = parsed.at(("metadata", "persona"), "no persona 'nobody'", code="dangling_reference")
    assert (found.line, found.column, found.pointer) == (3, 12, "/metadata/persona")
    assert parsed.at(("metadata",), "x", key=True).column == 1
    assert parsed.at(("acceptance",), "none", severity="warning").line == 1


def test_require_raises_with_faults_and_problems() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse(Manifest, b"title: x\nturns: none\n", "x.yaml").require()
    assert caught.value.detail.startswith("x.yaml:2:8: must be a whole number")
    assert [fault.path for fault in caught.value.errors] == ["/turns"]
    assert caught.value.extra["problems"][0]["line"] == 2
    assert parse(Manifest, b"title: x\n", "x.yaml").require().title == "x"


def test_markdown_has_front_matter_and_a_body() -> None:
    raw = b"\xef\xbb\xbf---\r\ntitle: x\r\nturn: 2\r\n---\r\n\r\nYou are\r\n---\r\nfriendly.\r\n"
    parsed = parse_markdown(Manifest, raw, "personas/x.md", body="version")
    assert places(parsed) == [(3, 1, "unknown_key", "turns")]
    parsed = parse_markdown(Manifest, raw.replace(b"turn:", b"turns:"), "personas/x.md", body="version")
    assert parsed.value is not None and parsed.value.version == "You are\n---\nfriendly."
    assert parse_markdown(Manifest, b"just text\n", "x.md", body="title").require().title == "just text"
    assert places(parse_markdown(Manifest, b"---\ntitle: x\n", "x.md")) == [(1, 1, "syntax", None)]
    both = parse_markdown(Manifest, b"---\ntitle: x\n---\ntext\n", "x.md", body="title")
    assert places(both) == [(2, 1, "unknown_key", None)]
    assert places(parse_markdown(Manifest, b"---\na: [\n---\n", "x.md"))[0][:3] == (2, 4, "syntax")


def test_json_bodies_give_the_same_problems_with_pointers() -> None:
    raw = b'{"title": 1.10, "a/b": 1, "items": [{"type": "text", "txt": "x"}], "title": "y"}'
    found = [(problem.pointer, problem.code) for problem in parse_json(Manifest, raw, "x").problems]
    assert sorted(found) == [
        ("/a~1b", "unknown_key"),
        ("/items/0/text", "missing_key"),
        ("/items/0/txt", "unknown_key"),
        ("/title", "duplicate_key"),
        ("/title", "wrong_type"),  # what is a number in JSON is no text
    ]
    assert places(parse_json(Manifest, b'{"title": "x",\n }', "x"))[0][:3] == (2, 2, "syntax")
    for bad in (b'{"title": NaN}', b"[" * 100_000, b"[" * 90 + b"]" * 90, b'{"title": "\\ud800"}', b"\xff"):
        assert parse_json(Manifest, bad, "x").value is None


def test_what_the_daemon_writes_it_reads() -> None:
    data = {"title": "on", "version": "1.10", "metadata": {"note": "a\nb\n", "n": [1, None]}}
    assert parse(Manifest, dump_yaml(data), "x").data == data
    persona = {"title": "12:30", "version": "You\n\nare."}
    assert dump_markdown(persona, body="version") == b"---\ntitle: '12:30'\n---\nYou\n\nare.\n"
    assert parse_markdown(Manifest, dump_markdown(persona, body="version"), "x", body="version").data == persona


@pytest.mark.parametrize(
    ("kind", "raw", "places"),
    [
        (
            "schedules",
            b"cron: '0 9 * * *'\nevery: 1s\nat: never\nstart: {session: s, flow: {playbook: ''}}\noverlap: x\n",
            ["", "/at", "/every", "/overlap", "/start", "/start/flow/playbook"],
        ),
        ("schedules", b"cron: '61 9 * * *'\nstart: {flow: {playbook: a}}\n", ["/cron"]),  # nothing follows from it
        ("mcp", b"command: x\nurl: https://a.example\nargs: 5\n", ["", "/args"]),
        ("channels", b"title: [1]\nmembers: [{member: a, kind: human, foo: 1}]\n",
         ["/members/0", "/members/0/foo", "/title"]),
        ("channels", b"members: [{member: a, kind: alien}]\n", ["/members/0/kind"]),
        ("routes", b"modl: gpt-5\n", ["/driver", "/modl"]),
        ("routes", b"driver: openai\nmodl: gpt-5\n", ["/modl"]),
    ],
)  # fmt: skip
def test_checks_of_several_fields_are_reported_with_the_errors_of_fields(
    kind: str, raw: bytes, places: list[str]
) -> None:
    known = {**KINDS, **{one.name: one for one in TOP.values()}}
    problems = known[kind].read(raw, "a.yaml").problems
    assert sorted(dict.fromkeys(problem.pointer for problem in problems)) == places
