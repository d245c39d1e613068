"""Judge what a data file claims: which answers stand in their context, which can be mended, which are dropped.

Invariant: an `Example` that leaves this module has only answers with `text == context[start:end]`, and it is
unanswerable only where the file says so; a question whose answers are all worthless is dropped, for nobody knows its
answer. Problems are of two sorts. *Faults* cannot be taken as they are (an answer that is not where it is said to be);
unless they are repaired the whole file is refused. *Blemishes* (white space at the ends, half a word, the same answer
twice) match the context: they are kept as they are unless repaired. This module reads no files.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from destila.core.records import Answer, Example

# kind -> what it means and what repair does; the order is that of every report
PROBLEM_KINDS: dict[str, str] = {
    "void": "answers that are empty or white space only: dropped",
    "mismatch": "answers that do not stand at answer_start, but elsewhere in the context: realigned",
    "absent": "answers that stand nowhere in the context: dropped",
    "contradiction": "questions marked impossible that have answers: dropped",
    "unanswered": "questions without a usable answer that are not marked impossible: dropped",
    "blank-question": "questions that are empty or white space only: dropped",
    "duplicate-id": "questions whose id occurred before in the file: dropped",
    "spaces": "answers with white space at the ends: trimmed",
    "cut": "answers that begin or end inside a word: completed",
    "duplicate": "answers that repeat another of the same question: merged",
}
ANSWER_FAULTS = ("void", "mismatch", "absent")
BLEMISHES = ("spaces", "cut", "duplicate")

# Scripts from here up (Chinese, Japanese...) write no spaces: no letter there says where a word ends.
UNSPACED_SCRIPTS = "\u2e80"


@dataclass(frozen=True, slots=True)
class RawExample:
    """A question as a file states it, well-typed but not yet believed.

    Attributes:
        place: where it stands in the file, such as `data[3].paragraphs[0].qas[1]` or `line 7`.
        answers: (text, answer_start) pairs.
        impossible: whether the file says that there is no answer; None where it says nothing.
    """

    place: str
    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...]
    impossible: bool | None
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
    unlabelled: int
    answers: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What was found in a file, and what became of it.

    Attributes:
        before: what the file states; a question with answers of any worth is counted as answerable.
        after: what was handed on.
        problems: occurrences of each kind of problem; an answer may have several.
        kept, mended, merged, dropped: what became of the answers; they add up to `before.answers`. Of
            answers that are equal after mending one is kept or mended, and the others are merged into it.
    """

    before: Tally
    after: Tally
    problems: Mapping[str, int]
    kept: int
    mended: int
    merged: int
    dropped: int

    @property
    def changes(self) -> str:
        """What was changed, in one sentence; empty if nothing was (merging equal answers changes nothing)."""
        questions = self.before.examples - self.after.examples
        parts = {"answers mended": self.mended, "answers dropped": self.dropped, "questions dropped": questions}
        return ", ".join(f"{number:,} {what}" for what, number in parts.items() if number)


# ---------------------------------------------------------------------------------------------------- one answer
def locate(context: str, text: str, start: int) -> int | None:
    """Where an answer stands in its context, if anywhere.

    At `start`; else where `start` points if it counts UTF-8 bytes or UTF-16 units; else at the occurrence nearest to
    `start`, whole words before parts of words. None if the context does not hold the text.
    """
    if start >= 0:
        for candidate in chain((start,), _other_units(context, start)):
            if context.startswith(text, candidate):
                return candidate
    found = list(_occurrences(context, text))
    if not found:
        return None
    return min(found, key=lambda at: (_cuts(context, at, at + len(text)), abs(at - start)))


def _other_units(context: str, start: int) -> Iterator[int]:
    if not context.isascii():
        yield len(context.encode()[:start].decode(errors="ignore"))
        yield len(context.encode("utf-16-le")[: 2 * start].decode("utf-16-le", errors="ignore"))


def _occurrences(context: str, text: str) -> Iterator[int]:
    at = context.find(text)
    while at >= 0:
        yield at
        at = context.find(text, at + 1)


def complete(context: str, start: int, end: int) -> tuple[int, int]:
    """Widen a span until it cuts no word.

    Only a border between two letters or two digits is inside a word: `30|km` is not.
    """
    while _inside_word(context, start):
        start -= 1
    while _inside_word(context, end):
        end += 1
    return start, end


def _cuts(context: str, start: int, end: int) -> bool:
    return _inside_word(context, start) or _inside_word(context, end)


