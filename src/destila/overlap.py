"""What a span gains where its sentence repeats the question: a prior for readers that have read little.

Mental model: people ask in the words of the text, half of the time. A small model that was trained on few texts finds
the sentence of the answer less often than the plain count of the question's words does, rare words counting more. So
every sentence of the context has a share in [0, 1] of the question's weight, and a span that begins in it gains that
share times a weight, in logits. The weight is a setting of the reader (`window.overlap`), 0 unless somebody found that
it helps on questions kept apart; a well-trained reader needs none.

Invariant: a function of question, context and weight alone: it depends neither on windows nor on other questions, and
takes time and memory linear in the context. `web/page/overlap.js` computes the same.
"""

import functools
import math
import re
import unicodedata
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from destila.stopwords import STOP_WORDS

PIECES = re.compile(r"(\s+)|[^\W_]+")
SENTENCE_ENDS = ".!?…"
BEGINNING = 5  # letters that words must share to count as one: "fundó", "fundación" and "fundadores" share four
FUNCTION_WORD = 0.1  # of the weight of another word
_STOP = frozenset(STOP_WORDS)


class Overlap:
    """The gains of a context's sentences.

    Args:
        weight: the gain, in logits, of a sentence that holds every word of the question.
    """

    def __init__(self, question: str, context: str, *, weight: float) -> None:
        said = [piece[0] for piece in PIECES.finditer(question) if not piece[1]]
        asked = {beginning(word): FUNCTION_WORD if word.lower() in _STOP else 1.0 for word in said}
        borders, found = _sentences(context, frozenset(asked))
        count = Counter(word for words in found for word in words)
        weights = {word: worth * math.log1p((len(found) + 1) / (count[word] + 0.5)) for word, worth in asked.items()}
        total = math.fsum(weights.values())
        shares = [math.fsum(weights[word] for word in words) / total if total else 0.0 for words in found]
        self._borders = np.array(borders, np.int64)  # (S,) first characters of the sentences
        self._gains = np.array(shares, np.float64) * weight

    def gains(self, offsets: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """(N,) gains of spans that begin at tokens with offsets (N, 2); none for those that stand for no character."""
        gains = self._gains[np.searchsorted(self._borders, offsets[:, 0], side="right") - 1]
        return np.where(offsets[:, 1] > offsets[:, 0], gains, 0.0).astype(np.float32)


def _sentences(context: str, asked: frozenset[str]) -> tuple[list[int], list[set[str]]]:
    """First characters of the sentences, and the words of the question that each holds."""
    borders, found = [0], [set[str]()]
    for piece in PIECES.finditer(context):
        if not piece[1]:
            word = beginning(piece[0])
            if word in asked:
                found[-1].add(word)
        elif piece.start() and (context[piece.start() - 1] in SENTENCE_ENDS or "\n" in piece[1]):
            borders.append(piece.end())
            found.append(set())
    return borders, found


@functools.lru_cache(maxsize=100_000)
def beginning(word: str) -> str:
    """The first letters of a word, small and without accents."""
    letters = unicodedata.normalize("NFD", word.lower())
    return "".join(letter for letter in letters if unicodedata.category(letter) != "Mn")[:BEGINNING]
