"""Masked words: which tokens of a row are hidden, and what stands in their places.

Mental model: whole words are drawn at random until the wanted share of the row is reached; each drawn word shows <mask>
tokens, other tokens, or itself, as one. What is to be guessed is the token that was there.

Invariants: a pure function of (ids, open positions, generator); special tokens and closed positions are never touched;
the number of places is fixed by the row's length, so that batches are rectangular: unused ones have label -100.
After Liu et al. 2019 (RoBERTa, the shares 80/10/10) and the whole-word masking of BERT.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from destila.config import MaskingSettings
from destila.data.synthetic.token_table import MASK, SPECIAL_COUNT, Ids, Lexicon

IGNORED = -100


class Masked(NamedTuple):
    """A row with masked words. T tokens, K places."""

    ids: Ids  # (T,) what the model sees
    places: Ids  # (K,) positions to guess, in order; position 0 where there are fewer than K
    labels: Ids  # (K,) the tokens that were there; -100 at unused places


def place_count(length: int, settings: MaskingSettings) -> int:
    """K of rows of so many tokens."""
    return max(1, round(length * settings.share)) if settings.share else 0


def mask_words(
    ids: Ids,
    openable: NDArray[np.bool_],
    *,
    lexicon: Lexicon,
    settings: MaskingSettings,
    generator: np.random.Generator,
) -> Masked:
    """Hide whole words of a row.

    Args:
        ids: (T,).
        openable: (T,) where tokens may be hidden; a word with any other token stays whole.
    """
    count = place_count(len(ids), settings)
    word = np.cumsum(lexicon.word_starts(ids)) - 1  # (T,) the word of each token
    sizes = np.bincount(word)
    closed = np.bincount(word, weights=~openable | (ids < SPECIAL_COUNT)) > 0
    order = generator.permutation(len(sizes))
    order = order[~closed[order]]
    # Words are taken in this order while they fit; a word that would cross the limit ends the drawing.
    order = order[np.cumsum(sizes[order]) <= count]
    shown = generator.random(len(sizes))  # (W,) the word's fate
    chosen = np.zeros(len(sizes), np.bool_)
    chosen[order] = True
    taken = np.flatnonzero(chosen[word])
    fate = shown[word[taken]]
    seen = ids.copy()
    others = generator.integers(SPECIAL_COUNT, lexicon.size, len(taken))
    kept, random = settings.kept, settings.kept + settings.random
    seen[taken] = np.where(fate < kept, ids[taken], np.where(fate < random, others, MASK))
    places, labels = np.zeros(count, np.int64), np.full(count, IGNORED, np.int64)
    places[: len(taken)], labels[: len(taken)] = taken, ids[taken]
    return Masked(seen, places, labels)
