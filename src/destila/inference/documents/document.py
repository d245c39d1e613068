"""A document: the exact text of a file, and where its pages begin.

Invariant: every offset that Destila says about a file counts code points of `Document.text`, and `pages` are offsets
into that text, never decreasing, the first one 0. This module reads nothing.
"""

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from destila.core.errors import UserError

Kind = Literal["text", "html", "pdf", "docx"]
KINDS: dict[str, Kind] = {
    ".txt": "text",
    ".text": "text",
    ".md": "text",  # Markdown is read as it stands, so that offsets are those of the file
    ".markdown": "text",
    ".html": "html",
    ".htm": "html",
    ".pdf": "pdf",
    ".docx": "docx",
}
NAMES: dict[Kind, str] = {"text": "plain text", "html": "HTML", "pdf": "PDF", "docx": "a Word document (.docx)"}

# What may be wrong with a file; the page has a sentence for each in every language.
Code = Literal["unreadable", "kind", "encoding", "encrypted", "broken", "no_text", "too_large", "too_slow", "missing"]

ENCODING_REMEDY = "Save it as UTF-8."
TEXT_REMEDY = "Give a file with one."  # with a text
KIND_REMEDY = f"These are read: {' '.join(KINDS)}."


class DocumentError(UserError):
    """A file that cannot be read as a document.

    Args:
        code: what kind of problem it is, for programs.
    """

    def __init__(self, where: str, problem: str, remedy: str = "", *, code: Code) -> None:
        super().__init__(where, problem, remedy)
        self.code: Code = code


class Unreadable(Exception):
    """Why the content of a file cannot be read, where the name of the file is not known: a `Code` and what is wrong."""

    def __init__(self, code: Code, problem: str) -> None:
        super().__init__(problem)
        self.code, self.problem = code, problem


@dataclass(frozen=True, slots=True)
class Document:
    """What was read.

    Attributes:
        text: all of it; of a page, a heading or a table nothing but the words is left.
        pages: the first character of each page of a PDF; empty where a format has no pages.
        note: what a person should know of how it was read, said of the file; empty: nothing.
    """

    text: str
    pages: tuple[int, ...] = ()
    note: str = ""

    def page(self, offset: int) -> int | None:
        """The page, counted from 1, that a character stands on; None where there are no pages."""
        return bisect_right(self.pages, offset) or None


def kind_of(name: str) -> Kind | None:
    """What a file is, by the ending of its name; None: nothing that is read here."""
    return KINDS.get(PurePath(name).suffix.lower())
