"""From logits to answers: the one span decoder.

Mental model: all windows of an example are merged into one banded matrix of scores, S[i, k] = the score of the answer
that starts at token i of the whole context and ends k tokens later; where windows overlap, a span keeps its best score,
so it counts once. Next to the spans stands "no answer", whose score is the lowest over the windows of its score in each
(every window must agree that it holds no answer). A softmax over all of these gives the probabilities. Answers are read
off best first; each removes the spans that overlap it.

    N tokens of the whole context, n of them in a window, K most tokens of an answer

Invariants: an answer is whole words of the context with no white space at its edges, and `text == context[start:end]`;
two answers never overlap; equal scores are decided by the earlier start, then by the shorter span. Offsets must be as
`destila.windows` makes them. This module neither runs models nor chooses thresholds.
"""

import math
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from destila.records import Answer, Prediction
from destila.windows import Window

Scores = NDArray[np.float32]
Positions = NDArray[np.int64]

ZERO_WIDTH_JOINER = "\u200d"
SKIN_TONES = range(0x1F3FB, 0x1F400)
# Scripts that write no spaces between words: there a letter beside a letter does not mean the same word.
UNSPACED = (
    range(0x0E00, 0x0F00),  # Thai, Lao
    range(0x1000, 0x10A0),  # Burmese
    range(0x1780, 0x1800),  # Khmer
    range(0x3040, 0xA000),  # kana, CJK ideographs
    range(0xF900, 0xFB00),
    range(0xFF66, 0xFFA0),
    range(0x20000, 0x40000),
)


def decode(
    windows: Sequence[Window],
    start_logits: Sequence[NDArray[Any]],
    end_logits: Sequence[NDArray[Any]],
    context: str,
    *,
    max_answer_tokens: int = 30,
    top_k: int = 1,
    no_answer_threshold: float | None = None,
) -> tuple[Prediction, list[Answer]]:
    """Read the answers of one example off the logits of its windows.

    Args:
        windows: all windows of the example, at least one.
        start_logits: (T,) for each window, padded or not; `end_logits` likewise.
        context: the context that the windows were cut from.
        max_answer_tokens: the longest answer, before it grows to whole words.
        top_k: most answers to return.
        no_answer_threshold: "no answer" is given where `no_answer_score` is above it; None: always answer.

    Returns:
        The prediction, and the answers, best first: `prediction.answer`, then the next best spans that overlap no
        better one. An answer's score is the probability of its best token span among all legal spans and "no answer".
    """
    null = min(float(start[0]) + float(end[0]) for start, end in zip(start_logits, end_logits, strict=True))
    starts, ends = _characters(windows)
    scores = np.full((len(starts), min(max_answer_tokens, max(len(starts), 1))), -np.inf, np.float32)  # (N, K)
    _fill(scores, windows, start_logits, end_logits)
    scores[_reach(ends, scores.shape[1], fill=-1) <= starts[:, None]] = -np.inf  # nothing but white space
    normalizer = _log_sum_exp(scores, null)
    spans = _best_spans(scores, starts, ends, context, count=top_k)
    none = Answer.none(math.exp(null - normalizer))
    if not spans:
        return Prediction(none, None, math.inf), [none]
    answers = [Answer.at(context, start, end, min(1.0, math.exp(score - normalizer))) for score, start, end in spans]
    no_answer_score = null - spans[0][0]
    if no_answer_threshold is not None and no_answer_score > no_answer_threshold:
        return Prediction(none, answers[0], no_answer_score), [none, *answers][:top_k]
    return Prediction(answers[0], answers[0], no_answer_score), answers