def _inside_word(context: str, border: int) -> bool:
    return 0 < border < len(context) and _joined(context[border - 1], context[border])


def _joined(left: str, right: str) -> bool:
    if left >= UNSPACED_SCRIPTS or right >= UNSPACED_SCRIPTS:
        return False
    return (_is_letter(left) and _is_letter(right)) or (left.isdigit() and right.isdigit())


def _is_letter(character: str) -> bool:
    return character.isalpha() or unicodedata.combining(character) > 0


def mend(context: str, text: str, start: int) -> tuple[tuple[int, int] | None, list[str]]:
    """The span that an answer means, and the kinds of problem it has; None for an answer that cannot be mended."""
    trimmed = text.strip()
    if not trimmed:
        return None, ["void"]
    problems = [] if trimmed == text else ["spaces"]
    if start < 0 or not context.startswith(text, start):
        problems.append("mismatch")
    found = locate(context, trimmed, start if start < 0 else start + len(text) - len(text.lstrip()))
    if found is None:
        return None, ["absent"]
    span = found, found + len(trimmed)
    completed = complete(context, *span)
    return completed, problems if completed == span else [*problems, "cut"]


# ---------------------------------------------------------------------------------------------------- a file of them
class Judge:
    """Judges the questions of one file in order and keeps the counts.

    Args:
        repair: mend what can be mended and drop the rest; otherwise nothing is changed, and `faults` says why the file
            cannot be taken as it is.
    """

    def __init__(self, *, repair: bool) -> None:
        self.repair = repair
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
        return Counts(_tally(self._before), _tally(_sorts(self.examples)), problems, **outcomes)

    def add(self, raw: RawExample) -> None:
        """Judge one more question."""
        self._before.update(("examples", _sort(bool(raw.answers), raw.impossible is not None)))
        self._before["answers"] += len(raw.answers)
        answers, problems = self._answers(raw)
        problems += self._question_problems(raw, usable=bool(answers))
        self._problems.update(problem.kind for problem in problems)
        self.faults += (problem for problem in problems if problem.kind not in BLEMISHES)
        if any(problem.kind not in (*ANSWER_FAULTS, *BLEMISHES) for problem in problems):
            self._outcomes["dropped"] += len(raw.answers)
            return
        distinct = tuple(dict.fromkeys(answers)) if self.repair else tuple(answers)
        self._outcomes["merged"] += len(answers) - len(distinct)
        self._outcomes["dropped"] += len(raw.answers) - len(answers)
        mended = _mended(distinct, raw)
        self._outcomes.update(mended=mended, kept=len(distinct) - mended)
        labelled = bool(raw.answers) or raw.impossible is not None
        self.examples.append(Example(raw.id, raw.question, raw.context, distinct, raw.title, raw.source, labelled))

    def _answers(self, raw: RawExample) -> tuple[list[Answer], list[Problem]]:
        answers, problems = [], []
        for text, start in raw.answers:
            span, kinds = mend(raw.context, text, start)
            problems += [Problem(kind, _describe(raw, text, start, kind)) for kind in kinds]
            if span and not self.repair:
                span = start, start + len(text)
            if span:
                answers.append(Answer.at(raw.context, *span))
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


def _mended(answers: Iterable[Answer], raw: RawExample) -> int:
    stated = set(raw.answers)
    return sum((answer.text, answer.start) not in stated for answer in answers)


def _sort(has_answers: bool, labelled: bool) -> str:
    return "answerable" if has_answers else "unanswerable" if labelled else "unlabelled"


def _sorts(examples: Iterable[Example]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for example in examples:
        counted.update(("examples", _sort(bool(example.answers), example.labelled)))
        counted["answers"] += len(example.answers)
    return counted


def _tally(counted: Counter[str]) -> Tally:
    return Tally(*(counted[name] for name in ("examples", "answerable", "unanswerable", "unlabelled", "answers")))


def _describe(raw: RawExample, text: str, start: int, kind: str) -> str:
    if kind in BLEMISHES:
        return ""
    if kind == "void":
        return f"id {raw.id}: an answer is empty (answer_start {start})"
    there = raw.context[start : start + len(text)] if start >= 0 else ""
    nowhere = ", which the context does not hold" if kind == "absent" else ""
    return f"id {raw.id}: answer_start {start} gives {_short(there)} where the answer is {_short(text)}{nowhere}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 50 else text[:49] + "…")
