"""What a maker of questions is given and gives: a passage in, drafts out. Whether they are any good, filters say.

Invariant: a draft promises nothing. Its answer may stand nowhere in the passage, and its question may be nonsense.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document.

    Attributes:
        title: of the document: its path within the folder.
        text: of the passage, exactly as the document has it.
    """

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A question about a passage.

    Attributes:
        answer: None where the passage is to hold none.
        start: its first character in the passage; None where the maker does not know it.
    """

    question: str
    answer: str | None
    start: int | None = None


@dataclass(frozen=True, slots=True)
class Drafts:
    """What a maker made of a passage.

    Attributes:
        fault: why there are none, in a few words that are counted ("timeout", say); empty where all went well.
        tokens_in, tokens_out: of the language model; 0 where there is none.
        cached: whether they were made before, so that they cost nothing now.
    """

    drafts: tuple[Draft, ...] = ()
    fault: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cached: bool = False


class QuestionMaker(Protocol):
    """Anything that makes questions; it is called from several threads at once."""

    def make(self, passage: Passage) -> Drafts:
        """Questions about a passage. It raises only what ends the run."""
        ...
