"""Conversions: a broken page is stopped, and one uploader leaves places for others."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from kheish.jobs.converting import html, images, mail
from kheish.jobs.converting.convert import Conversion
from kheish.jobs.converting.limits import Refused
from kheish.runtime.assets import deriving
from kheish.runtime.assets.deriving import Deriver
from kheish.runtime.assets.places import Places


@pytest.mark.parametrize("broken", ["<!--", "<a href='", "</a"])
def test_a_broken_page_is_stopped_and_its_beginning_kept(broken: str) -> None:
    text, why = html.of_text("<p>Hello</p>" + broken * 40_000, time.process_time() + 0.05)
    assert text.startswith("Hello") and "left out" in (why or "")
    assert html.of_text("<p>Hello</p>", time.process_time() + 60) == ("Hello", None)


def test_pages_of_an_e_mail_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "convert", lambda content, encoding: ("A page", "the rest is left out"))
    found, why = mail.convert(b"From: a@b\nSubject: s\nContent-Type: text/html\n\n<!--")
    assert "A page" in found and why == "the rest is left out"


def test_a_damaged_image_is_named_in_words() -> None:
    with pytest.raises(Refused, match="its content is no GIF, or is damaged") as refused:
        images.convert(b"GIF89a nothing", "image/gif")
    assert "0x" not in str(refused.value)


async def test_others_go_ahead_of_one_who_sends_much(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, begun = asyncio.Event(), list[bytes]()

    async def convert(content: bytes, media_type: str, **_: Any) -> Conversion:
        begun.append(content)
        if content == b"bomb":
            await stuck.wait()
        return Conversion(text=content)

    monkeypatch.setattr(deriving, "_convert", convert)
    deriver = Deriver(None, lambda: False)  # type: ignore[arg-type]  # nothing is stored
    bombs = [asyncio.create_task(deriver.converted(b"bomb", "text/html", "token:web")) for _ in range(9)]
    await asyncio.sleep(0)
    found = await asyncio.wait_for(deriver.converted(b"mine", "text/html", "token:me"), 20)
    assert found.text == b"mine" and begun.count(b"bomb") == 2
    stuck.set()
    await asyncio.gather(*bombs)
    assert begun.count(b"bomb") == 9


async def test_those_who_wait_take_turns_and_a_cancelled_one_is_passed_over() -> None:
    places, order = Places(1, 1), list[str]()

    async def hold(owner: str, name: str) -> None:
        async with places.place(owner):
            order.append(name)
            await asyncio.sleep(0)

    names = ("a1", "a2", "a3", "b1", "b2", "c1")
    tasks = {name: asyncio.create_task(hold(name[0], name)) for name in names}
    await asyncio.sleep(0)
    tasks["a2"].cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert order == ["a1", "b1", "c1", "a3", "b2"]
    await asyncio.wait_for(hold("d", "d1"), 20)
