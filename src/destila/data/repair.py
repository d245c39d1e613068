"""Judge what a data file claims: which answers stand in their context, which can be mended, which are dropped.

Problems are of two sorts. *Faults* cannot be taken as they are (an answer that is not where it is said to be);
*blemishes* (white space at the ends, half a word, the same answer twice) match the context. What becomes of them:

- "checked": a file with a fault is refused, and blemishes are kept as they are.
- "repaired": what can be mended is, and the rest is dropped. A question whose answers are all worthless is dropped,
  for nobody knows its answer.
- "published", to score with: every answer keeps its text, as the official scripts of SQuAD and MLQA read them, and has
  no place (start is None) if the context does not hold that text. A question is answerable if it has answers, whatever
  they are worth.

Invariants: wherever an answer has a place, `text == context[start:end]`; but for the last, all have one, and a question
is unanswerable only where the file says so. This module reads no files.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from destila.core.records import Answer, Example
from destila.data.mending import locate, mend
from destila.data.offsets import CHARACTERS, unit_of

Gold = Literal["checked", "repaired", "published"]

# kind -> what it means and what repair does; the order is that of every report
PROBLEM_KINDS: dict[str, str] = {
    "void": "answers that are empty or white space only: dropped",
    "mismatch": "answers that do not stand at answer_start, but elsewhere in the context: realigned",
    "look-alike": "answers that the context writes in other characters (accents, spaces, soft hyphens): taken as there",
    "absent": "answers that stand nowhere in the context: dropped",
    "contradiction": "questions marked impossible that have answers: dropped",
    "unanswered": "questions without a usable answer that are not marked impossible: dropped",
    "blank-question": "questions that are empty or white space only: dropped",
    "duplicate-id": "questions whose id occurred before in the file: dropped",
    "spaces": "answers with white space at the ends: trimmed",
    "cut": "answers that begin or end inside a word: completed",
    "duplicate": "answers that repeat another of the same question: merged",
}
ANSWER_FAULTS = ("void", "mismatch", "look-alike", "absent")
QUESTION_FAULTS = ("contradiction", "unanswered", "blank-question", "duplicate-id")
BLEMISHES = ("spaces", "cut", "duplicate")
UNREADABLE = ("blank-question", "duplicate-id")  # faults that no script can score either


@dataclass(frozen=True, slots=True)
class RawExample:
    """A question as a file states it, well-typed but not yet believed."""

    place: str  # where it stands in the file, such as `data[3].paragraphs[0].qas[1]` or `line 7`
    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...]  # (text, answer_start) pairs
    impossible: bool | None  # whether the file says that there is no answer; None where it says nothing
    title: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one question; `kind` is a key of `PROBLEM_KINDS`."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How many questions there are of each sort, and how many answers they have."""

    examples: int
    answerable: int
    unanswerable: int
    unlabeled: int
    answers: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What was found in a file, and what became of it."""

    before: Tally  # what the file states; a question with answers of any worth is counted as answerable
    after: Tally  # what was handed on
    problems: Mapping[str, int]  # occurrences of each kind of problem; an answer may have several
    # kept, mended, merged, dropped: what became of the answers; they add up to `before.answers`. Of answers that are
    # equal after mending one is kept or mended, and the others are merged into it.
    kept: int
    mended: int
    merged: int
    dropped: int
    unit: str  # what `answer_start` counts in the file

    @property
    def changes(self) -> str:
        """What was changed, in one sentence; empty if nothing was (merging equal answers changes nothing)."""
        questions = self.before.examples - self.after.examples
        parts = {"answers mended": self.mended, "answers dropped": self.dropped, "questions dropped": questions}
        return ", ".join(f"{number:,} {what}" for what, number in parts.items() if number)


# ---------------------------------------------------------------------------------------------------- a file of them
class Judge:
    """Judges the questions of one file in order and keeps the counts; `faults` says why it cannot be taken as it is.

    Args:
        gold: what becomes of its answers.
        unit: what `answer_start` counts in it; see `destila.data.offsets`.
    """

    def __init__(self, *, gold: Gold, unit: str = CHARACTERS) -> None:
        self.gold, self.unit = gold, unit
        self.examples: list[Example] = []
        self.faults: list[Problem] = []
        self._ids: set[str] = set()
        self._problems: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()

    def counts(self) -> Counts:
        """The counts so far."""
        problems = {kind: self._problems[kind] for kind in PROBLEM_KINDS if self._problems[kind]}
        outcomes = {name: self._outcomes[name] for name in ("kept", "mended", "merged", "dropped")}
        return Counts(_tally(self._before), _tally(_sorts(self.examples)), problems, unit=self.unit, **outcomes)

    def add(self, raw: RawExample) -> None:
        """Judge one more question."""
        self._before.update(("examples", _sort(bool(raw.answers), raw.impossible is not None)))
        self._before["answers"] += len(raw.answers)
        answers, problems = self._answers(raw)
        worthless = sum(problem.kind in ("void", "absent") for problem in problems)
        problems += self._question_problems(raw, usable=worthless < len(raw.answers))
        self._problems.update(problem.kind for problem in problems)
        unusable = UNREADABLE if self.gold == "published" else QUESTION_FAULTS
        faults = UNREADABLE if self.gold == "published" else (*ANSWER_FAULTS, *QUESTION_FAULTS)
        self.faults += (problem for problem in problems if problem.kind in faults)
        if any(problem.kind in unusable for problem in problems):
            self._outcomes["dropped"] += len(raw.answers)
            return
        distinct = tuple(dict.fromkeys(answers)) if self.gold == "repaired" else tuple(answers)
        self._outcomes["merged"] += len(answers) - len(distinct)
        self._outcomes["dropped"] += len(raw.answers) - len(answers)
        mended = _mended(distinct, raw) if self.gold == "repaired" else 0
        self._outcomes.update(mended=mended, kept=len(distinct) - mended)
        labeled = bool(raw.answers) or raw.impossible is not None
        self.examples.append(Example(raw.id, raw.question, raw.context, distinct, raw.title, raw.source, labeled))

    def _answers(self, raw: RawExample) -> tuple[list[Answer], list[Problem]]:
        answers, problems = list[Answer](), list[Problem]()
        mended = mend(raw.context, raw.answers, unit=self.unit)
        for (text, start), (span, kinds) in zip(raw.answers, mended, strict=True):
            problems += [Problem(kind, self._describe(raw, text, start, kind)) for kind in kinds]
            if self.gold == "published":
                answers.append(_as_published(raw.context, text, start, self.unit))
            elif span:
                answers.append(
                    Answer.at(raw.context, *(span if self.gold == "repaired" else (start, start + len(text))))
                )
        repeated = len(answers) - len(set(answers))
        return answers, problems + [Problem("duplicate", "")] * repeated

    def _question_problems(self, raw: RawExample, *, usable: bool) -> list[Problem]:
        problems = []
        if raw.id in self._ids:
            problems.append(Problem("duplicate-id", f"id {raw.id}: occurs again at {raw.place}"))
        self._ids.add(raw.id)
        if not raw.question.strip():
            problems.append(Problem("blank-question", f"id {raw.id}: the question at {raw.place} is empty"))
        if raw.impossible and any(text.strip() for text, _ in raw.answers):
            problems.append(Problem("contradiction", f"id {raw.id}: is_impossible is true, yet it has answers"))
        if not usable and not raw.impossible and (raw.answers or raw.impossible is False):
            problems.append(Problem("unanswered", f"id {raw.id}: no usable answer, and is_impossible is not true"))
        return problems

    def _describe(self, raw: RawExample, text: str, start: int, kind: str) -> str:
        if kind in BLEMISHES:
            return ""
        if kind == "void":
            return f"id {raw.id}: an answer is empty (answer_start {start})"
        there = raw.context[start : start + len(text)] if start >= 0 else ""
        if there == text:
            return f"id {raw.id}: answer_start {start} gives another {_short(text)} than it does in {self.unit}"
        more = {"absent": ", which the context does not hold", "look-alike": ", which only looks like what is there"}
        wrong = f"gives {_short(there)} where the answer is {_short(text)}"
        return f"id {raw.id}: answer_start {start} {wrong}{more.get(kind, '')}"


def judge(raws: Sequence[RawExample], *, gold: Gold) -> Judge:
    """Judge all questions of a file, and first find out what its `answer_start` counts."""
    stated = ((raw.context, text, start) for raw in raws for text, start in raw.answers if text.strip())
    judged = Judge(gold=gold, unit=unit_of(stated))
    for raw in raws:
        judged.add(raw)
    return judged


def _as_published(context: str, text: str, start: int, unit: str) -> Answer:
    span = locate(context, text, start, unit=unit) if text.strip() else None
    return Answer(text, *(span or (None, None)))


def _mended(answers: Iterable[Answer], raw: RawExample) -> int:
    stated = set(raw.answers)
    return sum((answer.text, answer.start) not in stated for answer in answers)


def _sort(has_answers: bool, labeled: bool) -> str:
    return "answerable" if has_answers else "unanswerable" if labeled else "unlabeled"


def _sorts(examples: Iterable[Example]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for example in examples:
        counted.update(("examples", _sort(bool(example.answers), example.labeled)))
        counted["answers"] += len(example.answers)
    return counted


def _tally(counted: Counter[str]) -> Tally:
    return Tally(*(counted[name] for name in ("examples", "answerable", "unanswerable", "unlabeled", "answers")))


def _short(text: str) -> str:
    return repr(text if len(text) <= 50 else text[:49] + "…")