# ---------------------------------------------------------------------------------------------------- scores
def _characters(windows: Sequence[Window]) -> tuple[Positions, Positions]:
    """First characters (N,) and ends (N,) of answers that start, or end, at each token of the whole context.

    A zero-width token stands for no character: an answer that starts there starts at the next that is not.
    """
    tokens = max(window.first_token + len(window.offsets) for window in windows)
    offsets = np.zeros((tokens, 2), np.int64)  # (N, 2)
    for window in windows:
        offsets[window.first_token : window.first_token + len(window.offsets)] = window.offsets
    empty = offsets[:, 1] <= offsets[:, 0]
    starts = np.where(empty, np.iinfo(np.int64).max, offsets[:, 0])
    ends = np.where(empty, -1, offsets[:, 1])
    return np.minimum.accumulate(starts[::-1])[::-1], np.maximum.accumulate(ends)


def _reach(values: NDArray[Any], length: int, *, fill: float) -> NDArray[Any]:
    """(N,) -> (N, K): row i holds the values at i, i + 1, ..., i + K - 1, `fill` past the end. A view."""
    padded = np.concatenate([values, np.full(length, fill, values.dtype)])
    return sliding_window_view(padded, length)[: len(values)]


def _fill(
    scores: Scores,
    windows: Sequence[Window],
    start_logits: Sequence[NDArray[Any]],
    end_logits: Sequence[NDArray[Any]],
) -> None:
    """Raise the scores (N, K) of all spans to the best over the windows that hold the span whole."""
    for window, start, end in zip(windows, start_logits, end_logits, strict=True):
        inside = slice(window.context_start, window.context_end)
        starts, ends = np.asarray(start[inside], np.float32), np.asarray(end[inside], np.float32)  # (n,)
        rows = scores[window.first_token : window.first_token + len(starts)]  # (n, K)
        np.maximum(rows, starts[:, None] + _reach(ends, scores.shape[1], fill=-np.inf), out=rows)


def _log_sum_exp(scores: Scores, null: float) -> float:
    """Logarithm of the sum of exp over all legal spans and "no answer"."""
    highest = max(float(scores.max(initial=-np.inf)), null)
    spans = float(np.exp(scores - np.float32(highest)).sum(dtype=np.float64))
    return highest + math.log(spans + math.exp(null - highest))


def _best_spans(
    scores: Scores, starts: Positions, ends: Positions, context: str, *, count: int
) -> list[tuple[float, int, int]]:
    """(score, start, end) of the best spans that do not overlap, as whole words. Uses `scores` up."""
    found = list[tuple[float, int, int]]()
    while scores.size:
        token, more = divmod(int(scores.argmax()), scores.shape[1])
        score = float(scores[token, more])
        if score == -math.inf:
            break
        start, end = _whole_words(context, int(starts[token]), int(ends[token + more]))
        found.append((score, start, end))
        if len(found) == count:
            break
        # Whole words keep apart what is apart: spans that do not overlap this one will not once they are extended.
        first_after, first_over = np.searchsorted(starts, end), np.searchsorted(ends, start, side="right")
        for row in range(max(0, first_over - scores.shape[1] + 1), first_after):
            scores[row, max(0, first_over - row) :] = -np.inf
    return found


# ---------------------------------------------------------------------------------------------------- words
def _whole_words(context: str, start: int, end: int) -> tuple[int, int]:
    """The span, extended so that neither edge cuts a word."""
    while start > 0 and _one_word(context[start - 1], context[start]):
        start -= 1
    while end < len(context) and _one_word(context[end - 1], context[end]):
        end += 1
    return start, end


def _one_word(left: str, right: str) -> bool:
    """Whether two neighbouring characters belong to one word, or to one visible character."""
    if left.isspace() or right.isspace():
        return False
    if left == ZERO_WIDTH_JOINER or _is_extender(right):
        return True
    return _is_letter(left) and _is_letter(right)


def _is_extender(letter: str) -> bool:
    """Whether it shows only together with the character before it."""
    return _is_mark(letter) or letter == ZERO_WIDTH_JOINER or ord(letter) in SKIN_TONES


def _is_mark(letter: str) -> bool:
    return letter > "\u02ff" and unicodedata.category(letter).startswith("M")


def _is_letter(letter: str) -> bool:
    spaced = letter < "\u0e00" or not any(ord(letter) in block for block in UNSPACED)
    return spaced and (letter.isalnum() or _is_mark(letter))
