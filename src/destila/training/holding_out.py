"""Questions about documents that are held apart: what an adapted reader is judged on, never trained on.

Invariants: a pure function of the questions; no sentence of a text that is held apart is trained on, but for those that
so many documents share that they belong to none (notices, closing lines): these are asked about on neither side.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from destila.core.records import Example
from destila.data.sentences import sentence_around, sentences
from destila.training.question_filters import same_words

DOCUMENTS = 5  # with fewer, parts of documents are held apart instead
PARTS = 10  # of a document then
LONG = 20  # characters of a sentence that two texts do not share by chance
COMMON = 4  # a sentence of more than one document in so many, and of more than two, belongs to none of them

Words = tuple[str, ...]


def hold_out(examples: Sequence[Example], share: int) -> tuple[list[Example], list[Example]]:
    """The questions to train on, and those about documents held apart, or parts of documents where they are few.

    The titles of the latter name the part, so that intervals resample parts.

    Args:
        share: one question in so many is held apart, or some more.
    """
    units = _units(examples)
    common = _common(units)
    by_unit: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        if _answered_in(example) not in common:
            by_unit[units[example.title, example.context]].append(example)
    apart, wanted = dict[str, list[Example]](), sum(map(len, by_unit.values())) / share
    for unit in sorted(by_unit, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if sum(map(len, apart.values())) >= wanted or len(apart) + 1 == len(by_unit):
            break
        apart[unit] = by_unit[unit]
    held = [replace(example, title=unit) for unit, members in apart.items() for example in members]
    said = {sentence for context in {one.context for one in held} for sentence in _sentences(context)} - common
    others = [example for unit in by_unit if unit not in apart for example in by_unit[unit]]
    return [example for example in others if not said & _sentences(example.context)], held


def _units(examples: Sequence[Example]) -> dict[tuple[str, str], str]:
    """By title and context, the name of the unit that is held apart whole."""
    contexts: dict[str, dict[str, None]] = {}
    for example in examples:
        contexts.setdefault(example.title, {})[example.context] = None
    if len(contexts) >= DOCUMENTS:
        return {(title, text): title for title, texts in contexts.items() for text in texts}
    return {
        (title, text): f"{title}, {1 + number * PARTS // len(texts)}/{PARTS}"
        for title, texts in contexts.items()
        for number, text in enumerate(texts)
    }


def _common(units: dict[tuple[str, str], str]) -> set[Words]:
    """The sentences that belong to no document."""
    said: dict[str, set[Words]] = defaultdict(set)
    for (_, context), unit in units.items():
        said[unit] |= _sentences(context)
    counts = Counter(sentence for found in said.values() for sentence in found)
    return {sentence for sentence, count in counts.items() if count > max(2, len(said) / COMMON)}


def _answered_in(example: Example) -> Words:
    """The sentence of the answer, as `_sentences` gives it; nothing where there is none."""
    answer = example.answers[0] if example.answers else None
    if answer is None or answer.start is None or answer.end is None:
        return ()
    start, end = sentence_around(example.context, answer.start, answer.end)
    return same_words(example.context[start:end])


def _sentences(context: str) -> set[Words]:
    """The sentences of a text, but for short ones; capitals, accents and signs do not tell them apart."""
    return {same_words(context[start:end]) for start, end in sentences(context) if end - start >= LONG}
