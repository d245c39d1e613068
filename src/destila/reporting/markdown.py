"""The report as Markdown, drawn from the same `Document` as the page.

Pictures become a sentence each (their numbers stand in the tables beside them); of the browser of errors the first few
are listed. Invariant: whatever stands in a text is shown as it is: what Markdown or HTML would take for markup is
escaped. This module computes no number.
"""

import re
from collections.abc import Iterator

from destila.core.formatting import markdown_table
from destila.evaluation.errors import KINDS, Mistake
from destila.reporting.document import Block, Browser, Code, Document, Pairs, Paragraph, Pictures, Table

SHOWN_MISTAKES = 25
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|~$#!])")
_OPENING = re.compile(r"^(\d*)([.)+=-])")  # of a list or a rule


def escape(text: str) -> str:
    """A text that Markdown shows as it is, on one line, anywhere but at the beginning of a block."""
    return _MARKUP.sub(r"\\\1", " ".join(text.replace("&", "&amp;").split()))


def paragraph(text: str) -> str:
    """The same as a block of its own."""
    return _OPENING.sub(r"\1\\\2", escape(text))


def render(document: Document) -> str:
    """The whole report."""
    parts = [f"# {escape(document.title)}", paragraph(document.subtitle)]
    for section in document.sections:
        parts.append(f"## {escape(section.title)}")
        parts += [part for block in section.blocks for part in _block(block)]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph(text):
            yield paragraph(text)
        case Pairs(rows):
            yield "\n".join(f"- **{escape(term)}** {escape(text)}" for term, text in rows)
        case Table():
            yield from _table(block)
        case Pictures(pictures):
            yield "\n".join(f"- *Picture: {escape(one.title)}.* {escape(one.description)}" for one in pictures)
        case Code(title, text, language):
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
            yield f"{paragraph(title)}:"
            yield f"{fence}{language}\n{text.rstrip()}\n{fence}"
        case Browser():
            yield from _browser(block)


def _table(table: Table) -> Iterator[str]:
    yield f"**{escape(table.caption)}**"
    head, *rows = [[escape(cell) for cell in row] for row in (table.head, *table.rows)]
    yield markdown_table(head, rows, right=[place for place in range(len(head)) if place not in table.words])
    if table.note:
        yield paragraph(table.note)


def _browser(browser: Browser) -> Iterator[str]:
    mistakes = browser.mistakes.shown[:SHOWN_MISTAKES]
    yield f"The first {len(mistakes):,} of {browser.mistakes.total:,}; the page has more, with their contexts."
    if mistakes:
        yield "\n".join(_mistake(mistake) for mistake in mistakes)


def _mistake(mistake: Mistake) -> str:
    golds = " / ".join(mistake.golds) or "(no answer)"
    answers = "; ".join(
        f"{escape(label)}: {escape(text if text is not None else '(no answer)')} (score {score:.3f}, F1 {f1:.1f})"
        for label, text, score, f1 in mistake.answers
    )
    return f"{mistake.number}. {escape(mistake.question)} *{KINDS[mistake.kind]}.* Right: {escape(golds)}; {answers}"
