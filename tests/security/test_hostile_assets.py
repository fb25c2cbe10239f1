"""Files that are meant to hurt their converter: each is refused or recorded, within its limits of memory and time."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import resource
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from kheish.jobs import probing
from kheish.jobs.converting import convert, limits
from kheish.jobs.converting.convert import Conversion
from kheish.runtime.assets import types
from tests.api.conftest import w  # noqa: F401 - a fixture
from tests.api.harness import World

SHEET = types.XLSX


async def converted(content: bytes, media_type: str) -> Conversion:
    file = os.memfd_create("asset")
    try:
        os.write(file, content)
        os.lseek(file, 0, os.SEEK_SET)
        return await convert.convert(file, media_type, is_confined=probing.probe().available)
    finally:
        os.close(file)


def archive(*entries: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in entries:
            made.writestr(name, content)
    return buffer.getvalue()


def zip_bomb() -> bytes:
    """120 MiB in 120 kB, as a sheet."""
    return archive(("[Content_Types].xml", b"<Types/>"), ("xl/worksheets/sheet1.xml", b"0" * (120 * 1024**2)))


def lying_bomb() -> bytes:
    """The same, with a stated size of ten bytes."""
    raw = bytearray(archive(("xl/workbook.xml", b"0" * (105 * 1024**2))))
    for sign, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", raw, raw.index(sign) + at, 10)
    return bytes(raw)


def many_entries() -> bytes:
    return archive(*((f"word/{number}.xml", b"") for number in range(limits.ENTRIES + 1)))


def image_bomb() -> bytes:
    """A PNG that states 60,000 by 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1_000_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def looping_pdf() -> bytes:
    """A tree of pages whose child is its own parent, and an object that refers to itself."""
    body = (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        b"2 0 obj<</Type/Pages/Kids[2 0 R 3 0 R]/Count 2/Parent 2 0 R>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 3 0 R/Contents 4 0 R>>endobj\n4 0 obj 4 0 R endobj\n"
    )
    return body + b"trailer<</Root 1 0 R/Prev 0>>\nstartxref\n0\n%%EOF"


def deep_html() -> bytes:
    return b"<div>" * 50_000 + b"deep" + b"</div>" * 50_000


def deep_mail() -> bytes:
    part = b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n"
    return b"From: a@b\nSubject: deep\n" + b"".join(part % (at, at) for at in range(3000)) + b"\nend"


def entities() -> bytes:
    """A billion laughs."""
    names = "".join(f'<!ENTITY l{at} "{f"&l{at - 1};" * 10}">' for at in range(1, 12))
    return f'<!DOCTYPE x [<!ENTITY l0 "lol">{names}]><x>&l11;</x>'.encode()


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "zip-bomb": (SHEET, zip_bomb),
    "lying-zip-bomb": (types.DOCX, lying_bomb),
    "many-entries": (types.DOCX, many_entries),
    "no-archive": (types.PPTX, lambda: b"PK\x03\x04" + b"\xff" * 1000),
    "laughs-in-a-book": (types.EPUB, lambda: archive(("mimetype", b"application/epub+zip"), ("a.xhtml", entities()))),
    "image-bomb": ("image/png", image_bomb),
    "broken-image": ("image/jpeg", lambda: b"\xff\xd8\xff\xe0" + b"\0" * 100),
    "looping-pdf": (types.PDF, looping_pdf),
    "no-pdf": (types.PDF, lambda: b"%PDF-1.7\n" + b"<<" * 100_000),
    "binary-text": ("text/plain", lambda: b"\xff\xfd\xfc" * 1000),
    "nul-text": ("text/plain", lambda: b"a\0b"),
}


@pytest.mark.parametrize(("media_type", "make"), BOMBS.values(), ids=BOMBS.keys())
async def test_a_bomb_gives_a_reason_and_no_text(media_type: str, make: Callable[[], bytes]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    content = make()
    made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = await converted(content, media_type)
    assert result.text is None and not result.images
    assert result.why and len(result.why) <= limits.WHY_CHARACTERS
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - max(before, made)
    assert grown < 64 * 1024, "the memory is the child's"


@pytest.mark.parametrize(("media_type", "make"), [("text/html", deep_html), ("message/rfc822", deep_mail)])
async def test_deep_nesting_ends(media_type: str, make: Callable[[], bytes]) -> None:
    result = await converted(make(), media_type)
    assert result.text is not None or result.why


async def test_a_large_text_is_cut() -> None:
    result = await converted(b"0123456789\n" * 500_000, "text/plain")
    assert result.text is not None and len(result.text) <= limits.TEXT_BYTES
    assert "first 4194304 bytes" in (result.why or "")


async def test_a_child_that_dies_or_spins_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import sys; sys.stdin.buffer.read(); "
    endings = {
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": "killed",
        "import os; os.abort()": "SIGABRT",
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 3))\nwhile True: pass": "processor time",
        "print('x' * 50_000_000)": "wrote more",
        "print('no answer')": "no usable answer",
        "sys.exit(3)": "exit status 3",
    }
    for code, word in endings.items():
        monkeypatch.setattr(convert, "_START", program + code)
        result = await converted(b"text", "text/plain")
        assert result.text is None and word in (result.why or ""), (code, result)


