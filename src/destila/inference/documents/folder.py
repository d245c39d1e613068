"""A question to a folder: the passages that match it best are read, and their answers are ranked together.

Mental model: a folder is one long context of which only the most promising parts are read.
`destila.inference.documents` finds the passages and the reader gives its logits for each; here their answers come
together on the scale of the logits, as the spans of one context do in `destila.inference.decoding`. One softmax over
the spans of all passages and "no answer" gives the probabilities (shared normalisation, Clark & Gardner 2018), so a
passage that has nothing to say cannot win by being sure of the best that it has.

Invariants: an answer's offsets are those of its file's text, `document.text[start:end] == text`; where passages overlap
an answer counts once; "no answer" wins only if every passage says so. This module neither parses nor runs models.
"""

import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from destila.config import DocumentSettings, FolderSettings
from destila.core.errors import UserError
from destila.core.records import Answer, Example, Prediction
from destila.data.sentences import sentence_around
from destila.data.sources import cache_directory
from destila.inference.documents.cache import Library
from destila.inference.documents.document import Document, DocumentError
from destila.inference.documents.index import Passage, PassageIndex, stored_index
from destila.inference.reader import Reader

NEEDED = ("pypdfium2", "docx", "lxml", "bm25s", "Stemmer")  # of the extra `documents`
SMALLEST = 1e-300  # the least probability that is told apart from none


@dataclass(frozen=True, slots=True)
class FoundAnswer:
    """An answer and where it stands.

    Attributes:
        answer: its offsets count the characters of the file's text (`destila.inference.documents.read_document`).
        file: the path; None for "no answer", like the rest.
        page: counted from 1; None where the format has no pages.
        sentence: that the answer stands in.
    """

    answer: Answer
    file: str | None = None
    page: int | None = None
    sentence: str | None = None

    @classmethod
    def at(cls, answer: Answer, file: str, document: Document) -> "FoundAnswer":
        """An answer from a file."""
        if answer.start is None or answer.end is None:
            return cls(answer)
        start, end = sentence_around(document.text, answer.start, answer.end)
        return cls(answer, file, document.page(answer.start), document.text[start:end])


class Folder:
    """A folder of documents that questions are put to. Make one with `Folder.open`.

    Attributes:
        files: the paths of those that can be read, in order.
        refused: what is wrong with each of the others.
        notes: what a person should know of how files were read, by path.
    """

    def __init__(
        self, library: Library, index: PassageIndex, files: Sequence[str], refused: Sequence[DocumentError]
    ) -> None:
        self._library, self._index, self.files, self.refused = library, index, files, refused
        self.notes: Mapping[str, str] = library.notes()

    @classmethod
    def open(
        cls, path: str | Path, settings: FolderSettings | None = None, limits: DocumentSettings | None = None
    ) -> "Folder":
        """Read what is new in a folder, and index it.

        Raises:
            UserError: the extra is missing, the folder cannot be listed, or nothing in it can be read.
        """
        check_extra()
        settings, folder = settings or FolderSettings(), Path(path)
        directory = _directory(settings, folder)
        library = Library(folder, directory)
        digests, refused = library.refresh(limits or DocumentSettings())

        def text(name: str) -> str:
            document = library.document(name)
            return document.text if document else ""

        index = stored_index(directory, digests, settings.passage_characters, text)
        if not len(index):
            problems = [str(problem) for problem in refused] or ["holds no file with text"]
            raise UserError.from_problems(str(path), problems, "These are read: .txt, .md, .html, .pdf, .docx.")
        return cls(library, index, list(digests), refused)

    def answers(self, reader: Reader, question: str, *, passages: int = 20, top_k: int = 5) -> list[FoundAnswer]:
        """The best answers of all files, best first; "no answer" stands first where it wins.

        Args:
            passages: how many are read.

        Raises:
            UserError: the question is empty, or too long for a window.
        """
        found = self._index.best(question, passages)
        documents = {p.path: document for p in found if (document := self._library.document(p.path)) is not None}
        readings = _read(
            reader, question, [passage for passage in found if passage.path in documents], documents, top_k
        )
        return [
            FoundAnswer(answer) if file is None else FoundAnswer.at(answer, file, documents[file])
            for file, answer in ranked_together(readings, reader.no_answer_threshold)[:top_k]
        ]

    def close(self) -> None:
        """Let go of the cache."""
        self._library.close()


