"""Small PDF and Word files, honest and hostile, made in code: what the tests of documents share."""

import io
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence

import docx

WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def pdf_objects(objects: Sequence[bytes], *, trailer: bytes = b"") -> bytes:
    """A PDF of numbered objects; the first is the catalog."""
    out, places = bytearray(b"%PDF-1.7\n"), []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer << /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, start)
    return bytes(out)


def pdf_stream(content: bytes, entries: bytes = b"") -> bytes:
    """A stream object."""
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(content), entries, content)


def pdf(*pages: Sequence[str] | bytes, trailer: bytes = b"") -> bytes:
    """A PDF with the given lines on each page, in Helvetica; bytes are a content stream as it stands."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", _FONT]
    kids = list[int]()
    for page in pages:
        objects.append(pdf_stream(page if isinstance(page, bytes) else pdf_lines(page)))
        objects.append(page_object(contents=len(objects)))
        kids.append(len(objects))
    listed = " ".join(f"{kid} 0 R" for kid in kids).encode()
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(kids), listed)
    return pdf_objects(objects, trailer=trailer)


def pdf_lines(lines: Sequence[str]) -> bytes:
    """A content stream with the given lines, in Helvetica."""
    shown = b" ".join(b"(%s) Tj T*" % _escaped(line) for line in lines)
    return b"BT /F1 12 Tf 14 TL 50 780 Td %s ET" % shown


_FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"


def page_object(*, contents: int, resources: bytes = b"", entries: bytes = b"") -> bytes:
    """A page whose font is object 3 and whose parent is object 2."""
    return (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> %s >> "
        b"/Contents %d 0 R %s >>" % (resources, contents, entries)
    )


def _escaped(line: str) -> bytes:
    return line.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def encrypted_pdf() -> bytes:
    """A PDF under a password that nobody knows."""
    junk = b"<%s>" % (b"5a" * 32)
    entries = b"/Encrypt << /Filter /Standard /V 1 /R 2 /O %s /U %s /P -4 >> /ID [<00> <00>]" % (junk, junk)
    return pdf(["secreto"], trailer=entries)


def pdf_page_of(
    content: bytes,
    entries: bytes = b"",
    *,
    resources: bytes = b"",
    more: Sequence[bytes] = (),
    font: bytes = _FONT,
    catalog: bytes = b"",
    annotations: bytes = b"",
) -> bytes:
    """A PDF of one page with a content stream as it stands; `more` objects begin with number 6."""
    pages = b"<< /Type /Pages /Count 1 /Kids [5 0 R] >>"
    page = page_object(contents=4, resources=resources, entries=annotations)
    root = b"<< /Type /Catalog /Pages 2 0 R %s >>" % catalog
    return pdf_objects([root, pages, font, pdf_stream(content, entries), page, *more])


def pdf_form(line: str, *fields: str, xfa: bool = False, dynamic: bool = False) -> bytes:
    """A PDF of one line of text and a form; fields are the entries of their annotations in PDF's own words.

    Args:
        xfa: the form is also in XFA; `dynamic`: in nothing else.
    """
    form, root = b"/XFA [(template) 4 0 R]" * (xfa or dynamic), b"/NeedsRendering true " * dynamic
    listed = b" ".join(b"%d 0 R" % number for number in range(6, 6 + len(fields)))
    entries = "/Type /Annot /Subtype /Widget /Rect [100 700 300 720]"
    return pdf_page_of(
        b"BT /F1 12 Tf 50 780 Td (%s) Tj ET" % _escaped(line),
        more=[f"<< {entries if '/Subtype' not in field else ''} {field} >>".encode("cp1252") for field in fields],
        catalog=root + b"/AcroForm << /Fields [%s] /DR << /Font << /F1 3 0 R >> >> %s >>" % (listed, form),
        annotations=b"/Annots [%s]" % listed,
    )


def flate_bomb(megabytes: int) -> bytes:
    """A PDF whose page unpacks to so many megabytes of text."""
    deflate, parts = zlib.compressobj(9), list[bytes]()
    piece = b"(bomba) Tj " * (1_000_000 // 11)
    for _ in range(megabytes):
        parts.append(deflate.compress(piece))
    return pdf_page_of(b"".join(parts) + deflate.flush(), b"/Filter /FlateDecode")


def word(fill: Callable[[docx.document.Document], object] = lambda document: None) -> bytes:
    """A Word document."""
    document, out = docx.Document(), io.BytesIO()
    fill(document)
    document.save(out)
    return out.getvalue()


def word_paragraphs(*paragraphs: str) -> bytes:
    """A Word document of plain paragraphs."""
    return word(lambda document: [document.add_paragraph(text) for text in paragraphs])


def word_xml(body: str, *, before: str = "") -> bytes:
    """A Word document with the XML of its body as it stands."""
    xml = f"{before}<w:document {WORD}><w:body>{body}</w:body></w:document>"
    return replaced(word(), {"word/document.xml": xml.encode()})


def replaced(archive: bytes, parts: dict[str, bytes]) -> bytes:
    """A ZIP archive with some of its files replaced, or added."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in dict.fromkeys([*old.namelist(), *parts]):
            new.writestr(name, parts[name] if name in parts else old.read(name))
    return out.getvalue()


def without(archive: bytes, part: str, *, named: bool = False) -> bytes:
    """A Word document without one of its parts, and without what names it unless that stays."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content, target = old.read(name), part.rpartition("/")[2].encode()
            if not named and name.endswith((".rels", "[Content_Types].xml")):
                content = re.sub(rb"<(?:Relationship|Override)\s[^>]*" + re.escape(target) + rb"[^>]*>", b"", content)
            if name != part:
                new.writestr(name, content)
    return out.getvalue()


def laughs(root: str, *, entity: str = "ja") -> str:
    """A document type in which the entity k is a billion laughs."""
    lines = [f'<!ENTITY a "{entity}">']
    lines += [f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(10)]
    return f"<!DOCTYPE {root} [{''.join(lines)}]>"
