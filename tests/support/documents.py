"""Documents with known words, written by hand: good files, as small as their formats allow."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence

_OOXML = "http://schemas.openxmlformats.org"
_TYPES = f"{_OOXML}/package/2006/content-types"
_RELATIONS = f"{_OOXML}/package/2006/relationships"
_OFFICE = f"{_OOXML}/officeDocument/2006/relationships"
_FORMAT = "application/vnd.openxmlformats-officedocument"


def pdf(pages: Sequence[str]) -> bytes:
    """Return a PDF with a line of text on each page."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for text in pages:
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {len(objects)} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    head = f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{table}"
    return out + f"{head}trailer\n<< /Size {len(places) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n".encode()


def packed(files: Mapping[str, str]) -> bytes:
    """Return a zip file; the first file is not compressed, as EPUB wants its type."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for number, (name, text) in enumerate(files.items()):
            target.writestr(name, text, zipfile.ZIP_STORED if not number else zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _package(main: str, kind: str, parts: Mapping[str, str], overrides: Mapping[str, str]) -> bytes:
    named = "".join(f'<Override PartName="/{path}" ContentType="{_FORMAT}.{one}"/>' for path, one in overrides.items())
    types = (
        f'<Types xmlns="{_TYPES}"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.'
        f'relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>{named}</Types>'
    )
    relations = _relations({"rId1": (kind, main)})
    return packed({"[Content_Types].xml": types, "_rels/.rels": relations, **parts})


def _relations(given: Mapping[str, tuple[str, str]]) -> str:
    rows = "".join(
        f'<Relationship Id="{id}" Type="{_OFFICE}/{kind}" Target="{to}"/>' for id, (kind, to) in given.items()
    )
    return f'<Relationships xmlns="{_RELATIONS}">{rows}</Relationships>'


def docx(text: str) -> bytes:
    """Return a Word document with a paragraph."""
    words = f"{_OOXML}/wordprocessingml/2006/main"
    body = f'<w:document xmlns:w="{words}"><w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>'
    kind = "wordprocessingml.document.main+xml"
    return _package("word/document.xml", "officeDocument", {"word/document.xml": body}, {"word/document.xml": kind})


def xlsx(text: str) -> bytes:
    """Return a workbook with a text in its first cell."""
    sheets = f"{_OOXML}/spreadsheetml/2006/main"
    book = (
        f'<workbook xmlns="{sheets}" xmlns:r="{_OFFICE}"><sheets><sheet name="One" sheetId="1" r:id="rId1"/></sheets>'
        "</workbook>"
    )
    sheet = (
        f'<worksheet xmlns="{sheets}"><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>{text}</t></is></c></row>'
        "</sheetData></worksheet>"
    )
    parts = {
        "xl/workbook.xml": book,
        "xl/_rels/workbook.xml.rels": _relations({"rId1": ("worksheet", "worksheets/sheet1.xml")}),
        "xl/worksheets/sheet1.xml": sheet,
    }
    kinds = {
        "xl/workbook.xml": "spreadsheetml.sheet.main+xml",
        "xl/worksheets/sheet1.xml": "spreadsheetml.worksheet+xml",
    }
    return _package("xl/workbook.xml", "officeDocument", parts, kinds)


def pptx(text: str) -> bytes:
    """Return a presentation with a text on its slide."""
    show, drawing = f"{_OOXML}/presentationml/2006/main", f"{_OOXML}/drawingml/2006/main"
    deck = (
        f'<p:presentation xmlns:p="{show}" xmlns:r="{_OFFICE}"><p:sldIdLst><p:sldId id="256" r:id="rId1"/></p:sldIdLst>'
        "</p:presentation>"
    )
    slide = (
        f'<p:sld xmlns:p="{show}" xmlns:a="{drawing}"><p:cSld><p:spTree><p:sp><p:txBody><a:bodyPr/><a:p><a:r>'
        f"<a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp></p:spTree></p:cSld></p:sld>"
    )
    parts = {
        "ppt/presentation.xml": deck,
        "ppt/_rels/presentation.xml.rels": _relations({"rId1": ("slide", "slides/slide1.xml")}),
        "ppt/slides/slide1.xml": slide,
    }
    kinds = {
        "ppt/presentation.xml": "presentationml.presentation.main+xml",
        "ppt/slides/slide1.xml": "presentationml.slide+xml",
    }
    return _package("ppt/presentation.xml", "officeDocument", parts, kinds)


def epub(text: str) -> bytes:
    """Return a book with one chapter."""
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles>'
        '<rootfile full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    )
    book = (
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id"><metadata '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="id">one</dc:identifier><dc:title>One</dc:title>'
        '<dc:language>en</dc:language></metadata><manifest><item id="a" href="a.xhtml" media-type='
        '"application/xhtml+xml"/></manifest><spine><itemref idref="a"/></spine></package>'
    )
    chapter = (
        f'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>One</title></head><body><p>{text}</p></body></html>'
    )
    files = {"mimetype": "application/epub+zip", "META-INF/container.xml": container, "book.opf": book}
    return packed({**files, "a.xhtml": chapter})