def check_extra() -> None:
    """Refuse to go on without the libraries that folders need.

    Raises:
        UserError: one is not installed.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        problem = f"need {', '.join(missing)}, which is not installed"
        raise UserError("documents", problem, "pip install 'destila[documents]'")


def _directory(settings: FolderSettings, folder: Path) -> Path:
    """Where the cache of a folder lies: named after the folder, and outside it."""
    home = Path(settings.cache).expanduser() if settings.cache else cache_directory()
    return home / "folders" / hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]


# ---------------------------------------------------------------------------------------------------- reading
@dataclass(frozen=True, slots=True)
class Reading:
    """What the reader says about one passage.

    Attributes:
        answers: with offsets in the passage.
        null: the logit of "no answer", start and end together: the lowest over the passage's windows.
    """

    passage: Passage
    prediction: Prediction
    answers: Sequence[Answer]
    null: float


def _read(
    reader: Reader, question: str, found: Sequence[Passage], documents: Mapping[str, Document], top_k: int
) -> list[Reading]:
    examples = [
        Example(f"passage {number}", question, documents[passage.path].text[passage.start : passage.end])
        for number, passage in enumerate(found, 1)
    ]
    windows = reader.windows(examples)
    starts, ends = reader.logits(windows)
    nulls = list[float]()
    for window, start, end in zip(windows, starts, ends, strict=True):
        null = float(start[0]) + float(end[0])
        if window.first_token == 0:  # the first window of a passage
            nulls.append(null)
        nulls[-1] = min(nulls[-1], null)
    decoded = reader.decode(examples, windows, starts, ends, top_k=top_k)
    return [
        Reading(passage, prediction, answers, null)
        for passage, (prediction, answers), null in zip(found, decoded, nulls, strict=True)
    ]


# ---------------------------------------------------------------------------------------------------- ranking
@dataclass(frozen=True, slots=True)
class _Candidate:
    """An answer of a passage: whether its passage says "no answer", its logit, its file, and its place there."""

    refused: bool
    logit: float
    file: str
    start: int
    end: int
    text: str

    def overlaps(self, other: "_Candidate") -> bool:
        return self.file == other.file and self.start < other.end and other.start < self.end


def ranked_together(readings: Sequence[Reading], threshold: float | None) -> list[tuple[str | None, Answer]]:
    """The answers of all passages on one scale, best first, as (file, answer with its offsets in the file).

    Args:
        threshold: of "no answer", which stands first, as (None, Answer.none), where every passage says it; where only
            some do, their answers come after all others. None: it stands nowhere but alone.
    """
    spoken = [reading for reading in readings if reading.prediction.best is not None]
    null = min((reading.null for reading in readings), default=0.0)
    total = _log_sum_exp([null, *map(_log_of_spans, spoken)])
    chosen = list[_Candidate]()
    candidates = [candidate for reading in spoken for candidate in _candidates(reading, threshold)]
    for candidate in sorted(candidates, key=lambda candidate: (candidate.refused, -candidate.logit)):
        if not any(map(candidate.overlaps, chosen)):
            chosen.append(candidate)
    none = [(None, Answer.none(math.exp(null - total)))] if not chosen or chosen[0].refused else []
    return none + [(c.file, Answer(c.text, c.start, c.end, min(1.0, math.exp(c.logit - total)))) for c in chosen]


def _candidates(reading: Reading, threshold: float | None) -> Iterator[_Candidate]:
    refused = threshold is not None and reading.prediction.no_answer_score > threshold
    total, passage = _log_of_all(reading), reading.passage
    for answer in reading.answers:
        if answer.text is not None and answer.start is not None and answer.end is not None:
            start, end = passage.start + answer.start, passage.start + answer.end
            yield _Candidate(refused, total + _log(answer.score), passage.path, start, end, answer.text)


def _log_of_all(reading: Reading) -> float:
    """The logarithm of the sum of exp over all spans of a passage and its "no answer"."""
    assert reading.prediction.best is not None
    return reading.null - reading.prediction.no_answer_score - _log(reading.prediction.best.score)


def _log_of_spans(reading: Reading) -> float:
    """The same without "no answer"."""
    total = _log_of_all(reading)
    return total + math.log1p(-min(math.exp(min(0.0, reading.null - total)), 1 - 1e-12))


def _log_sum_exp(values: Sequence[float]) -> float:
    highest = max(values)
    return highest + math.log(sum(math.exp(value - highest) for value in values))


def _log(probability: float) -> float:
    return math.log(max(probability, SMALLEST))
