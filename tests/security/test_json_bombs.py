"""JSON that is meant to hurt: refused as the caller's fault, at once, and never an error of the daemon."""

from __future__ import annotations

import json

import pytest

from tests.api.conftest import w  # noqa: F401 - a fixture
from tests.api.harness import World

JSON = {"content-type": "application/json"}
DOORS = ("/v1/sessions/s/runs", "/v1/permissions/check", "/v1/flows", "/v1/tokens")
_META = b'{"route": "local", "content": "x", "metadata": {"a": %s}}'
BOMBS = {
    "open-lists": b"[" * 200_000,
    "open-objects": b'{"a":' * 100_000,
    "deep-list": _META % (b"[" * 100_000 + b"]" * 100_000),
    "deep-object": _META % (b'{"a":' * 5_000 + b"1" + b"}" * 5_000),
    "digits": _META % (b"1" * 1_000_000),
    "65-bits": _META % b"18446744073709551616",
    "exponent": _META % b"1e999",
    "negative": _META % b"-1E+999",
    "long-and-infinite": _META % (b"9" * 400 + b".5"),
    "infinity": _META % b"Infinity",
    "nan": _META % b"NaN",
    "twice": b'{"content": "x", "content": "y"}',
    "twice-escaped": b'{"content": "x", "\\u0063ontent": "y"}',
    "twice-inside": _META % b'{"b": 1, "b": 2}',
    "surrogate": _META % b'"\\ud800"',
    "surrogate-as-key": _META % b'{"\\udc00": 1}',
    "surrogate-raw": _META % b'"\xed\xa0\x80"',
    "not-utf8": _META % b'"\xff\xfe"',
    "overlong": _META % b'"\xc0\xaf"',
    "utf16": '{"content": "x"}'.encode("utf-16"),
    "bom-in-bom": b"\xef\xbb\xbf\xef\xbb\xbf{}",
    "control": _META % b'"a\0b"',
    "two": b'{"content": "x"} {}',
    "comment": b'{"content": "x" /* c */}',
    "quotes": b"{'content': 'x'}",
    "list": b"[]",
    "number": b"1",
    "blank": b" ",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
async def test_a_bomb_is_the_callers_fault(w: World, bomb: bytes) -> None:  # noqa: F811
    await w.session("s")
    for door in DOORS:
        answer = await w.http.post(door, content=bomb, headers=JSON)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), (door, answer.text[:300])
        assert len(answer.content) < 20_000  # it does not come back
    assert (await w.http.get("/v1/runs")).json()["items"] == []


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
async def test_a_definition_that_is_a_bomb_is_not_taken(w: World, bomb: bytes) -> None:  # noqa: F811
    answer = await w.http.post("/v1/routes/validate", content=bomb, headers=JSON)
    assert answer.status_code == 400 or (answer.status_code, answer.json()["valid"]) == (200, False), answer.text


@pytest.mark.parametrize("number", [b"1e308", b"-0", b"1e-999", b"18446744073709551615", b"0." + b"1" * 1000])
async def test_a_number_that_can_be_kept_is_kept_alike_in_memory_and_journal(w: World, number: bytes) -> None:  # noqa: F811
    await w.session("s")
    answer = await w.http.post("/v1/sessions/s/runs", content=_META % number, headers=JSON)
    assert answer.status_code == 202, answer.text
    run = (await w.http.get(f"/v1/runs/{answer.json()['run_id']}")).json()
    assert run["request"]["metadata"] == {"a": json.loads(number)}


@pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "1e999", ".inf", ".nan", "9" * 900])
async def test_a_number_in_yaml_that_no_answer_can_hold_is_not_taken(w: World, number: str) -> None:  # noqa: F811
    text = f"driver: scripted\nscript: {{echo: true}}\ngeneration: {{deep: [{{a: {number}}}]}}\n"
    yaml = {"content-type": "application/yaml"}
    said = await w.http.post("/v1/routes/validate", content=text, headers=yaml)
    put = await w.http.put("/v1/routes/new", content=text, headers=yaml)
    assert (said.status_code, said.json()["valid"], put.status_code) == (200, False, 400), (said.text, put.text)
    assert [one["id"] for one in (await w.http.get("/v1/routes")).json()["items"]] == ["local"]
