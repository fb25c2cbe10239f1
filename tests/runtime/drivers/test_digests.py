"""The digest of a request is that of its canonical form, however much of the last request it repeats."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import orjson
import pytest

from kheish.runtime.drivers.base import Call, Message, Request, ToolSpec
from kheish.runtime.drivers.digests import Digests, digest

SYSTEM, TASK = Message(role="system", text="be good"), Message(role="user", text="go")
ASKED = Message(role="assistant", calls=(Call(id="c", name="bash", arguments={"z": 1, "a": [None]}),), opaque={"b": 1})
BASE = Request(
    route_id="r",
    model="m",
    messages=(SYSTEM, TASK),
    tools=(ToolSpec(name="bash", description="runs", parameters={"type": "object"}),),
    generation={"temperature": 0.5, "max_tokens": 9},
)
TOLD = Message(role="tool", call_id="c", text="done")


def canonical(request: Request) -> str:
    content = {"model": request.model, "messages": request.messages, "tools": request.tools, "how": request.generation}
    return sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


@pytest.mark.parametrize(
    "requests",
    [
        [BASE, replace(BASE, messages=(SYSTEM, TASK, ASKED, TOLD))],
        [BASE, replace(BASE, messages=(replace(SYSTEM, text="be better"), TASK, ASKED))],
        [replace(BASE, messages=(SYSTEM, TASK, ASKED, TOLD)), BASE],
        [BASE, replace(BASE, messages=())],
        [BASE, replace(BASE, generation={}, messages=(SYSTEM, TASK, ASKED))],
        [BASE, replace(BASE, model=None, tools=(), messages=(SYSTEM, TASK, ASKED))],
        [BASE, BASE, replace(BASE, messages=(SYSTEM, replace(TASK), ASKED)), BASE],
    ],
    ids=["grown", "changed", "shortened", "empty", "settings", "model and tools", "equal"],
)
def test_a_digest_is_that_of_the_canonical_form(requests: list[Request]) -> None:
    digests = Digests()
    for request in requests:
        assert digests.of(request) == digest(request) == canonical(request)
        assert request.messages[:1] == () or request.messages[0].counted(lambda _: 5) == 5
