"""From the bytes of an HTML page to what a person reads there.

Hidden elements are left out as far as their markup says so (the attribute `hidden`, `display` and `visibility` of their
own style); style sheets are not followed. What is there for the eye alone (`aria-hidden`) is read.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from destila.inference.documents.document import Unreadable
from destila.inference.documents.encoding import decode_html
from destila.inference.documents.tidy import CELL, LINE, PARAGRAPH, settle

UNREAD = re.compile(
    "title|script|style|noscript|template|svg|math|iframe|object|canvas|audio|video|noframes|noembed|datalist|r[pt]|rtc"
)
PREFORMATTED = re.compile("pre|textarea|listing|xmp|plaintext")
TAGS = {
    PARAGRAPH: "address|article|aside|blockquote|details|dl|fieldset|figure|footer|form|h[1-6r]|header|listing|main|"
    "nav|ol|p|plaintext|pre|section|table|ul|xmp",
    LINE: "br|caption|d[dt]|dialog|div|figcaption|legend|li|option|summary|tr",
    CELL: "t[dh]",
}
MARKS = {mark: re.compile(tags) for mark, tags in TAGS.items()}


def html_parser() -> Callable[[bytes, int], tuple[str, list[int], str]]:
    """Import what is needed to parse; what it gives takes the bytes of a file and the bytes of memory there are."""
    from lxml import etree

    def parse(content: bytes, memory: int) -> tuple[str, list[int], str]:
        text, note = decode_html(content)
        parser = etree.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
        try:
            page = etree.fromstring(text.encode(errors="replace"), parser)
        except etree.XMLSyntaxError:  # nothing that is written makes bad HTML
            raise MemoryError from None
        if any(entry.level_name == "FATAL" for entry in parser.error_log):  # then the tree is cut short
            raise Unreadable("too_large", "nests its elements too deep, or has too many")
        return settle("" if page is None else "".join(_pieces(page, etree.iterwalk))), [], note

    return parse


def _pieces(page: Any, iterwalk: Any) -> Iterator[str]:
    walker, preformatted = iterwalk(page, events=("start", "end")), 0
    for event, element in walker:
        style = _style(element)
        unread = _is_unread(element, style)
        preformatted += (_is_preformatted(element, style) and not unread) * (1 if event == "start" else -1)
        if unread and event == "start":
            walker.skip_subtree()
        elif not unread:
            yield _break(element.tag)
        if event == "end":
            yield _flow(element.tail, kept=preformatted > 0)
        elif not unread:
            yield _flow(element.text, kept=preformatted > 0)


def _style(element: Any) -> dict[str, str]:
    """The declarations of an element's own style; of two for the same property the last counts."""
    pairs = (declaration.partition(":") for declaration in (element.get("style") or "").lower().split(";"))
    return {name.strip(): value.replace("!important", "").strip() for name, _, value in pairs}


def _is_unread(element: Any, style: dict[str, str]) -> bool:
    hidden = element.get("hidden") is not None or (element.tag == "dialog" and element.get("open") is None)
    return (
        UNREAD.fullmatch(element.tag) is not None
        or style.get("display", "none" if hidden else "") == "none"
        or style.get("visibility") in ("hidden", "collapse")
        or style.get("content-visibility") == "hidden"
    )


def _is_preformatted(element: Any, style: dict[str, str]) -> bool:
    own = style.get("white-space")
    return own.startswith(("pre", "break")) if own else PREFORMATTED.fullmatch(element.tag) is not None


def _break(tag: str) -> str:
    return next((mark for mark, tags in MARKS.items() if tags.fullmatch(tag)), "")


def _flow(text: str | None, *, kept: bool) -> str:
    """A text as it is laid out: in one line, or in its own lines."""
    return re.sub(r"\r\n?", "\n", text or "") if kept else re.sub(r"\s+", " ", text or "")
