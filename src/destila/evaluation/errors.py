"""Which questions went wrong, how, and where in the text the answers lie.

Mental model: a mistake is sorted by where the model's span lies, seen from the gold spans, because that is what one can
mend: the edges, the place, or the decision to answer at all. An answer that matches a gold text exactly is right
wherever it stands.

Invariant: the segments of a context, their skipped characters counted, are the whole context in order. This module
knows nothing of pages: texts stay as they are and nothing is escaped here.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from destila.core.records import Answer, Example, Prediction
from destila.evaluation.metrics import Scores, gold_texts

KINDS = {
    "elsewhere": "points to another place",
    "too long": "holds a right answer and more",
    "too short": "is a part of a right answer",
    "shifted": "overlaps a right answer",
    "not placed": "is wrong; where it should point is not known, because no right answer stands in the text",
    "missed": 'says "no answer" where there is one',
    "invented": "answers where there is no answer",
    "right": "is right, and the reference is wrong",
}
VERSUS = {"model": "the model alone is wrong", "both": "both are wrong", "reference": "the reference alone is wrong"}
LONGEST_GAP = 700  # characters between marks that are shown whole
KEPT = 250  # characters kept at each side of a longer one
PAGE_CHARACTERS = 2_500_000  # of questions, contexts and answers: keeps the page under 5 MB with its marks

Asked = tuple[str, Mapping[str, Prediction], Scores]  # label, predictions, scores under the report's normalizer


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a context."""

    text: str
    owners: tuple[str, ...] = ()  # whose answer it belongs to: "gold", "model", "reference"
    skipped: int = 0  # characters that were left out here; then there is no text


@dataclass(frozen=True, slots=True)
class Mistake:
    """A question that the model or the reference got wrong."""

    number: int
    id: str
    question: str
    title: str
    source: str
    kind: str  # of the model's mistake; see `KINDS`
    versus: str  # "model", "reference" or "both": who is wrong
    golds: tuple[str, ...]  # the texts that would have been right; empty: the right answer is none
    # (label, text or None, score, F1 in percent) of every model, in the order of the report
    answers: tuple[tuple[str, str | None, float, float], ...]
    context: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Mistakes:
    """What the model got wrong, in the order of the data."""

    shown: tuple[Mistake, ...]  # the first of them, as many as the page takes
    total: int  # all of them
    kinds: Mapping[str, int]  # {kind: number} over all of them
    versus: Mapping[str, int]  # likewise


def kind_of(answer: Answer, golds: Sequence[Answer], *, right: bool) -> str:
    """The kind of an answer, a key of `KINDS`."""
    if right:
        return "right"
    if answer.text is None:
        return "missed"
    if not any(gold.text for gold in golds):
        return "invented"
    span = (answer.start or 0, answer.end or 0)
    places = [(gold.start, gold.end) for gold in golds if gold.start is not None and gold.end is not None]
    if not places:
        return "not placed"
    over = [gold for gold in places if gold[0] < span[1] and span[0] < gold[1]]
    if not over:
        return "elsewhere"
    if any(span[0] <= gold[0] and gold[1] <= span[1] for gold in over):
        return "too long"
    if any(gold[0] <= span[0] and span[1] <= gold[1] for gold in over):
        return "too short"
    return "shifted"


def find_mistakes(
    examples: Sequence[Example], asked: Sequence[Asked], *, subject: str, reference: str | None, most: int
) -> Mistakes:
    """What the subject, or the reference, got wrong.

    Args:
        asked: every model; `subject`: label of the one whose mistakes these are.
        most: show at most so many, and at most `PAGE_CHARACTERS` of text.
    """
    by_id = {example.id: example for example in examples}
    kinds, versus = Counter[str](), Counter[str]()
    shown, size = list[Mistake](), 0
    for place, name in enumerate(asked[0][2].ids):
        right = {label: scores.em[place] == 1 for label, _, scores in asked}
        if right[subject] and (reference is None or right[reference]):
            continue
        mistake = _mistake(sum(kinds.values()) + 1, by_id[name], place, asked, right, subject, reference)
        kinds[mistake.kind] += 1
        versus[mistake.versus] += 1
        size += sum(len(part.text) for part in mistake.context) + 4 * len(mistake.question)
        if len(shown) < most and size <= PAGE_CHARACTERS and len(shown) == sum(kinds.values()) - 1:
            shown.append(mistake)
    return Mistakes(tuple(shown), sum(kinds.values()), _ordered(kinds, KINDS), _ordered(versus, VERSUS))


def _ordered(counts: Mapping[str, int], order: Mapping[str, str]) -> dict[str, int]:
    return {name: counts[name] for name in order if counts.get(name)}


def _mistake(
    number: int,
    example: Example,
    place: int,
    asked: Sequence[Asked],
    right: Mapping[str, bool],
    subject: str,
    reference: str | None,
) -> Mistake:
    answers = {label: predictions[example.id].answer for label, predictions, _ in asked}
    wrong = [label for label in (subject, reference) if label is not None and not right[label]]
    owners = {"gold": example.answers, "model": (answers[subject],)}
    if reference is not None:
        owners["reference"] = (answers[reference],)
    return Mistake(
        number=number,
        id=example.id,
        question=example.question,
        title=example.title,
        source=example.source,
        kind=kind_of(answers[subject], example.answers, right=right[subject]),
        versus="both" if len(wrong) == 2 else "model" if wrong == [subject] else "reference",
        golds=tuple(dict.fromkeys(gold_texts(example))),
        answers=tuple(
            (label, answers[label].text, answers[label].score, 100 * float(scores.f1[place]))
            for label, _, scores in asked
        ),
        context=tuple(segments(example.context, owners)),
    )


def segments(context: str, owners: Mapping[str, Sequence[Answer]]) -> Iterator[Segment]:
    """The context, cut wherever an answer begins or ends; of long stretches without a mark the ends alone are kept.

    Args:
        owners: {"gold" | "model" | "reference": answers}; those without a text mark nothing.
    """
    spans = [
        (owner, answer.start, answer.end)
        for owner, answers in owners.items()
        for answer in answers
        if answer.start is not None and answer.end is not None
    ]
    cuts = sorted({0, len(context), *(cut for _, start, end in spans for cut in (start, end))})
    for first, last in itertools.pairwise(cuts):
        inside = tuple(dict.fromkeys(owner for owner, start, end in spans if start <= first and last <= end))
        if inside or last - first <= LONGEST_GAP:
            yield Segment(context[first:last], inside)
            continue
        # Nothing is marked before the first answer or after the last: there one end is enough.
        left, right = KEPT if first else 0, KEPT if last < len(context) else 0
        left = left or (0 if right else KEPT)
        if left:
            yield Segment(context[first : first + left])
        yield Segment("", skipped=last - first - left - right)
        if right:
            yield Segment(context[last - right : last])
