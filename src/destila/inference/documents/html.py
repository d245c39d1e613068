"""From the bytes of an HTML page to what a person reads there.

Hidden elements are left out as far as their markup says so (the attribute `hidden`, `display` and `visibility` of their
own style); style sheets are not followed. What is there for the eye alone (`aria-hidden`) is read. A raised number
stays raised (10⁶, 1987²), lest it become a part of the number before it.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from destila.inference.documents.document import Unreadable
from destila.inference.documents.encoding import decode_html
from destila.inference.documents.tidy import CELL, LINE, PARAGRAPH, raised, settle

UNREAD = re.compile(
    "title|script|style|noscript|template|svg|annotation(-xml)?|iframe|object|canvas|audio|video|noframes|noembed|datalist|"
    "r[pt]|rtc"
)
PREFORMATTED = re.compile("pre|textarea|listing|xmp|plaintext")
TAGS = {
    PARAGRAPH: "address|article|aside|blockquote|center|details|dir|dl|fieldset|figure|footer|form|h[1-6r]|header|"
    "hgroup|listing|main|menu|nav|ol|p|plaintext|pre|search|section|table|ul|xmp",
    LINE: "br|caption|d[dt]|dialog|div|figcaption|legend|li|option|summary|tr",
    CELL: "t[dh]",
    " ": "button|output|select|textarea",  # boxes in a line
}
MARKS = {mark: re.compile(tags) for mark, tags in TAGS.items()}
BLOCK = re.compile("block|flex|flow-root|grid|list-item|table(-row|-caption)?")  # values of `display`
VISIBILITY = {"visible": True, "hidden": False, "collapse": False}


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
        roots = [] if page is None else [page, *page.itersiblings()]  # what follows </html> is one more
        return settle(PARAGRAPH.join("".join(_pieces(root, etree.iterwalk)) for root in roots)), [], note

    return parse


def _pieces(page: Any, iterwalk: Any) -> Iterator[str]:
    walker, preformatted, lifted, seen = iterwalk(page, events=("start", "end")), 0, 0, [True]
    for event, element in walker:
        style = _style(element)
        unread = _is_unread(element, style)
        step = (1 if event == "start" else -1) * (not unread)
        preformatted += _is_preformatted(element, style) * step
        lifted += _is_raised(element) * step
        if unread and event == "start":
            walker.skip_subtree()
        elif not unread:
            yield _break(element.tag, style)
        if event == "end":
            seen.pop()
        else:
            seen.append(VISIBILITY.get(style.get("visibility", ""), seen[-1]))  # inherited; a child may have its own
        if seen[-1] and (event == "end" or not unread):
            text = _flow(element.tail if event == "end" else element.text, kept=preformatted > 0)
            yield raised(text) if lifted else text


def _style(element: Any) -> dict[str, str]:
    """The declarations of an element's own style; of two for the same property the last counts."""
    pairs = (declaration.partition(":") for declaration in (element.get("style") or "").lower().split(";"))
    return {name.strip(): value.replace("!important", "").strip() for name, _, value in pairs}


def _is_unread(element: Any, style: dict[str, str]) -> bool:
    hidden = element.get("hidden") is not None or (element.tag == "dialog" and element.get("open") is None)
    return (
        UNREAD.fullmatch(element.tag) is not None
        or style.get("display", "none" if hidden else "") == "none"
        or style.get("content-visibility") == "hidden"
    )


def _is_preformatted(element: Any, style: dict[str, str]) -> bool:
    own = style.get("white-space")
    return own.startswith(("pre", "break")) if own else PREFORMATTED.fullmatch(element.tag) is not None


def _is_raised(element: Any) -> bool:
    parent = element.getparent()
    return element.tag == "sup" or (parent is not None and parent.tag == "msup" and parent[-1] is element)


def _break(tag: str, style: dict[str, str]) -> str:
    mark = next((mark for mark, tags in MARKS.items() if tags.fullmatch(tag)), "")
    return mark or LINE * (BLOCK.fullmatch(style.get("display", "")) is not None)


def _flow(text: str | None, *, kept: bool) -> str:
    """A text as it is laid out: in one line, or in its own lines."""
    return re.sub(r"\r\n?", "\n", text or "") if kept else re.sub(r"\s+", " ", text or "")
