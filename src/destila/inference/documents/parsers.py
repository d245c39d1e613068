"""From the bytes of a PDF, a Word document or an HTML page to its text. Runs in a process of its own: `main`.

Mental model: a maintained library makes sense of the format; what is left to do here is to walk over what it found, in
reading order, and to keep words apart that the format keeps apart. The process reads the file from standard input and
writes one JSON object. Before it parses, it gives up what it does not need: it can open no file, no socket and no
process, and its memory and time are bounded by the system. `destila.inference.documents.sandbox` starts it.

Invariants: text is NFC without control characters but tab and newline; nothing of a document is executed, fetched or
followed. This module imports nothing of Destila, so that it starts fast.
"""

import codecs
import contextlib
import io
import json
import math
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

UNPACKED_SHARE = 4  # a Word document may unpack to this part of the memory: its tree takes several times its bytes
CHARSET_WITHIN = 1024  # bytes of an HTML file in which its encoding is declared, as browsers do
CHARSETS = {"utf-8": "utf-8", "utf8": "utf-8", "iso-8859-15": "iso-8859-15"} | dict.fromkeys(
    ("iso-8859-1", "latin1", "latin-1", "windows-1252", "cp1252", "us-ascii", "ascii"), "windows-1252"
)
# In points: the words that a careless program set over the edge of the page are read, too.
EVERYWHERE = {"left": -1e6, "bottom": -1e6, "right": 1e6, "top": 1e6}
CODECS = ("ascii", "cp437", "iso-8859-15", "latin-1", "utf-16", "utf-16-le", "utf-8-sig", "windows-1252")
WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"  # says the same for old programs
NOTES = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"

# Marks between pieces; no piece can hold them: XML forbids them, and in HTML they are white space.
PARAGRAPH, LINE, CELL = "\x1d", "\x1e", "\x1f"
BREAKS = {PARAGRAPH: "\n\n", LINE: "\n", CELL: "\t"}
UNREAD = re.compile("head|script|style|noscript|template|svg|math|iframe|object|canvas|audio|video")
TAGS = {
    PARAGRAPH: "address|article|aside|blockquote|details|dl|fieldset|figure|footer|form|h[1-6r]|header|main|nav|ol|p|"
    "pre|section|table|ul",
    LINE: "br|caption|d[dt]|div|figcaption|legend|li|option|summary|tr",
    CELL: "t[dh]",
}
MARKS = {mark: re.compile(tags) for mark, tags in TAGS.items()}
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
LIGATURES = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)}

Parsed = tuple[str, list[int]]


class Unreadable(Exception):
    """Why a file cannot be read: a `Code` and what is wrong."""

    def __init__(self, code: str, problem: str) -> None:
        super().__init__(problem)
        self.code, self.problem = code, problem


# ---------------------------------------------------------------------------------------------------- PDF
def _pdf() -> Callable[[bytes, int], Parsed]:
    import pypdfium2

    def parse(content: bytes, memory: int) -> Parsed:
        try:
            document = pypdfium2.PdfDocument(content)
            pages = [_page_text(page.get_textpage().get_text_bounded(**EVERYWHERE)) for page in document]
        except pypdfium2.PdfiumError as error:
            if error.err_code == 4:  # FPDF_ERR_PASSWORD
                raise Unreadable("encrypted", "is protected by a password") from None
            raise Unreadable("broken", f"is a damaged PDF ({str(error).rstrip('.')})") from None
        if not any(pages):
            raise Unreadable("no_text", "holds no text, only pictures of it, if anything")
        starts = [0]
        for page in pages[:-1]:
            starts.append(starts[-1] + len(page) + 2)
        return "\n\n".join(pages), starts

    return parse


def _page_text(text: str) -> str:
    """A page with words and paragraphs mended: PDF knows only lines."""
    text = text.replace("\r\n", "\n").replace("\x02", "\ufffe")
    # PDFium marks a hyphen at the end of a line and joins the lines. Before a small letter it divided a word.
    text = re.sub("\ufffe(?=[a-zà-ÿ])", "", text).replace("\ufffe", "-").replace("\xad", "")
    # A line that goes on in small letters is one sentence with the one before.
    return re.sub(r"\n(?=[a-zà-ÿ])", " ", tidy(text.translate(LIGATURES)))


# ---------------------------------------------------------------------------------------------------- Word
def _docx() -> Callable[[bytes, int], Parsed]:
    import zipfile

    import docx
    from docx.oxml.parser import parse_xml
    from lxml import etree

    def parse(content: bytes, memory: int) -> Parsed:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                unpacked = sum(item.file_size for item in archive.infolist())
            if unpacked > memory // UNPACKED_SHARE:
                raise Unreadable("too_large", f"unpacks to {unpacked:,} bytes")
            part = docx.Document(io.BytesIO(content)).part
            if part.element.getroottree().docinfo.doctype:
                raise ValueError("it declares entities, as no Word document does")
            trees = [part.element.body]
            for kind in ("footnotes", "endnotes"):
                with contextlib.suppress(KeyError):  # there are none
                    trees.append(parse_xml(part.part_related_by(NOTES + kind).blob))
        except etree.XMLSyntaxError as error:
            if error.code == etree.ErrorTypes.ERR_NO_MEMORY:
                raise MemoryError from None
            raise Unreadable("broken", f"is no readable Word document ({error})") from None
        except (zipfile.BadZipFile, LookupError, ValueError, OSError, NotImplementedError) as error:
            raise Unreadable("broken", f"is no readable Word document ({type(error).__name__}: {error})") from None
        return settle(PARAGRAPH.join("".join(_word_pieces(tree, etree.iterwalk)) for tree in trees)), []

    return parse


