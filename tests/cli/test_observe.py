"""`kheish observe` against a daemon that does not take everything."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kheish.cli import observe
from kheish.cli.main import main
from tests.support.receiver import Got, Reply, receive

LIMITED = Reply(
    429,
    {"type": "urn:kheish:error:rate_exceeded", "title": "x", "status": 429, "detail": "Too many.",
     "code": "rate_exceeded", "domain": "observations", "errors": [], "retry_after": 0.01},
    {"Content-Type": "application/problem+json"},
)  # fmt: skip


def stored(got: Got) -> Reply:
    items = [{"observation_id": f"obs_{number}"} for number, _ in enumerate(got.json["items"])]
    return Reply(201, {"items": items}, {"Content-Type": "application/json"})


class Sending:
    """The command against a server on loopback: `answer` decides."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capsys = monkeypatch, capsys
        self.got: list[Got] = []

    def __call__(self, answer: Callable[[Got], Reply], *words: str, given: str = "") -> tuple[int, str]:
        """Run it; return its exit code and what it wrote."""
        with receive(answer) as site:
            self._patch.setenv("KHEISH_URL", site.url)
            self._patch.setenv("KHEISH_TOKEN", "t")
            self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
            code = main(["observe", "app", *words])
            self.got = site.got
        written = self._capsys.readouterr()
        return code, written.out + written.err


@pytest.fixture
def sending(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Sending:
    return Sending(monkeypatch, capsys)


def test_a_rate_that_never_allows_a_batch_ends_with_what_was_sent(
    sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "PATIENCE", 0.2)
    monkeypatch.setattr(observe, "LINES", 3)
    taken: list[dict[str, Any]] = []

    def answer(got: Got) -> Reply:
        if len(taken) == 6:
            return LIMITED
        taken.extend(got.json["items"])
        return stored(got)

    code, text = sending(answer, "-", given="".join(f"{number}\n" for number in range(1, 11)))
    assert code == 1 and len(sending.got) > 3, text
    assert "6 observations stored; send again from line 7 on." in text and "Too many." in text
    assert [one["text"] for one in taken] == list("123456")
    assert len({one.headers["idempotency-key"] for one in sending.got[2:]}) == 1


def test_a_rate_that_allows_it_later_loses_nothing(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "LINES", 2)
    bodies: list[Any] = []

    def answer(got: Got) -> Reply:
        bodies.append(got.json["items"])
        return LIMITED if len(bodies) % 3 else stored(got)

    code, text = sending(answer, "-", given="a\nb\nc\nd\n")
    assert code == 0 and "4 observations stored" in text, text
    assert [one["text"] for items in bodies[2::3] for one in items] == list("abcd")


def test_the_file_that_was_not_stored_is_named(
    sending: Sending, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "PATIENCE", 0.05)
    files = [tmp_path / name for name in ("a.log", "b.log")]
    for file in files:
        file.write_text(file.name)
    first = Reply(201, json.dumps({"items": [{"observation_id": "obs_1"}]}).encode(),
                  {"Content-Type": "application/json"})  # fmt: skip
    code, text = sending(lambda got: first if b"a.log" in got.body else LIMITED, *map(str, files))
    assert code == 1 and f"1 observation stored; send again from {files[1]} on." in text, text
