"""A file, or the bytes of one, as a document: what it is, whether it is that, and its text.

Mental model: the ending of the name says what a file is, and its first bytes must not contradict it. Plain text is
decoded here; everything that needs a parser is parsed in a process of its own. Invariant: whatever a file
holds, reading it ends within the limits, in a `Document` or in a `DocumentError` that names it.
"""

import os
import re
import stat
from pathlib import Path

from destila.config import DocumentSettings
from destila.inference.documents.document import (
    ENCODING_REMEDY,
    KIND_REMEDY,
    NAMES,
    TEXT_REMEDY,
    Document,
    DocumentError,
    Kind,
    Unreadable,
    kind_of,
)
from destila.inference.documents.encoding import decode_text
from destila.inference.documents.sandbox import parse_apart

PDF = b"%PDF-"
PDF_WITHIN = 1024  # bytes of a PDF before which that may stand
OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # .doc, and .docx under a password
ZIP = b"PK\x03\x04"
SOURCE_WITHIN = 4096  # bytes that tell what a file without a known ending is; letters in small ones
RTF, HTML = b"{\\rtf", (b"<!doctype html", b"<html", b"<?xml")
MIME = re.compile(rb"(?:[\w-]+:.*\n(?:[ \t].*\n)*)*mime-version:")


def read_document(path: str | Path, limits: DocumentSettings | None = None) -> Document:
    """The document in a file.

    Raises:
        DocumentError: it cannot be opened, is not what its name says, or holds no text that can be read within limits.
    """
    limits = limits or DocumentSettings()
    return parse_document(str(path), read_bytes(Path(path), limits.file_bytes), limits)


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a regular file.

    Raises:
        DocumentError: it cannot be read, is no regular file, or has more bytes than `most`.
    """
    try:
        # Opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DocumentError(str(path), "is no regular file", "Give a file.", code="unreadable")
            content = file.read(most + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
        raise DocumentError(str(path), f"cannot be read: {reason}", "Check the path.", code="unreadable") from None
    if len(content) > most:
        raise _too_many(str(path), most)
    return content


def parse_document(name: str, content: bytes, limits: DocumentSettings | None = None) -> Document:
    """The document that the bytes of a file hold.

    Args:
        name: of the file; its ending says what it is.

    Raises:
        DocumentError: as `read_document`.
    """
    limits = limits or DocumentSettings()
    kind = kind_of(name)
    if kind is None:
        raise DocumentError(name, "is of no kind that can be read", KIND_REMEDY, code="kind")
    if kind == "text":
        return plain_text(name, content, limits)
    if not content.strip():
        raise _empty(name)
    _refuse_other_kinds(name, content, kind)
    return parse_apart(name, content, kind, limits)


def _refuse_other_kinds(name: str, content: bytes, kind: Kind) -> None:
    if content.startswith(OLD_OFFICE):
        problem = "is an old Word document, or protected by a password"
        raise DocumentError(name, problem, "Save it as .docx without a password.", code="encrypted")
    found: Kind | None = "pdf" if content.startswith(PDF) else "docx" if content.startswith(ZIP) else None
    if kind == "pdf" and PDF in content[:PDF_WITHIN]:
        found = "pdf"
    if found is None and kind in ("pdf", "docx"):
        raise DocumentError(
            name, f"is not {NAMES[kind]}", f"Give it the ending of what it is. {KIND_REMEDY}", code="kind"
        )
    if found not in (None, kind):
        what = "a PDF" if found == "pdf" else "a ZIP archive, perhaps a Word document"
        raise DocumentError(
            name, f"is {what}, not {NAMES[kind]}", f"Give it the ending of what it is. {KIND_REMEDY}", code="kind"
        )


def plain_text(name: str, content: bytes, limits: DocumentSettings | None = None) -> Document:
    """The plain text that bytes hold: all of it, but for a byte order mark.

    Args:
        name: of the file, for messages.

    Raises:
        DocumentError: they are no text, empty or too much of it, or in another encoding than UTF-8, UTF-16 with a mark,
            and Windows-1252.
    """
    limits = limits or DocumentSettings()
    if len(content) > limits.file_bytes:
        raise _too_many(name, limits.file_bytes)
    beginning = content[:SOURCE_WITHIN].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if beginning.startswith(RTF) or (kind_of(name) is None and content.startswith((OLD_OFFICE, ZIP))):
        raise DocumentError(name, "is of no kind that can be read", KIND_REMEDY, code="kind")
    if kind_of(name) is None and (beginning.startswith(HTML) or MIME.match(beginning)):
        problem = "holds markup or a mail, not plain text, and its name does not say so"
        raise DocumentError(name, problem, f"Give it the ending of what it is. {KIND_REMEDY}", code="kind")
    _refuse_other_kinds(name, content, "text")
    try:
        text, note = decode_text(content)
    except Unreadable as error:
        remedy = ENCODING_REMEDY if error.code == "encoding" else KIND_REMEDY
        raise DocumentError(name, error.problem, remedy, code=error.code) from None
    if not text.strip():
        raise _empty(name)
    if len(text) > limits.characters:
        problem = f"holds {len(text):,} characters, and {limits.characters:,} are allowed"
        raise DocumentError(name, problem, "Split it, or raise documents.characters.", code="too_large")
    return Document(text, note=note)


def _empty(name: str) -> DocumentError:
    return DocumentError(name, "holds no text", TEXT_REMEDY, code="no_text")


def _too_many(name: str, most: int) -> DocumentError:
    remedy = "Split it into smaller files, or raise documents.file_bytes."
    return DocumentError(name, f"has more than {most:,} bytes", remedy, code="too_large")