def _word_pieces(tree: Any, iterwalk: Any) -> Iterator[str]:
    """The text of a Word tree in order; the paragraphs of a cell of a table stay together."""
    walker, cells = iterwalk(tree, events=("start", "end")), 0
    marks = {WORD + "tab": "\t", WORD + "br": "\n", WORD + "cr": "\n", WORD + "noBreakHyphen": "-"}
    for event, element in walker:
        tag = element.tag
        if event == "start":
            if tag in (FALLBACK, WORD + "moveFrom", WORD + "pPr", WORD + "rPr"):
                walker.skip_subtree()
            elif tag in (WORD + "t", MATH + "t"):
                yield element.text or ""
            cells += tag == WORD + "tc"
            yield marks.get(tag, "")
        elif tag == WORD + "tc":
            cells -= 1
            yield CELL
        elif tag == WORD + "p":
            yield " " if cells else PARAGRAPH
        elif tag == WORD + "tr":
            yield LINE
        elif tag == WORD + "tbl":
            yield PARAGRAPH


# ---------------------------------------------------------------------------------------------------- HTML
def _html() -> Callable[[bytes, int], Parsed]:
    from lxml import etree

    def parse(content: bytes, memory: int) -> Parsed:
        text = _decoded(content)
        parser = etree.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
        try:
            page = etree.fromstring(text.encode(), parser)
        except etree.XMLSyntaxError:  # nothing that is written makes bad HTML
            raise MemoryError from None
        if any(entry.level_name == "FATAL" for entry in parser.error_log):  # then the tree is cut short
            raise Unreadable("too_large", "nests its elements too deep, or has too many")
        return settle("" if page is None else "".join(_html_pieces(page, etree.iterwalk))), []

    return parse


def _html_pieces(page: Any, iterwalk: Any) -> Iterator[str]:
    walker = iterwalk(page, events=("start", "end"))
    for event, element in walker:
        tag, unread = element.tag, UNREAD.fullmatch(element.tag)
        if event == "start":
            if unread:
                walker.skip_subtree()
            yield _break(tag)
            yield "" if unread else _flow(element.text)
        else:
            yield _break(tag)
            yield _flow(element.tail)


def _break(tag: str) -> str:
    return next((mark for mark, tags in MARKS.items() if tags.fullmatch(tag)), "")


def _flow(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "")


def _decoded(content: bytes) -> str:
    """An HTML file's characters: in the encoding that it declares, else in UTF-8."""
    if content.startswith(b"\xef\xbb\xbf"):
        content, declared = content[3:], "utf-8"
    else:
        found = re.search(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([\w-]{1,40})""", content[:CHARSET_WITHIN], re.I)
        declared = found[1].decode("ascii").lower() if found else "utf-8"
    if declared not in CHARSETS:
        raise Unreadable("encoding", f"is in the encoding {declared}")
    try:
        return content.decode(CHARSETS[declared])
    except UnicodeDecodeError as error:
        problem = f"is not {CHARSETS[declared]} text (byte {error.start} is 0x{content[error.start]:02x})"
        raise Unreadable("encoding", problem) from None


# ---------------------------------------------------------------------------------------------------- text
def clean(text: str) -> str:
    """NFC, with spaces in place of control characters."""
    return unicodedata.normalize("NFC", CONTROLS.sub(" ", text.replace("\xa0", " ")))


def settle(text: str) -> str:
    """Tidy text in which the marks of a run, and the spaces around them, have become the strongest break among them."""
    return tidy(re.sub(f"[ {CELL}{LINE}{PARAGRAPH}]+", _strongest, text))


def _strongest(run: re.Match[str]) -> str:
    return next((BREAKS[mark] for mark in BREAKS if mark in run[0]), " ")


def tidy(text: str) -> str:
    """Clean text without spaces at the edges of lines and without more than one empty line."""
    lines = [re.sub(" {2,}", " ", line).strip() for line in clean(text).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


# ---------------------------------------------------------------------------------------------------- the process
PARSERS = {"pdf": _pdf, "docx": _docx, "html": _html}


def confine(*, memory: int, seconds: float) -> None:
    """Give up every right that parsing does not need. What a system cannot limit is left to the parent's clock."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: math.ceil(seconds),
        resource.RLIMIT_FSIZE: 0,  # writes to pipes alone
        resource.RLIMIT_NOFILE: 3,  # standard input, output and errors are open; nothing else ever will be
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, value))


def main() -> None:
    """Parse standard input; arguments: kind, most characters, bytes of memory, seconds."""
    kind, characters, memory, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    for name in CODECS:  # Python would open their files when they are first used, and then it can no more
        codecs.lookup(name)
    try:
        parse = PARSERS[kind]()
    except ModuleNotFoundError as error:
        print(json.dumps({"code": "missing", "problem": f"needs {error.name}, which is not installed"}))
        return
    confine(memory=memory, seconds=seconds)
    try:
        text, pages = parse(sys.stdin.buffer.read(), memory)
        if len(text) > characters:
            raise Unreadable("too_large", f"holds {len(text):,} characters of text, and {characters:,} are allowed")
        answer: dict[str, Any] = {"text": text, "pages": pages}
        output = json.dumps(answer)
    except Unreadable as error:
        output = json.dumps({"code": error.code, "problem": error.problem})
    except (MemoryError, RecursionError):
        output = json.dumps({"code": "too_large", "problem": f"needs more than {memory:,} bytes of memory to be read"})
    except Exception as error:  # a parser that stumbles over a hostile file in a way of its own
        output = json.dumps({"code": "broken", "problem": f"cannot be parsed ({type(error).__name__})"})
    print(output)
