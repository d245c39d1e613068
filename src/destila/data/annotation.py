"""The questions that a person marks: one file of SQuAD JSON, which is whole after every step.

Mental model: passages hold suggested questions; a person decides about each, and adds others. A question is decided
once it is accepted (marked: a passage, a question, a span or none) or rejected. One step changes one question, and
notes what it was before: taking back a step is putting that back. The file holds the accepted questions as any data
file does, and under "annotation" what it takes to go on: its revision, the rejected ones, the steps.

Invariants: a step that returned is on the disk; a step that fails changes nothing; a step that does not know the latest
revision is refused, whichever process wrote that; every answer is an exact span of its passage.
"""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from destila.core.errors import UserError
from destila.core.json_fields import parse_json, read_text
from destila.core.records import Answer, Example
from destila.core.runs import is_special, write_text, writing
from destila.core.strict_json import dumps
from destila.data.generation.drafts import Passage
from destila.data.squad import UNUSABLE, read, squad_document

STATE = "annotation"  # the key of what only this module reads
STEPS = 100  # that can be taken back
LONGEST_QUESTION = 1000  # characters, as for a question to the server
REJECTED: Literal["rejected"] = "rejected"


@dataclass(frozen=True)
class Marked:
    """A question about a passage (its key), and the answer's [start, end) in it; both None: it has none."""

    passage: str
    question: str
    start: int | None = None
    end: int | None = None


Decision = Marked | Literal["rejected"]


@dataclass(frozen=True)
class _Step:
    """The question that a step changed, and what was decided about it before."""

    id: str
    before: Decision | None = None


@dataclass(frozen=True)
class _State:
    revision: int
    rejected: list[str]
    steps: list[_Step]


class StaleError(Exception):
    """The questions have changed since whoever wants to change them looked."""


