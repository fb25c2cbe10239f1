"""Types of assets: what the content shows, compared with what the sender claims."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from kheish.errors import AssetTypeMismatch, Invalid
from kheish.store import assets as store

BINARY, PLAIN, MAIL, ZIP = "application/octet-stream", "text/plain", "message/rfc822", "application/zip"
_OFFICE = "application/vnd.openxmlformats-officedocument"
DOCX, XLSX, PPTX = (
    f"{_OFFICE}.{rest}" for rest in ("wordprocessingml.document", "spreadsheetml.sheet", "presentationml.presentation")
)
EPUB, PDF = "application/epub+zip", "application/pdf"
#: types that a converter of their own reads
DOCUMENTS = frozenset({PDF, DOCX, XLSX, PPTX, EPUB})
#: types by the ending of a name, where no type is claimed
ENDINGS = {
    ".txt": PLAIN, ".log": PLAIN, ".md": "text/markdown", ".markdown": "text/markdown", ".csv": "text/csv",
    ".tsv": "text/tab-separated-values", ".json": "application/json", ".html": "text/html", ".htm": "text/html",
    ".xml": "application/xml", ".yaml": "application/yaml", ".yml": "application/yaml", ".svg": "image/svg+xml",
    ".eml": MAIL, ".docx": DOCX, ".xlsx": XLSX, ".pptx": PPTX, ".epub": EPUB,
}  # fmt: skip
#: text that is not named text/…
_TEXTS = frozenset({
    "application/json", "application/xml", "application/yaml", "application/x-yaml", "application/toml",
    "application/javascript", "application/x-sh", "application/sql", "application/x-ndjson", "image/svg+xml", MAIL,
})  # fmt: skip
#: archives whose first bytes are those of a zip file
_ZIPPED = frozenset(
    {ZIP, DOCX, XLSX, PPTX, EPUB, "application/java-archive", "application/vnd.oasis.opendocument.text"}
)
#: families whose content the sniffer knows, so that a claim without such content is wrong
_SHOWN = frozenset({"image", "audio", "video", "font"})
_FORM = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")


#: what ends a folder; a byte that is no UTF-8 is written `\\xe9` in the names of files, as `list_files` gives them
_SEPARATOR = re.compile(r"/|\\(?!x[0-9a-f]{2})")


def is_text(media_type: str) -> bool:
    """Return whether a type stands for text."""
    return media_type.startswith("text/") or media_type in _TEXTS or media_type.endswith(("+json", "+xml"))


def is_audio(media_type: str) -> bool:
    """Return whether a type stands for a recording of sound."""
    return media_type.startswith("audio/")


def clean_claim(claimed: str | None) -> str | None:
    """Return a claimed type without parameters, in lower case. Raises Invalid."""
    plain = (claimed or "").partition(";")[0].strip().lower()
    if not plain:
        return None
    if _FORM.fullmatch(plain) is None:
        raise Invalid(f"{claimed[:100] if claimed else ''!r} is not a media type; write one such as text/markdown.")
    return plain


def clean_name(name: str | None) -> str:
    """Return the last part of a name, without characters that mean something elsewhere. Raises Invalid."""
    last = _SEPARATOR.split((name or "").rstrip("/"))[-1]
    plain = "".join(char for char in last if char.isprintable()).strip(" ").rstrip(" .")
    if not plain:
        raise Invalid("The asset needs a name, such as report.pdf.")
    if len(plain.encode("utf-8", "replace")) > 255 or plain.encode("utf-8", "replace").decode() != plain:
        raise Invalid("The name of an asset has at most 255 bytes, and is UTF-8.")
    return plain


def decide(head: bytes, file: Path, name: str, claimed: str | None) -> str:
    """Return the type of a received file, whose first bytes are `head`. Blocks. Raises AssetTypeMismatch."""
    shown = sniff(head)
    wanted = claimed if claimed not in (None, BINARY) else ENDINGS.get(PurePosixPath(name).suffix.lower())
    if shown is not None:
        return _agreed(shown, wanted, is_claim=claimed == wanted)
    if store.is_utf8(file):
        return _of_text(wanted, is_claim=claimed == wanted)
    if wanted is None:
        return BINARY
    if wanted.partition("/")[0] in _SHOWN or wanted in _ZIPPED or wanted == PDF:
        if claimed == wanted:
            raise _mismatch(claimed, BINARY)
        return BINARY
    return wanted  # text of another encoding, or a type that the sniffer does not know


def sniff(head: bytes) -> str | None:
    """Return the type that the first bytes of a file show, or None."""
    import filetype

    kind = filetype.guess(head)
    return str(kind.mime) if kind is not None else None


def _agreed(shown: str, wanted: str | None, *, is_claim: bool) -> str:
    if wanted is None or wanted == shown:
        return shown
    if shown == ZIP and wanted in _ZIPPED:
        return wanted
    if _family(shown) != _family(wanted) and is_claim:
        raise _mismatch(wanted, shown)
    return shown


def _family(media_type: str) -> str:
    top = media_type.partition("/")[0]
    if media_type in _ZIPPED:
        return ZIP
    return top if top in _SHOWN and media_type != "image/svg+xml" else media_type.replace("/x-", "/")


def _of_text(wanted: str | None, *, is_claim: bool) -> str:
    if wanted is None:
        return PLAIN
    if is_text(wanted) or wanted.startswith("application/x-"):
        return wanted
    if is_claim:
        raise _mismatch(wanted, PLAIN)
    return PLAIN


def _mismatch(claimed: str | None, shown: str) -> AssetTypeMismatch:
    return AssetTypeMismatch(
        f"The content is {shown}, and not {claimed} as claimed. Send the type that it has, or none.",
        media_type=shown,
    )
