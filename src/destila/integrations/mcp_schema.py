"""What goes over the wire of the Model Context Protocol: the arguments of the tools, with limits, and their results.

A citation has the fields of an assistant's citation blocks (those of the Claude API: `char_location` for a text,
`page_location` for a PDF), and beside them the path of the file; a place in a PDF has its characters, too. This module
answers nothing.
"""

import os
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from destila.config import LimitSettings
from destila.core.errors import SHOWN_PROBLEMS
from destila.inference.documents.folder import Folder, FoundAnswer

PATH_CHARACTERS = 4096  # of Linux


# ------------------------------------------------------------------------------------------ what is answered
class _Location(BaseModel):
    cited_text: str = Field(description="Exactly the characters of the document from start to end.")
    document_index: int = Field(description="Counts the documents that this result cites, from 0.")
    document_title: str | None = Field(description="Name of the file; null for a text that was given.")
    start_char_index: int = Field(description="First character, from 0, in code points of the text read in the file.")
    end_char_index: int = Field(description="One past the last character.")
    file: str | None = Field(description="Path of the file; null for a text that was given.")


class CharLocation(_Location):
    """A place in a text without pages."""

    type: Literal["char_location"] = "char_location"


class PageLocation(_Location):
    """A place in a PDF."""

    type: Literal["page_location"] = "page_location"
    start_page_number: int = Field(description="Counted from 1.")
    end_page_number: int = Field(description="One past the last page.")


class CitedAnswer(BaseModel):
    """An answer and where it stands."""

    text: str
    score: float = Field(description='Probability among all spans that were read and "no answer".')
    sentence: str = Field(description="The sentence that the answer stands in.")
    citation: CharLocation | PageLocation

    @classmethod
    def of(cls, found: FoundAnswer, files: Sequence[str | None]) -> "CitedAnswer":
        """The same answer; `files` are those that its result cites."""
        answer, page = found.answer, found.page
        assert answer.text is not None
        place: dict[str, Any] = {
            "cited_text": answer.text,
            "document_index": files.index(found.file),
            "document_title": os.path.basename(found.file) if found.file else None,
            "start_char_index": answer.start,
            "end_char_index": answer.end,
            "file": found.file or None,
        }
        pages: dict[str, Any] = {"start_page_number": page, "end_page_number": (found.last_page or 0) + 1}
        citation = CharLocation(**place) if page is None else PageLocation(**place, **pages)
        return cls(text=answer.text, score=answer.score, sentence=found.sentence or "", citation=citation)


class UnreadFile(BaseModel):
    """A file of a folder that could not be read, and why."""

    file: str
    problem: str


class SearchedFolder(BaseModel):
    """What of a folder was searched."""

    files: int = Field(description="Files that were searched.")
    refused: int = Field(description="Files that could not be read.")
    refused_files: list[UnreadFile] = Field(description=f"The first {SHOWN_PROBLEMS} of them.")
    others: int = Field(description="Files of kinds that are not read.")

    @classmethod
    def of(cls, folder: Folder) -> "SearchedFolder":
        """What an open folder says of itself."""
        first = [UnreadFile(file=each.where, problem=each.problem) for each in folder.refused[:SHOWN_PROBLEMS]]
        counts = {"files": len(folder.files), "refused": len(folder.refused), "others": len(folder.others)}
        return cls(**counts, refused_files=first)


class AnswerResult(BaseModel):
    """The answers to a question, best first, or the statement that there is none."""

    question: str
    no_answer: bool = Field(description="True: nothing that was read answers the question; then answers is empty.")
    no_answer_score: float | None = Field(description='Probability of "no answer"; null where an answer is given.')
    answers: list[CitedAnswer]
    best_guess: CitedAnswer | None = Field(description="The best span behind a no_answer: do not present it as a fact.")
    searched: SearchedFolder | None = Field(description="What was searched; null where no folder was.")
    notes: list[str] = Field(description="What to know of how the files were read.")


class AnswersResult(BaseModel):
    """A result for each question, in order."""

    results: list[AnswerResult]


# ------------------------------------------------------------------------------------------ what is asked
class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


def argument_models(limits: LimitSettings) -> dict[str, type[_Arguments]]:
    """The arguments of each tool, with the limits of one server."""
    path_type = Annotated[str, Field(max_length=PATH_CHARACTERS)]
    question = Annotated[str, Field(min_length=1, max_length=limits.question_characters)]
    text = Annotated[str, Field(max_length=limits.context_characters)]
    top = Annotated[int, Field(ge=1, le=limits.top_k)]
    source: dict[str, Any] = {
        "text": (text | None, Field(None, description="The text to answer from; give this or path.")),
        "path": (path_type | None, Field(None, description="A file or a folder below an allowed root.")),
    }
    asked = (question, Field(description="One question, in Spanish."))
    most = Field(1, description="Most answers; alternatives that deserve it only.")
    pair = create_model("Pair", __base__=_Arguments, question=asked, **source)
    number = Field(min_length=1, max_length=limits.pairs)
    questions, pairs = Annotated[list[question], number], Annotated[list[pair], number]  # type: ignore[valid-type]
    several: dict[str, Any] = {
        "questions": (questions | None, Field(None, description="Questions about one text or path.")),
        "pairs": (pairs | None, Field(None, description="Instead: questions, each about a text or path of its own.")),
    }
    folder = (path_type, Field(description="A folder below an allowed root; . is the first root."))
    found: dict[str, dict[str, Any]] = {
        "answer": {"question": asked, **source, "top_k": (top, most)},
        "answer_many": {**several, **source, "top_k": (top, most)},
        "search_folder": {"question": asked, "folder": folder, "top_k": (top, Field(min(5, limits.top_k)))},
    }
    return {name: create_model(name, __base__=_Arguments, **fields) for name, fields in found.items()}
