"""Bodies: strict JSON, with a limit, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kheish.api import submissions
from kheish.api.http import media
from kheish.errors import Invalid
from tests.api.harness import World

JSON = {"content-type": "application/json; charset=utf-8"}


@pytest.mark.parametrize(
    ("raw", "path", "told"),
    [
        (b'{"reason": "a", "reason": "b"}', "/reason", "duplicate"),
        (b'{"reason": "a"', "", "line 1"),
        (b"[1]", "", "mapping"),
        (b'{"reason": NaN}', "", "NaN"),
        (b'{"reason": "\\ud800"}', "", "surrogate"),
        (b'{"reason": "\xff"}', "", "UTF-8"),
        (b'{"reason": 5}', "/reason", "text"),
        (b'{"a": ' * 100 + b"1" + b"}" * 100, "", "deep"),
    ],
)
async def test_json_with_surprises_is_refused(w: World, raw: bytes, path: str, told: str) -> None:
    await w.session()

    answer = await w.http.post("/v1/sessions/s/interrupt", content=raw, headers=JSON)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "invalid_request"), problem
    assert any(fault["path"].startswith(path) for fault in problem["errors"])
    assert told in problem["detail"]


async def test_other_media_types_are_refused(w: World) -> None:
    for headers in ({}, {"content-type": "application/x-www-form-urlencoded"}, {"content-type": "text/plain"}):
        answer = await w.http.post("/v1/sessions", content=b"{}", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_a_huge_body_is_refused_with_and_without_a_length(w: World) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(65):
            yield b"x" * 65536

    known = await w.http.post("/v1/sessions", content=b"x" * (media.BODY_BYTES + 1), headers=JSON)
    unknown = await w.http.post("/v1/sessions", content=chunks(), headers=JSON)

    assert (known.status_code, known.json()["code"]) == (413, "too_large")
    assert (unknown.status_code, unknown.json()["code"]) == (413, "too_large")


async def test_a_body_in_chunks_is_read_whole(w: World) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for part in (b'{"session_id": ', b'"s"', b"}"):
            yield part

    answer = await w.http.post("/v1/sessions", content=chunks(), headers=JSON)

    assert (answer.status_code, answer.json()["session_id"]) == (201, "s")


def test_many_brackets_are_no_depth() -> None:
    raw = b'{"content": "x", "metadata": {"list": [' + b",".join([b"[1]"] * 200) + b"]}}"

    assert media.plain_json(raw)
    assert media.explain(submissions.Submission, raw).content == "x"
    with pytest.raises(Invalid):
        media.explain(submissions.Submission, b"{}")
