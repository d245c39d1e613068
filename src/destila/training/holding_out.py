"""Questions about documents that are held apart: what an adapted reader is judged on, never trained on.

Invariants: a pure function of the questions; no text of which a sentence is held apart is trained on.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from destila.core.records import Example
from destila.data.sentences import sentences

SHARE = 5  # one question in so many is held apart
DOCUMENTS = 5  # with fewer, parts of documents are held apart instead
PARTS = 10  # of a document then
LONG = 20  # characters of a sentence that two texts do not share by chance


def hold_out(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """The questions to train on, and those about documents held apart, or parts of documents where they are few.

    The titles of the latter name the part, so that intervals resample parts.
    """
    units = _units(examples)
    by_unit: dict[str, list[Example]] = {}
    for example in examples:
        by_unit.setdefault(units[example.title, example.context], []).append(example)
    apart = dict[str, list[Example]]()
    for unit in sorted(by_unit, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if SHARE * sum(map(len, apart.values())) >= len(examples) or len(apart) + 1 == len(by_unit):
            break
        apart[unit] = by_unit[unit]
    held = [replace(example, title=unit) for unit, members in apart.items() for example in members]
    return without_sentences([one for unit in by_unit if unit not in apart for one in by_unit[unit]], held), held


def without_sentences(examples: Sequence[Example], apart: Sequence[Example]) -> list[Example]:
    """The questions about texts of which no sentence stands in those that are held apart."""
    said = {sentence for context in {one.context for one in apart} for sentence in _sentences(context)}
    clean = {context: not said & _sentences(context) for context in {one.context for one in examples}}
    return [example for example in examples if clean[example.context]]


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


def _sentences(context: str) -> set[str]:
    return {context[start:end] for start, end in sentences(context) if end - start >= LONG}
