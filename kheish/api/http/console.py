"""The console: its static files at `/` and `/console/`. They hold no data, so they need no token.

All files are read once, into a table: a request can name only what is in it, and never a path of the disk. The address
of a file contains the digest of all of them, so browsers may keep it for ever, and a new version has new addresses.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import mimetypes
import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import falcon
from falcon.asgi import Request, Response

from kheish import resources

PAGE = "/"
FILES = "/console/"
_TEXTS = (("js", "javascript"), ("css", "css"), ("md", "markdown"), ("html", "html"))
#: the one text of the page that is a script: the import map, which the policy names by its hash
_IMPORTS = "{imports}"
_BASE = "{base}"
_POLICY = (
    "default-src 'self'; script-src 'self' 'sha256-{hash}'; style-src 'self'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types lit-html"
)
_TYPES = {f".{suffix}": f"text/{name}; charset=utf-8" for suffix, name in _TEXTS}
#: a page of the documentation
_PAGE = re.compile(r"docs/.+\.md")
#: suffixes that are served
_SERVED = frozenset([".js", ".css", ".md", ".svg", ".webp", ".png", ".json"])
#: contents that gzip does not make smaller
_PACKED = frozenset([".webp", ".png"])


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is sent; `packed` is its gzip form, or None."""

    raw: bytes
    packed: bytes | None
    media: str
    etag: str


@dataclass(frozen=True, slots=True)
class Files:
    """All files of the console. `page` is the document at `/`, and `policy` its Content-Security-Policy."""

    version: str
    page: File
    policy: str
    files: dict[str, File]


@lru_cache(maxsize=2)
def load(console: Path, docs: Path) -> Files:
    """Return the files below two folders; those of `docs` are below `docs/`, with a list of its pages, `pages.json`.

    Links are not followed. Blocks on disk.
    """
    raws = {**_read(console, ""), **_read(docs, "docs/")}
    digest = sha256()
    for name in sorted(raws):
        digest.update(f"{name}\0{len(raws[name])}\0".encode() + raws[name])
    version = digest.hexdigest()[:16]
    pages = sorted(name.removeprefix("docs/").removesuffix(".md") for name in raws if _PAGE.fullmatch(name))
    raws["docs/pages.json"] = json.dumps(sorted(pages, key=lambda page: page.count("/"))).encode()
    files = {name: _file(raw, Path(name).suffix) for name, raw in raws.items() if Path(name).suffix in _SERVED}
    base = f"{FILES}{version}/"
    imports = json.loads(raws["vendor/vendor.json"])["imports"]
    text = json.dumps({"imports": {name: f"{base}vendor/{file}" for name, file in imports.items()}})
    page = raws["index.html"].decode().replace(_IMPORTS, text).replace(_BASE, base)
    policy = _POLICY.format(hash=base64.b64encode(sha256(text.encode()).digest()).decode())
    return Files(version, _file(page.encode(), ".html"), policy, files)


def _read(folder: Path, below: str) -> dict[str, bytes]:
    """Return the regular files below a folder by their names."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            found[below + path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def _file(raw: bytes, suffix: str) -> File:
    media = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
    packed = None if suffix in _PACKED else gzip.compress(raw, 9, mtime=0)
    return File(raw, packed, media, sha256(raw).hexdigest()[:32])


async def files() -> Files:
    """Return the files of this installation; the first call reads them, in a thread."""
    return await asyncio.to_thread(load, resources.console(), resources.folder("docs"))


class Page:
    """The document at `/`."""

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer with the document."""
        known = await files()
        resp.set_headers(
            {
                "Content-Security-Policy": known.policy,
                "Referrer-Policy": "same-origin",
                "Cache-Control": "no-cache",
                "Cross-Origin-Opener-Policy": "same-origin",
            }
        )
        _send(req, resp, known.page)


class Static:
    """The files below `/console/`."""

    async def on_get(self, req: Request, resp: Response, version: str, name: str) -> None:
        """Answer with a file. Raises HTTPNotFound for an unknown name, and for one of another version."""
        known = await files()
        file = known.files.get(name)
        if file is None or version != known.version:
            raise falcon.HTTPNotFound()
        resp.set_header("Cache-Control", "public, max-age=31536000, immutable")
        resp.set_header("Content-Security-Policy", "default-src 'none'; sandbox")
        _send(req, resp, file)


def _send(req: Request, resp: Response, file: File) -> None:
    resp.etag = file.etag
    resp.set_header("Vary", "Accept-Encoding")
    if file.etag in [etag for etag in req.if_none_match or () if etag != "*"]:
        resp.status = 304
        return
    resp.content_type = file.media
    if file.packed is not None and "gzip" in (req.get_header("Accept-Encoding") or ""):
        resp.set_header("Content-Encoding", "gzip")
        resp.data = file.packed
    else:
        resp.data = file.raw


def add_routes(app: falcon.asgi.App[Request, Response]) -> None:
    """Add the console to an application."""
    app.add_route(PAGE, Page())
    app.add_route(f"{FILES}{{version}}/{{name:path}}", Static())
