"""`web_fetch`: pages as text for a model, from a real server on loopback."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kheish.runtime.tools import web
from kheish.runtime.tools.base import Context, Result, ToolError
from tests.support.site import Page, serve

HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = """<html><head><title>Prices</title><style>p {}</style></head><body><h2>Today</h2>
<p>Tea costs <b>2 €</b>. <a href="/more">More</a></p><script>steal()</script><ul><li>one</li></ul></body></html>"""


async def fetch(context: Context, url: str, *, allowed: tuple[str, ...] = ("127.0.0.1",), **more: int) -> Result:
    (tool,) = web.make(lambda: allowed)
    result = await tool.run(tool.parse({"url": url, **more}), context)
    assert isinstance(result, Result)
    return result


async def test_a_page_comes_as_markdown_without_its_scripts(context: Callable[..., Context]) -> None:
    with serve({"/": Page(PAGE.encode(), headers=HTML)}) as site:
        result = await fetch(context(), f"{site.url}/")
    assert "# Prices" in result.content
    assert "## Today" in result.content
    assert "Tea costs **2 €**. [More](/more)" in result.content
    assert "steal" not in result.content
    assert result.detail["network"] is True


async def test_a_long_text_is_read_on_by_offset(context: Callable[..., Context]) -> None:
    with serve({"/a": Page(b"abcdefghij", headers={"Content-Type": "text/plain"})}) as site:
        first = await fetch(context(), f"{site.url}/a", limit=4)
        second = await fetch(context(), f"{site.url}/a", offset=4)
    assert "\n\nabcd\n\nRead on with offset 4." in first.content
    assert second.content.endswith("\n\nefghij")


async def test_what_is_no_text_is_said_to_be_none(context: Callable[..., Context]) -> None:
    page = Page(b"\x89PNG", headers={"Content-Type": "image/png"})
    with serve({"/": page}) as site, pytest.raises(ToolError, match="image/png"):
        await fetch(context(), f"{site.url}/")


async def test_an_error_of_the_server_is_one_of_the_call(context: Callable[..., Context]) -> None:
    with serve({}) as site:
        result = await fetch(context(), f"{site.url}/missing")
    assert result.is_error
    assert "(404," in result.content


async def test_private_addresses_are_refused_and_the_way_is_told(context: Callable[..., Context]) -> None:
    with serve({"/": Page(b"inside")}) as site:
        with pytest.raises(ToolError, match=r"this machine.*network\.allow"):
            await fetch(context(), f"{site.url}/", allowed=())
        assert not site.asked


async def test_a_page_that_is_nested_without_end_is_no_defect(context: Callable[..., Context]) -> None:
    with serve({"/": Page(b"<div>" * 50_000, headers=HTML)}) as site, pytest.raises(ToolError, match="nested"):
        await fetch(context(), f"{site.url}/")


async def test_a_long_text_that_is_no_utf_8_is_decoded_elsewhere(context: Callable[..., Context]) -> None:
    page = Page(b"\xff" * 300_000 + b"end", headers={"Content-Type": "text/plain"})
    with serve({"/": page}) as site:
        result = await fetch(context(), f"{site.url}/", offset=299_999)
    assert result.content.endswith("\ufffdend")
    assert result.detail["characters"] == 300_003
