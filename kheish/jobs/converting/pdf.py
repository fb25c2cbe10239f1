"""PDF as text, by pypdf."""

from __future__ import annotations

import io

from kheish.jobs.converting.limits import PAGES, TEXT_BYTES, Refused

NAME = "pypdf"


def convert(raw: bytes) -> tuple[str, str, str | None]:
    """Return the text of the pages, the version of the library, and what is missing. Raises Refused."""
    from pypdf import PdfReader, __version__
    from pypdf.errors import PyPdfError

    try:
        reader = PdfReader(io.BytesIO(raw), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Refused("It is encrypted, and needs a password.")
        count = len(reader.pages)
        pages, size, failed = list[str](), 0, list[int]()
        for number in range(min(count, PAGES)):
            try:
                page = reader.pages[number].extract_text()
            except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
                failed.append(number + 1)
                continue
            pages.append(f"[page {number + 1}]\n{page.strip()}")
            size += len(page)
            if size > TEXT_BYTES:
                break
    except (PyPdfError, RecursionError) as error:
        raise Refused(f"It cannot be read as a PDF: {error}") from error
    if not any(page.partition("\n")[2] for page in pages):
        raise Refused("Its pages have no text; they may be scanned images.")
    notes = [f"Only the first {PAGES} of {count} pages are converted."] if count > PAGES else []
    notes += [f"Pages without readable text: {', '.join(map(str, failed[:20]))}."] if failed else []
    return "\n\n".join(pages), __version__, " ".join(notes) or None
