"""From the bytes of a text to its characters: the one rule for plain text and HTML, on the command line and the page.

A byte order mark decides; then what an HTML page declares; then UTF-8, if the bytes are that; else Windows-1252, which
old Spanish files are in, with a note that says so. Marks of byte order are no part of a text. The page decodes plain
text by the same rule (`decoded` in `destila/serving/page/files.js`).

Invariant: this module opens no file; it runs beside parsers that may no longer do so.
"""

import codecs
import re
from collections.abc import Iterator

from destila.inference.documents.document import Unreadable

MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
LEGACY = "windows-1252"
LEGACY_NOTE = "is not UTF-8 and was read as Windows-1252"
# Bytes that stand in no text in Windows-1252: control characters, and the five that mean nothing.
NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x19\x1c-\x1f\x7f]")
NO_LETTER = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")

# The labels of the Encoding Standard, as far as Spanish pages use their encodings.
LABELS = {
    "utf-8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8 "
    # A page whose declaration can be read in ASCII is not in UTF-16.
    "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff unicodefffe utf-16 utf-16be utf-16le",
    LEGACY: "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1 "
    "iso_8859-1:1987 l1 latin-1 latin1 us-ascii windows-1252 x-cp1252",
    "iso-8859-15": "csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9 latin-9 latin9",
    "mac-roman": "csmacintosh mac macintosh x-mac-roman",
}
ENCODINGS = {label: encoding for encoding, labels in LABELS.items() for label in labels.split()}
CODECS = (*ENCODINGS.values(), *MARKS.values())  # to be looked up before the right to open files is given up

DECLARED_WITHIN = 1024  # bytes in which a declaration counts wherever it stands; beyond them only within the head,
HEAD_WITHIN = 100_000  # and that is not followed for ever
HEAD = re.compile(rb"html|head|meta|title|base|link|script|style|noscript|template|object|bgsound|basefont")
# A comment, a declaration, a tag with its attributes, or an element whose content is no markup. What is not closed
# reaches to the end, as in a browser.
MARKUP = re.compile(
    rb"<!--(?:>|->|.*?(?:-->|\Z))|<[!?].*?(?:>|\Z)"
    rb"|<(script|style|title|textarea|xmp|iframe|noembed|noframes)(?=[\s/>]).*?(?:</\1(?=[\s/>])|\Z)"
    rb"""|</?([a-z][^\s/>]*+)((?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|[^>"']++)*+)""",
    re.I | re.S,
)
ATTRIBUTE = re.compile(rb"""([^\s/>=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+)))?""")
IN_CONTENT = re.compile(rb"""charset\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s;"']+))""", re.I)
XML = re.compile(rb"""<\?xml\s[^>]*?\bencoding\s*=\s*["']([^"'>]*)["']""")
XML_IN_UTF16 = {b"<\0?\0x\0": "utf-16-le", b"\0<\0?\0x": "utf-16-be"}


def decode_text(content: bytes) -> tuple[str, str]:
    """The characters of a plain text, and a note on how they were read; empty where there is nothing to say.

    Raises:
        Unreadable: it is no text, or in another encoding.
    """
    text, note = _decoded(content, None)
    if "\0" in text:
        raise Unreadable("kind", f"is not text (character {text.index(chr(0))} is NUL)")
    return text, note


def decode_html(content: bytes) -> tuple[str, str]:
    """The characters of an HTML page, likewise.

    Raises:
        Unreadable: it is not in the encoding that it declares, or that is none which is read here.
    """
    return _decoded(content, None if content.startswith(tuple(MARKS)) else _declared(content))


def _decoded(content: bytes, declared: str | None) -> tuple[str, str]:
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            return _strict(content[len(mark) :], encoding, skipped=len(mark)), ""
    if declared is not None:
        return _strict(content, declared), ""
    try:
        return content.decode("utf-8"), ""
    except UnicodeDecodeError as error:
        if found := NO_TEXT.search(content):
            raise Unreadable("kind", f"is not text (byte {found.start()} is 0x{found[0].hex()})") from None
        if found := NO_LETTER.search(content):
            problem = f"is neither UTF-8 (byte {error.start} is 0x{content[error.start]:02x})"
            where = f"nor Windows-1252 (byte {found.start()} is 0x{found[0].hex()})"
            raise Unreadable("encoding", f"{problem} {where}") from None
    return content.decode(LEGACY), LEGACY_NOTE


def _strict(content: bytes, encoding: str, *, skipped: int = 0) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        byte = f"byte {error.start + skipped} is 0x{content[error.start]:02x}"
        raise Unreadable("encoding", f"says that it is {encoding.upper()} and is not ({byte})") from None


# ---------------------------------------------------------------------------------------------------- declarations
def _declared(content: bytes) -> str | None:
    """The encoding that an HTML page declares.

    Raises:
        Unreadable: it is none that is read here.
    """
    if encoding := next((encoding for start, encoding in XML_IN_UTF16.items() if content.startswith(start)), None):
        return encoding
    for label in _labels(content):
        name = label.decode("latin-1").strip().lower().rstrip("/")
        if name in ENCODINGS:
            return ENCODINGS[name]
        if name:
            raise Unreadable("encoding", f"is in the encoding {name[:40]}")
    return None


def _labels(content: bytes) -> Iterator[bytes]:
    """What the real declarations of a page say, in order; none in a comment, a script, a title or an attribute is."""
    if found := XML.match(content):
        yield found[1]
    for found in MARKUP.finditer(content, 0, HEAD_WITHIN):
        tag = (found[2] or b"").lower()
        if tag == b"meta":
            yield from _of_meta(found[3])
        elif tag and not HEAD.fullmatch(tag) and found.start() > DECLARED_WITHIN:
            return


def _of_meta(attributes: bytes) -> Iterator[bytes]:
    found = dict[bytes, bytes]()
    for name, *values in ATTRIBUTE.findall(attributes):
        found.setdefault(name.lower(), b"".join(values))
    if b"charset" in found:
        yield found[b"charset"]
    elif found.get(b"http-equiv", b"").strip().lower() == b"content-type":
        yield from (b"".join(match.groups(b"")) for match in [IN_CONTENT.search(found.get(b"content", b""))] if match)
