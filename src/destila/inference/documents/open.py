"""A file, or the bytes of one, as a document: what it is, whether it is that, and its text.

Mental model: the ending of the name says what a file is, and its first bytes must not contradict it. Plain text is
decoded here, exactly; everything that needs a parser is parsed in a process of its own. Invariant: whatever a file
holds, reading it ends within the limits, in a `Document` or in a `DocumentError` that names it.
"""

import os
import stat
from pathlib import Path

from destila.config import DocumentSettings
from destila.inference.documents.document import KINDS, NAMES, Document, DocumentError, Kind, kind_of
from destila.inference.documents.sandbox import parse_apart

PDF_WITHIN = 1024  # bytes before which %PDF- may stand
OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # .doc, and .docx under a password
ZIP = b"PK\x03\x04"


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
        remedy = "Split it into smaller files, or raise documents.file_bytes."
        raise DocumentError(str(path), f"has more than {most:,} bytes", remedy, code="too_large")
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
        endings = " ".join(KINDS)
        raise DocumentError(name, "is of no kind that can be read", f"These are read: {endings}.", code="kind")
    _refuse_other_kinds(name, content, kind)
    return _plain_text(name, content, limits) if kind == "text" else parse_apart(name, content, kind, limits)


def _refuse_other_kinds(name: str, content: bytes, kind: Kind) -> None:
    if content.startswith(OLD_OFFICE):
        problem = "is an old Word document, or protected by a password"
        raise DocumentError(name, problem, "Save it as .docx without a password.", code="encrypted")
    pdf, archive = b"%PDF-" in content[:PDF_WITHIN], content.startswith(ZIP)
    found: Kind | None = "pdf" if pdf and kind != "text" else "docx" if archive else None
    if content.startswith(b"%PDF-"):
        found = "pdf"
    if found is None and kind in ("pdf", "docx"):
        raise DocumentError(name, f"is not {NAMES[kind]}", "Give it the ending of what it is.", code="kind")
    if found not in (None, kind):
        what = "a PDF" if found == "pdf" else "a ZIP archive, perhaps a Word document"
        raise DocumentError(name, f"is {what}, not {NAMES[kind]}", "Give it the ending of what it is.", code="kind")


def _plain_text(name: str, content: bytes, limits: DocumentSettings) -> Document:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 text (byte {error.start} is 0x{content[error.start]:02x})"
        remedy = "Convert it, for example with iconv -t UTF-8."
        raise DocumentError(name, problem, remedy, code="encoding") from None
    if "\0" in text:
        raise DocumentError(name, f"is not text (byte {content.index(0)} is NUL)", "Give plain text.", code="encoding")
    if len(text) > limits.characters:
        problem = f"holds {len(text):,} characters, and {limits.characters:,} are allowed"
        raise DocumentError(name, problem, "Split it, or raise documents.characters.", code="too_large")
    return Document(text)
