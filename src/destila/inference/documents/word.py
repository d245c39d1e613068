"""From the bytes of a Word document (.docx) to its text.

Mental model: a walk over the tree of the body, then over those of the foot- and endnotes. A text box hangs in the
middle of the sentence that it is anchored in; its text is put aside (`_Flow`) and follows the paragraph as a block of
its own. Where the same is said for new programs and for old ones, the first is read. Hidden text is not.
"""

import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from destila.inference.documents.document import Unreadable
from destila.inference.documents.tidy import CELL, LINE, PARAGRAPH, raised, settle
from destila.inference.documents.word_package import WordPackage

UNPACKED_SHARE = 4  # a document may unpack to this part of the memory: its tree takes several times its bytes
W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
ALTERNATIVES = (MC + "Choice", MC + "Fallback")
TEXTS = {W + "t", MATH + "t"}
SKIPPED = {W + "moveFrom", W + "del", W + "pPr", W + "rPr", W + "rt"}
SIGNS = {W + "tab": "\t", W + "ptab": "\t", W + "br": "\n", W + "cr": "\n", W + "noBreakHyphen": "-"}
OFF = ("0", "false", "off")

# What two fonts of symbols show for the bytes of a text; what they draw besides is ornament.
GREEK = "αβχδεφγηιϕκλμνοπθρστυϖωξψζ"
SYMBOL = {0x61 + place: letter for place, letter in enumerate(GREEK)}
SYMBOL |= {0x41 + place: letter for place, letter in enumerate("ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ")}
SYMBOL |= {code: chr(code) for code in range(0x20, 0x40)} | {
    0x22: "∀", 0x24: "∃", 0x27: "∋", 0x2D: "−",
    0xA2: "′", 0xA3: "≤", 0xA5: "∞", 0xAB: "↔", 0xAC: "←", 0xAD: "↑", 0xAE: "→", 0xAF: "↓", 0xB0: "°", 0xB1: "±",
    0xB2: "″", 0xB3: "≥", 0xB4: "×", 0xB6: "∂", 0xB7: "•", 0xB8: "÷", 0xB9: "≠", 0xBA: "≡", 0xBB: "≈", 0xBC: "…",
    0xC7: "∩", 0xC8: "∪", 0xCE: "∈", 0xCF: "∉", 0xD2: "®", 0xD3: "©", 0xD4: "™", 0xD5: "∏", 0xD6: "√", 0xE5: "∑",
    0xF2: "∫",
}  # fmt: skip
WINGDINGS = {
    0x28: "☎", 0x2A: "✉", 0x6C: "●", 0x6E: "■", 0x6F: "□", 0x71: "❑", 0xA7: "▪", 0xA8: "☐", 0xD8: "➢", 0xDF: "←",
    0xE0: "→", 0xFB: "✗", 0xFC: "✓", 0xFD: "☒", 0xFE: "☑",
}  # fmt: skip
FONTS = {"symbol": SYMBOL, "wingdings": WINGDINGS}
PRIVATE = range(0xF000, 0xF100)  # where Word puts the bytes of a font of symbols


def word_parser() -> Callable[[bytes, int], tuple[str, list[int], str]]:
    """Import what is needed to parse; what it gives takes the bytes of a file and the bytes of memory there are."""
    from lxml import etree

    def parse(content: bytes, memory: int) -> tuple[str, list[int], str]:
        try:
            package = WordPackage(content)
            if package.unpacked > memory // UNPACKED_SHARE:
                raise Unreadable("too_large", f"unpacks to {package.unpacked:,} bytes")
            trees, styles = _trees(package)
        except etree.XMLSyntaxError as error:
            if error.code == etree.ErrorTypes.ERR_NO_MEMORY:
                raise MemoryError from None
            raise Unreadable("broken", f"is no readable Word document ({error})") from None
        except (zipfile.BadZipFile, LookupError, ValueError, OSError, NotImplementedError) as error:
            raise Unreadable("broken", f"is no readable Word document ({type(error).__name__}: {error})") from None
        hidden = _hidden_styles(styles)
        return settle(PARAGRAPH.join(_text(tree, etree.iterwalk, hidden) for tree in trees)), [], ""

    return parse


def _trees(package: WordPackage) -> tuple[list[Any], list[Any]]:
    """The trees that hold text, the body first, and the styles.

    Raises:
        ValueError: there is no body.
    """
    main = next(iter(package.related("").get("officeDocument", [])), "")
    body = package.tree(main).find(W + "body") if main else None
    if body is None:
        raise ValueError("it has no body")
    parts = package.related(main)
    notes = [package.tree(part) for kind in ("footnotes", "endnotes") for part in parts.get(kind, [])]
    return [body, *notes], [style for part in parts.get("styles", []) for style in package.tree(part)]


