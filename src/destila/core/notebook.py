"""How records show themselves in a notebook: small pieces of HTML, every text escaped.

The pieces carry their style with them and no script, and look right on light and dark pages.
"""

from collections.abc import Iterable, Sequence
from html import escape

ANSWER = "background:#ffd54f;color:#000"
PALE = "opacity:.4"
TEXT = "white-space:pre-wrap;overflow-wrap:anywhere"  # as it is: lines and spaces are part of what offsets count
Mark = tuple[int, int, str, str]  # first character, one past the last, style, what a pointer that rests on it shows


def marked(text: str, marks: Iterable[Mark]) -> str:
    """A text with pieces that stand out; they must not overlap, and empty ones are passed over."""
    parts, done = list[str](), 0
    for start, end, style, title in sorted(mark for mark in marks if mark[0] < mark[1]):
        hint = f' title="{escape(title)}"' if title else ""
        parts.append(f'{escape(text[done:start])}<span style="{style}"{hint}>{escape(text[start:end])}</span>')
        done = end
    return f'<div style="{TEXT}">{"".join(parts)}{escape(text[done:])}</div>'


def paragraph(text: str) -> str:
    """Words about what is shown."""
    return f"<p>{escape(text)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells under their names."""
    lines = [
        "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
        for tag, cells in [("th", head), *(("td", row) for row in rows)]
    ]
    return f"<table>{''.join(lines)}</table>"