async def test_a_child_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WALL_SECONDS", 1.0)
    monkeypatch.setattr(convert, "_START", "import time; time.sleep(600)")
    result = await asyncio.wait_for(converted(b"text", "text/plain"), 20)
    assert "stopped" in (result.why or "")


@pytest.mark.skipif(not probing.probe().available, reason="bubblewrap does not work here")
async def test_a_child_sees_no_files_and_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    hidden = [str(secret), str(Path.home() / ".ssh"), str(Path.home() / ".bashrc")]
    code = (
        "import os, socket, sys\n"
        f"seen = [path for path in {hidden!r} if os.path.exists(path)]\n"
        "names = [name for _, name in socket.if_nameindex() if name != 'lo']\n"
        "sys.exit(9 if seen or names else 7)"
    )
    monkeypatch.setattr(convert, "_START", code)
    assert "exit status 7" in ((await converted(b"x", "text/plain")).why or "")


async def test_metadata_of_an_image_is_gone() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    exif[0x0112] = 6  # it lies on its side
    buffer = io.BytesIO()
    Image.new("RGB", (60, 20)).save(buffer, "JPEG", exif=exif, comment=b"a secret word")
    result = await converted(buffer.getvalue(), "image/jpeg")
    normal = result.images[0]
    assert (normal.width, normal.height) == (20, 60)
    with Image.open(io.BytesIO(normal.content)) as image:
        assert not image.getexif() and b"secret" not in normal.content


def form(name: str, content: bytes, media_type: str | None = None) -> dict[str, str]:
    body = {"name": name, "content_base64": base64.b64encode(content).decode()}
    return body if media_type is None else {**body, "media_type": media_type}


async def test_names_are_names(w: World) -> None:  # noqa: F811
    for name, plain in (
        ("../../etc/passwd", "passwd"), ("C:\\x\\a.txt", "a.txt"), ("a\nb\x1b[31m.txt", "ab[31m.txt"),
        ("/abs/.hidden.", ".hidden"), ("a\u202etxt.exe", "atxt.exe"),
    ):  # fmt: skip
        answer = await w.http.post("/v1/assets", json=form(name, name.encode()))
        assert answer.status_code == 201, (name, answer.text)
        assert answer.json()["name"] == plain
    for name in ("", "/", "..", "\0", "é" * 200):
        answer = await w.http.post("/v1/assets", json=form(name, b"x"))
        assert answer.status_code == 400, (name, answer.text)


async def test_no_browser_shows_an_asset(w: World) -> None:  # noqa: F811
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    for name, content, kind in (("a.svg", svg, "image/svg+xml"), ("a.html", b"<script>1</script>", "text/html"),
                                ("a.txt", b"<html>", "text/plain")):  # fmt: skip
        made = (await w.http.post("/v1/assets", json=form(name, content))).json()
        raw = await w.http.get(f"/v1/assets/{made['asset_id']}/raw")
        assert raw.headers["content-type"].partition(";")[0] == kind
        assert raw.headers["content-disposition"].startswith("attachment")
        assert raw.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in raw.headers["content-security-policy"]


async def test_bad_requests_and_ids_are_the_callers_fault(w: World) -> None:  # noqa: F811
    digest = "0" * 64
    for id in (
        "absent",
        "sha256:",
        f"sha256:{digest}",
        f"sha256:{digest.upper()}x",
        "..",
        "%2e%2e%2fkheish.yaml",
        digest,
    ):
        for rest in ("", "/raw", "/text", "/references"):
            assert (await w.http.get(f"/v1/assets/{id}{rest}")).status_code == 404, id + rest
        assert (await w.http.delete(f"/v1/assets/{id}")).status_code == 404, id
    bodies = [b"", b"[]", b"{", b'{"name": "a"}', b'{"name": "a", "content_base64": "***"}']
    bodies += [b'{"name": "a", "content_base64": "YQ==", "x": 1}', b'{"name": 1, "content_base64": "YQ=="}']
    for body in bodies:
        answer = await w.http.post("/v1/assets", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, (body, answer.text)
    for files in ({"other": ("a", b"x")}, {"file": ("", b"x")}):
        answer = await w.http.post("/v1/assets", files=files)
        assert answer.status_code == 400, (files, answer.text)
    broken = {"content-type": "multipart/form-data; boundary=b"}
    answer = await w.http.post("/v1/assets", content=b"--b\r\nno headers", headers=broken)
    assert answer.status_code == 400, answer.text
    assert (await w.http.post("/v1/assets", content=b"x", headers={"content-type": "text/plain"})).status_code == 415
    assert not list((w.root / ".git/kheish/uploads").iterdir())
