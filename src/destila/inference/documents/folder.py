"""A question to a folder: the passages that match it best are read, and their answers are ranked together.

Mental model: a folder is one long context of which only the most promising parts are read: the index finds the
passages, `destila.inference.ranking` reads them and ranks their answers together.

Invariant: an answer's offsets are those of its file's text, `document.text[start:end] == text`. This module neither
parses nor runs models.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Unpack

from destila.config import DocumentSettings, FolderSettings
from destila.core.caches import with_cache
from destila.core.characters import visible
from destila.core.errors import UserError
from destila.core.records import Answer
from destila.data.sentences import sentence_around
from destila.data.sources import cache_directory
from destila.inference.documents.cache import Library
from destila.inference.documents.document import Document, DocumentError
from destila.inference.documents.index import PassageIndex, stored_index
from destila.inference.documents.open import read_document
from destila.inference.ranking import Piece, answers_from
from destila.inference.reader import Reader, Refusing

FEW = 5  # names that tell what kinds of files these are
NEEDED = ("pypdfium2", "lxml", "bm25s", "Stemmer")  # of the extra `documents`


@dataclass(frozen=True, slots=True)
class FoundAnswer:
    """An answer and where it stands.

    Attributes:
        answer: its offsets count the characters of the file's text (`destila.inference.documents.read_document`).
        file: the path; None for "no answer", like the rest.
        page: counted from 1; None where the format has no pages.
        last_page: that it ends on; nearly always the same.
        sentence: that the answer stands in.
    """

    answer: Answer
    file: str | None = None
    page: int | None = None
    sentence: str | None = None
    last_page: int | None = None

    @classmethod
    def at(cls, answer: Answer, file: str, document: Document) -> "FoundAnswer":
        """An answer from a file."""
        if answer.start is None or answer.end is None:
            return cls(answer)
        start, end = sentence_around(document.text, answer.start, answer.end)
        page, last = document.page(answer.start), document.page(answer.end - 1)
        return cls(answer, file, page, document.text[start:end], last)


class Folder:
    """A folder of documents that questions are put to. Make one with `Folder.open`.

    Attributes:
        files: the paths of those that can be read, in order.
        refused: what is wrong with each of the others of the kinds that are read.
        others: the paths of files of other kinds.
        notes: what a person should know of how files were read, by path.
    """

    def __init__(
        self, library: Library, index: PassageIndex, files: Sequence[str], refused: Sequence[DocumentError]
    ) -> None:
        self._library, self._index, self.files, self.refused = library, index, files, refused
        self.notes: Mapping[str, str] = library.notes()
        self.others: Sequence[str] = library.others

    @classmethod
    def open(
        cls,
        path: str | Path,
        settings: FolderSettings | None = None,
        limits: DocumentSettings | None = None,
        *,
        inside: Sequence[Path] | None = None,
    ) -> "Folder":
        """Read what is new in a folder, and index it.

        Args:
            inside: the real paths of the folders that links must not leave; None: they may lead anywhere.

        Raises:
            UserError: the extra is missing, the folder cannot be listed, or nothing in it can be read.
        """
        _check_extra()
        settings, folder = settings or FolderSettings(), Path(path)

        def opened(directory: Path) -> Folder:
            library = Library(folder, directory, inside)
            digests, refused = library.refresh(limits or DocumentSettings())
            index = stored_index(
                directory, digests, settings.passage_characters, lambda name: library.document(name).text
            )
            if not len(index):
                problems = [str(problem) for problem in refused] or ["holds no file with text"]
                problems += [others_of(library.others)] if library.others else []
                raise UserError.from_problems(str(path), problems, "These are read: .txt, .md, .html, .pdf, .docx.")
            return cls(library, index, list(digests), refused)

        return with_cache(_directory(settings, folder), opened)

    def answers(
        self, reader: Reader, question: str, *, passages: int = 20, top_k: int = 5, **refusing: Unpack[Refusing]
    ) -> list[FoundAnswer]:
        """The best answers of all files, best first; "no answer" stands first where it wins, before the best guess.

        Args:
            passages: how many are read.
            refusing: when "no answer" is given.

        Raises:
            UserError: the question is empty, or too long for a window; or the folder has changed since it was opened.
        """
        found = self._index.best(question, passages)
        documents = {path: self._library.document(path) for path in {passage.path for passage in found}}
        pieces = [
            Piece(passage.path, passage.start, documents[passage.path].text[passage.start : passage.end])
            for passage in found
        ]
        return [
            FoundAnswer(answer) if file is None else FoundAnswer.at(answer, file, documents[file])
            for file, answer in answers_from(reader, question, pieces, top_k=top_k, **refusing)
        ]

    def texts(self) -> Iterator[tuple[str, str]]:
        """Path and text of each file that can be read, in order."""
        for path in self.files:
            yield path, self._library.document(path).text

    def close(self) -> None:
        """Let go of the cache."""
        self._library.close()


def others_of(paths: Sequence[str]) -> str:
    """How many files are of kinds that are not read, and the names of the first."""
    more = ", ..." if len(paths) > FEW else ""
    return f"{len(paths):,} files of kinds that are not read: {', '.join(map(os.path.basename, paths[:FEW]))}{more}"


def told_notes(notes: Mapping[str, str], most: int) -> Iterator[str]:
    """A line on how each file was read, without its full stop; of more than `most` files only their number."""
    for path, note in islice(notes.items(), most):
        yield f"{visible(path)}: {note}"
    if len(notes) > most:
        yield f"The same goes for {len(notes) - most} more files"


@dataclass(frozen=True, slots=True)
class DocumentAnswers:
    """The answers that a file or a folder holds."""

    answers: Sequence[FoundAnswer]  # best first
    guess: FoundAnswer | None  # the best span behind a refusal; None: there is none, or nothing was refused
    files: int | None  # how many files of a folder were searched; None: one file was read
    refused: Sequence[DocumentError]  # what is wrong with each of the other files of the kinds that are read
    others: Sequence[str]  # the paths of files of other kinds
    notes: Mapping[str, str]  # what a person should know of how files were read, by path


def answer_documents(
    path: str,
    question: str,
    reader: Reader,
    *,
    top_k: int = 1,
    settings: FolderSettings | None = None,
    limits: DocumentSettings | None = None,
) -> DocumentAnswers:
    """Answer a question from a file, which is read whole, or from a folder, of which the best passages are read.

    Raises:
        UserError: nothing can be read, the model cannot, or the extra `documents` is missing.
    """
    most = max(2, top_k)  # behind a refusal stands the best guess
    files, refused, others, notes = None, list[DocumentError](), list[str](), dict[str, str]()
    if Path(path).is_dir():
        settings = settings or FolderSettings()
        with closing(Folder.open(path, settings, limits)) as folder:
            found = folder.answers(reader, question, passages=settings.passages, top_k=most)
        files, refused, others, notes = len(folder.files), list(folder.refused), list(folder.others), dict(folder.notes)
    else:
        document = read_document(path, limits)
        answers = reader.answers(question, document.text, top_k=most)
        found = [FoundAnswer.at(answer, path, document) for answer in answers]
        notes = {path: document.note} if document.note else {}
    guess = found[1] if found[0].answer.text is None and len(found) > 1 else None
    return DocumentAnswers(found[:top_k], guess, files, refused, others, notes)


def _check_extra() -> None:
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
    try:
        folder = folder.resolve()
    except OSError as error:  # the working directory is gone
        raise UserError(str(folder), f"cannot be listed: {(error.strerror or '').lower()}", "Give a folder.") from None
    return home / "folders" / hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