@dataclass
class _Flow:
    """The pieces of a body or of a text box, the boxes that wait for the end of its paragraph, and its open cells."""

    pieces: list[str] = field(default_factory=list)
    boxes: list[str] = field(default_factory=list)
    cells: int = 0

    def end_paragraph(self) -> None:
        """Break, and let the boxes follow; the paragraphs of a cell of a table stay together."""
        mark = " " if self.cells else PARAGRAPH
        self.pieces += [mark, *(piece for box in self.boxes for piece in (box, mark))]
        self.boxes.clear()


def _text(tree: Any, iterwalk: Any, hidden: frozenset[str]) -> str:
    """The text of a Word tree in order."""
    walker, flows = iterwalk(tree, events=("start", "end")), [_Flow()]
    for event, element in walker:
        flow, tag = flows[-1], element.tag
        if event == "start":
            if tag in SKIPPED or (tag == W + "r" and _is_hidden(element, hidden)) or _is_said_already(element):
                walker.skip_subtree()
            elif tag == W + "txbxContent":
                flows.append(_Flow())
            else:
                flow.pieces.append(_piece(element))
            flow.cells += tag == W + "tc"
        elif tag == W + "txbxContent":
            flows.pop().end_paragraph()
            flows[-1].boxes.append("".join(flow.pieces))
        else:
            _end(flow, element)
    flows[0].end_paragraph()
    return "".join(flows[0].pieces)


def _end(flow: _Flow, element: Any) -> None:
    tag = element.tag
    if tag == W + "p" and element.find(f"{W}pPr/{W}rPr/{W}del") is None:  # else its end was deleted
        flow.end_paragraph()
    elif tag == W + "tc":
        flow.cells -= 1
        flow.pieces.append(CELL)
    elif tag == W + "tr":
        flow.pieces.append(LINE)
    elif tag == W + "tbl":
        flow.pieces.append(PARAGRAPH)


def _piece(element: Any) -> str:
    """What an element shows by itself."""
    if element.tag in TEXTS:
        text = element.text or ""
        place = element.getparent().find(f"{W}rPr/{W}vertAlign")
        return raised(text) if place is not None and place.get(W + "val") == "superscript" else text
    return _symbol(element) if element.tag == W + "sym" else SIGNS.get(element.tag, "")


def _symbol(element: Any) -> str:
    """The character that a symbol stands for; nothing for an ornament."""
    try:
        code = int(element.get(W + "char") or "", 16)
    except ValueError:
        return ""
    table = FONTS.get((element.get(W + "font") or "").lower())
    if code in PRIVATE or table is not None:
        return (table or {}).get(code & 0xFF, "")
    return chr(code) if code < 0xD800 or 0xE000 <= code < 0x110000 else ""


def _is_said_already(element: Any) -> bool:
    """Whether it is an alternative to what came before it."""
    return element.tag in ALTERNATIVES and next(element.itersiblings(*ALTERNATIVES, preceding=True), None) is not None


# ---------------------------------------------------------------------------------------------------- hidden text
def _is_hidden(run: Any, hidden: frozenset[str]) -> bool:
    """Whether a run is hidden by itself, by its style, or by that of its paragraph."""
    own = _vanishes(run.find(W + "rPr"))
    if own is not None:
        return own
    paragraph = next(run.iterancestors(W + "p"), None)
    styles = (run.find(f"{W}rPr/{W}rStyle"), None if paragraph is None else paragraph.find(f"{W}pPr/{W}pStyle"))
    return any(style is not None and style.get(W + "val") in hidden for style in styles)


def _vanishes(properties: Any) -> bool | None:
    """Whether properties of a run hide it; None: they do not say."""
    vanish = None if properties is None else properties.find(W + "vanish")
    return None if vanish is None else (vanish.get(W + "val") or "1").lower() not in OFF


def _hidden_styles(styles: Iterable[Any]) -> frozenset[str]:
    """The names of the styles that hide text, by themselves or by what they are based on."""
    found = {style.get(W + "styleId"): style for style in styles if style.tag == W + "style"}

    def hides(name: str) -> bool:
        for _ in found:  # no more often, for two may be based on each other
            style = found.get(name)
            own = None if style is None else _vanishes(style.find(W + "rPr"))
            base = None if style is None else style.find(W + "basedOn")
            if own is not None or base is None:
                return bool(own)
            name = base.get(W + "val")
        return False

    return frozenset(name for name in found if hides(name))
