"""What a report is made of once it is in words: sections of blocks, that know nothing of HTML or Markdown.

Invariant: texts are plain: a writer escapes them all. A picture always has a title and a description, and the numbers
that it shows stand in a table of the same section.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from destila.evaluation.errors import Mistakes


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A few sentences."""

    text: str


@dataclass(frozen=True, slots=True)
class Pairs:
    """Terms and what is to be said of each; a link leads to the section of that name."""

    rows: tuple[tuple[str, str], ...]
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; the first cell of a row names it."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[int] = frozenset({0})  # numbers of the columns that hold words; the others hold numbers
    note: str = ""  # what one must know to read it


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG picture."""

    svg: str  # one <svg> element, whole and escaped, with title and description inside
    title: str
    description: str
    legend: tuple[tuple[str, str], ...] = ()  # (class of the line or mark, what it stands for)


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures side by side, where there is room."""

    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """Text for a machine, such as commands, to be copied as it stands."""

    title: str
    text: str
    language: str
    folded: bool = False  # whether it is so long that one must ask for it


@dataclass(frozen=True, slots=True)
class Browser:
    """The mistakes, to be looked through; `models` are (role, label) of those whose answers are marked."""

    mistakes: Mistakes
    models: tuple[tuple[str, str], ...]


Block = Paragraph | Pairs | Table | Pictures | Code | Browser


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report."""

    id: str  # what links lead to
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """The whole report; `sections` in order."""

    title: str
    subtitle: str
    sections: Sequence[Section] = field(default_factory=tuple)