class Annotation:
    """The questions of one file.

    Args:
        path: of the file; it goes on from what is there.
        passages: what is asked about; those of the suggestions and of the file are added.
        suggestions: questions to decide about.
        blind: hide their answers.

    Raises:
        UserError: the file cannot be gone on from.
    """

    def __init__(
        self, path: Path, passages: Sequence[Passage], suggestions: Sequence[Example] = (), *, blind: bool = False
    ) -> None:
        if path.suffix.lower() != ".json" or path.is_dir() or is_special(path):
            raise UserError(str(path), "is no file of SQuAD JSON", "Name a file that ends in .json.")
        self.path, self.passages = path, {_key(passage): passage for passage in passages}
        self.suggestions = {example.id: self._marked(example) for example in suggestions}
        self.unanswered = {example.id for example in suggestions if blind or not example.labeled}
        self.revision, self.decided, self._steps = 0, dict[str, Decision](), list[_Step]()
        self._content: bytes | None = None  # of the file, as it was read or written last
        self.refresh()

    def decide(self, name: str | None, decision: Decision, *, revision: int) -> str:
        """Accept a question as it is marked, or reject it; a rejected one that nobody suggested is forgotten.

        Args:
            name: the id of the question; None: it is new.
            revision: the latest that whoever decides has seen.

        Returns:
            The id of the question.

        Raises:
            StaleError: there is a later one.
            UserError: the question or its span is none, or the file cannot be written.
        """
        if isinstance(decision, Marked):
            decision = self._checked(decision)
        with self._alone(revision):
            if name is not None and name not in self.suggestions and name not in self.decided:
                raise UserError("id", f"{name!r} is no question here", "Load the page again.")
            name = name or uuid.uuid4().hex[:16]
            forgotten = decision == REJECTED and name not in self.suggestions
            self._write(name, None if forgotten else decision, [*self._steps, _Step(name, self.decided.get(name))])
        return name

    def undo(self, *, revision: int) -> str | None:
        """Take back the latest step. Returns the id of its question; None: there is no step.

        Raises:
            StaleError, UserError: as `decide`.
        """
        with self._alone(revision):
            if not self._steps:
                return None
            step = self._steps[-1]
            self._write(step.id, step.before, self._steps[:-1])
        return step.id

    @property
    def steps(self) -> int:
        """How many steps can be taken back."""
        return len(self._steps)

    def refresh(self) -> None:
        """Look at the file, which another process may have written meanwhile.

        Raises:
            UserError: it cannot be gone on from.
        """
        content = self.path.read_bytes() if self.path.exists() else self._content  # who deletes it loses nothing
        if content is not None and content != self._content:
            state, examples = self._read()
            decided: dict[str, Decision] = {example.id: self._marked(example) for example in examples}
            decided |= dict.fromkeys(state.rejected, REJECTED)
            steps = [step for step in state.steps if not isinstance(step.before, Marked) or self._has(step.before)]
            self.revision, self.decided, self._steps, self._content = state.revision, decided, steps, content

    # ------------------------------------------------------------------------------------------ the file
    def _read(self) -> tuple[_State, list[Example]]:
        document, problem = parse_json(read_text(self.path))
        if problem:
            raise UserError(str(self.path), problem, "Was it cut short?")
        if not isinstance(document, dict) or STATE not in document:
            problem = "exists already, and destila annotate did not write it"
            raise UserError(str(self.path), problem, "Give it as --suggestions, and choose another --output.")
        try:
            state = TypeAdapter(_State).validate_python(document[STATE])
        except ValidationError as error:
            place = ".".join(map(str, [STATE, *error.errors()[0]["loc"]]))
            problem = f"{place} is not what destila annotate writes"
            raise UserError(str(self.path), problem, "Put the file back as it was, or choose another.") from None
        return state, read(self.path, repair=False)[0] if document.get("data") != [] else []

    def _write(self, name: str, decision: Decision | None, steps: list[_Step]) -> None:
        decided = {other: it for other, it in {**self.decided, name: decision}.items() if it is not None}
        steps = steps[-STEPS:]
        marked = {other: it for other, it in decided.items() if isinstance(it, Marked)}
        rejected = [other for other, it in decided.items() if it == REJECTED]
        order = {key: place for place, key in enumerate(self.passages)}
        examples = [self._example(other, marked[other]) for other in sorted(marked, key=_by(marked, order))]
        state = asdict(_State(self.revision + 1, rejected, steps))
        text = dumps(squad_document(examples) | {STATE: state}, indent=1) + "\n"
        write_text(self.path, text)
        self.revision, self.decided, self._steps, self._content = self.revision + 1, decided, steps, text.encode()

    @contextlib.contextmanager
    def _alone(self, revision: int) -> Iterator[None]:
        """Keep other processes off, and refuse who has not seen the latest revision."""
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path.parent, os.O_RDONLY) if os.name == "posix" else None
        try:
            if descriptor is not None:
                import fcntl

                with contextlib.suppress(OSError):  # file systems that cannot: the revision still tells
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
            self.refresh()
            if revision != self.revision:
                raise StaleError
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    # ------------------------------------------------------------------------------------------ questions
    def _has(self, marked: Marked) -> bool:
        return marked.passage in self.passages

    def _marked(self, example: Example) -> Marked:
        passage = Passage(example.title, example.context)
        self.passages.setdefault(key := _key(passage), passage)
        answer = example.answers[0] if example.answers else Answer.none()
        return Marked(key, example.question, answer.start, answer.end)

    def _example(self, name: str, marked: Marked) -> Example:
        passage = self.passages[marked.passage]
        spans = [] if marked.start is None or marked.end is None else [(marked.start, marked.end)]
        answers = tuple(Answer.at(passage.text, start, end) for start, end in spans)
        return Example(name, marked.question, passage.text, answers, passage.title)

    def _checked(self, marked: Marked) -> Marked:
        if not self._has(marked):
            raise UserError("passage", "is none of those that are asked about", "Load the page again.")
        question = " ".join(marked.question.split())
        if not question or len(question) > LONGEST_QUESTION or UNUSABLE.search(question):
            problem = "is empty, too long, or holds what no file can"
            raise UserError("question", problem, f"Write one of at most {LONGEST_QUESTION} characters.")
        start, end, text = marked.start, marked.end, self.passages[marked.passage].text
        if (start is None) != (end is None):
            raise UserError("answer", "has one end only", "Give start and end, or neither.")
        if start is not None and end is not None and not (0 <= start < end <= len(text) and text[start:end].strip()):
            raise UserError("answer", f"characters {start} to {end} are no text of the passage", "Mark another.")
        return Marked(marked.passage, question, start, end)


def _by(marked: Mapping[str, Marked], order: Mapping[str, int]) -> Any:
    """How accepted questions are ordered: by passage, and within one as they were accepted (a sort is stable)."""
    return lambda name: order[marked[name].passage]


def _key(passage: Passage) -> str:
    return hashlib.sha256(dumps([passage.title, passage.text], ascii=True).encode()).hexdigest()[:16]
