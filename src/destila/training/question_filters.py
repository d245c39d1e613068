"""Which drafts become questions: each filter has a name, and what it leaves out is counted under that name.

Mental model: first what can be seen in a draft and its passage (the answer stands there, the question does not give it
away), then what a reader says (it finds the same span: the round trip), then what can only be seen in all questions
together (duplicates, balance). After Alberti et al. 2019 (round trips) and Sugawara et al. 2018 (easy questions).

Invariants: `answer.text == context[answer.start:answer.end]` for all that is kept; the order stays; nothing is drawn at
random.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from destila.config import FilterSettings
from destila.core.characters import without_accents
from destila.core.records import Answer, Example
from destila.data.generation.drafts import Draft, Passage
from destila.data.sentences import sentence_around
from destila.data.sources import spread
from destila.data.synthetic.answer_spans import STOP_WORDS
from destila.evaluation.metrics import ANSWER_WORDS, f1, question_word
from destila.inference.reader import Reader

NOT_THERE = "the answer is not in the passage"
TOO_LONG = "the answer is too long"
GIVEN_AWAY = "the question holds its answer"
SAYS_NOTHING = "the question says too little"
TOO_EASY = "too easy: the words of the answer's sentence"
ANOTHER_SPAN = "the reader finds another answer"
ANSWERED = "meant to be unanswerable, and the reader answers"
DUPLICATE = "duplicates"
TOO_MANY = "too many of one kind"

MOST_WORDS = 25  # of an answer; readers consider 30 tokens
FEW = 10  # questions of a kind that balance never goes below
PLAIN_STOP = frozenset(without_accents(word) for word in [*STOP_WORDS.split(), *["cuánta", "cuánto", "cuántas"]])


def example_of(passage: Passage, draft: Draft, source: str, settings: FilterSettings) -> tuple[Example | None, str]:
    """The question that a draft makes of a passage, or None and the name of the filter that it does not pass."""
    telling = _telling(draft.question)
    if not telling:
        return None, SAYS_NOTHING
    answers: tuple[Answer, ...] = ()
    if draft.answer is not None:
        answer = _placed(passage.text, draft, telling)
        if answer is None:
            return None, NOT_THERE
        if len(draft.answer.split()) > MOST_WORDS:
            return None, TOO_LONG
        if f" {' '.join(_words(draft.answer))} " in f" {' '.join(_words(draft.question))} ":
            return None, GIVEN_AWAY
        if len(telling & _around(passage.text, answer)) > settings.overlap * len(telling):
            return None, TOO_EASY
        answers = (answer,)
    key = "\n".join([passage.title, passage.text, draft.question, draft.answer or ""])
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    return Example(name, draft.question, passage.text, answers, passage.title, source), ""


def round_trip(reader: Reader, examples: Sequence[Example], least: float) -> list[str]:
    """For each question the name of the filter that it does not pass, or nothing: whether a reader agrees.

    Args:
        least: token F1 between the answer and the span that the reader finds best; the two must overlap.
    """
    return [
        _judged(example, prediction.best, refused=prediction.answer.text is None, least=least)
        for example, (prediction, _) in zip(examples, reader.read(examples), strict=True)
    ]


def _judged(example: Example, found: Answer | None, *, refused: bool, least: float) -> str:
    if not example.answers:
        return "" if refused else ANSWERED
    gold = example.answers[0]
    if found is None or None in (gold.start, gold.end, found.start, found.end):
        return ANOTHER_SPAN
    apart = found.end <= gold.start or gold.end <= found.start  # type: ignore[operator]
    return ANOTHER_SPAN if apart or f1(found.text, [str(gold.text)], normalizer="mlqa-es") < least else ""


def balanced(examples: Sequence[Example], settings: FilterSettings) -> tuple[list[Example], Counter[str]]:
    """The questions without duplicates and without too many of a kind; and how many were left out, by filter."""
    first = dict[tuple[str, ...], Example]()
    for example in examples:
        first.setdefault(_same(example), example)
    kept = list(first.values())
    left_out = Counter({DUPLICATE: len(examples) - len(kept)})
    before = len(kept)
    answered = [example for example in kept if example.answers]
    answered = _capped(answered, lambda one: question_word(one.question), settings.question_word)
    answered = _capped(answered, _length, settings.answer_length)
    missing = [example for example in kept if not example.answers]
    if answered:
        missing = spread(missing, _most(settings.unanswerable, len(answered))) if settings.unanswerable else []
    chosen = {example.id for example in [*answered, *missing]}
    kept = [example for example in kept if example.id in chosen]
    left_out[TOO_MANY] = before - len(kept)
    return kept, +left_out


def _capped(examples: list[Example], kind: Callable[[Example], str], share: float) -> list[Example]:
    """At most a share of each kind, evenly spread; a kind is measured against all others together."""
    kinds: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        kinds[kind(example)].append(example)
    if share >= 1 or len(kinds) < 2:
        return examples
    chosen = set[str]()
    for members in kinds.values():
        others = len(examples) - len(members)
        chosen |= {example.id for example in spread(members, _most(share, others))}
    return [example for example in examples if example.id in chosen]


def _most(share: float, others: int) -> int:
    """How many make up a share beside so many others."""
    return max(FEW, int(share / (1 - share) * others)) if share < 1 else 0  # 0: all


def _length(example: Example) -> str:
    words = len(str(example.answers[0].text).split())
    return next(name for largest, name in ANSWER_WORDS if words <= largest)


def _same(example: Example) -> tuple[str, ...]:
    """What two questions have in common of which one is too many: the words, and the answer or the passage."""
    answer = str(example.answers[0].text) if example.answers else example.context
    return (*same_words(example.question), "", *same_words(answer))


def same_words(text: str) -> tuple[str, ...]:
    """What two texts have in common that differ in capitals, accents and signs alone."""
    return tuple(_words(text))


# ---------------------------------------------------------------------------------------------------- words
def _words(text: str) -> list[str]:
    return re.findall(r"\w+", without_accents(text.casefold()))


def _telling(question: str) -> set[str]:
    """The words of a question that carry meaning."""
    return {word for word in _words(question) if word not in PLAIN_STOP}


def _around(context: str, answer: Answer) -> set[str]:
    """The words of the sentence that an answer stands in."""
    assert answer.start is not None
    assert answer.end is not None
    start, end = sentence_around(context, answer.start, answer.end)
    return set(_words(context[start:end]))


def _placed(context: str, draft: Draft, telling: set[str]) -> Answer | None:
    """The answer where it stands in the context as whole words: where the maker says, else in the sentence that has
    most of the question's words, the first of equal ones."""
    text = str(draft.answer)
    if draft.start is not None:
        exact = context.startswith(text, draft.start)
        return Answer.at(context, draft.start, draft.start + len(text)) if text and exact else None
    pattern = rf"(?<!\w){re.escape(text)}(?!\w)" if text else r"(?!)"
    found = [Answer.at(context, match.start(), match.end()) for match in re.finditer(pattern, context)]
    return max(found, key=lambda answer: len(telling & _around(context, answer)), default=None)
