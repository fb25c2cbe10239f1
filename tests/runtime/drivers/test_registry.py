"""The table of drivers: one of each, imported when first asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kheish.errors import Invalid
from kheish.runtime.drivers import registry


async def test_a_driver_is_made_once_until_all_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_open", {})  # not those of other tests, whose loops are closed
    first = await registry.get("scripted")
    assert await registry.get("scripted") is first
    await registry.close_all()
    assert await registry.get("scripted") is not first
    await registry.close_all()


async def test_an_unknown_driver_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Invalid, match="litellm, openai, replay, scripted"):
        await registry.get("made-up")


def test_the_drivers_themselves_import_no_sdk() -> None:
    code = (
        "import asyncio, sys\n"
        "from kheish.runtime.drivers import registry\n"
        "[asyncio.run(registry.get(name)) for name in registry.DRIVERS]\n"
        "assert not {'openai', 'litellm', 'httpx', 'pydantic'} & set(sys.modules), sorted(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
