"""Observations in a prompt: if not all fit, the newest are given, in their order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from kheish.domain.events import Item
from kheish.domain.observations.observation import Observation
from kheish.runtime.observations.contents import Content
from kheish.runtime.observations.showing import Shower


class Kept:
    """A keeper with observations of 1,900 characters."""

    def __init__(self) -> None:
        definitions = SimpleNamespace(by_kind={"sources": {}})
        self.state = SimpleNamespace(definitions=definitions, scrub=lambda raw: raw)

    async def find(self, ids: Any) -> list[Observation]:
        return [
            Observation(
                observation_id=id, source="web", batch_id="b", number=number, place=f"web:{number}", kind="text",
                bytes=1, captured_at=f"2026-11-29T12:00:{number:02}.000000Z", received_at="2026-11-29T13:00:00.000000Z",
                received_by="token:x", made=number, n=number,
            )
            for number, id in enumerate(ids, 1)
        ]  # fmt: skip

    async def content(self, one: Observation) -> Content:
        return Content(text=f"<{one.number}>" + "x" * 1900)


async def test_the_newest_are_given_if_not_all_fit() -> None:
    ids = tuple(f"obs_{number}" for number in range(1, 41))
    keeper: Any = Kept()
    shown = await Shower(keeper).attach("run_1", Item(type="observations", observation_ids=ids), vision=False)
    numbers = [number for number in range(1, 41) if f"<{number}>" in shown.text]
    assert numbers == list(range(41 - len(numbers), 41)) and 20 < len(numbers) < 40
    assert f"{40 - len(numbers)} older ones do not fit here." in shown.text
    assert shown.text.index(f"<{numbers[0]}>") < shown.text.index("<40>")
