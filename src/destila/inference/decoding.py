"""From logits to answers: the one span decoder.

Mental model: all windows of an example are merged into one banded matrix of scores, S[i, k] = the score of the answer
that starts at token i of the whole context and ends k tokens later; where windows overlap, a span keeps its best score,
so it counts once. Windows come in order, so rows that no later window holds are settled: their part of the softmax is
summed up, and only the rows that an answer may still come from are kept. Next to the spans stands "no answer", whose
score is the lowest over the windows of its score in each (every window must agree that it holds no answer). A softmax
over all of these gives the probabilities. Answers are read off best first; each removes the spans that overlap it. One
that is improbable beside the best, or repeats the words of a better one, is not shown (docs/answering.md).

    N tokens of the whole context, n of them in a window, K most tokens of an answer

Invariants: an answer is whole words of the context without hidden characters or white space at its edges, and `text ==
context[start:end]`; hidden characters (`destila.core.characters`) neither cut a word nor make an answer; two answers
neither overlap nor say the same; equal scores are decided by the earlier start, then by the shorter span. Offsets must
be as `destila.data.windows` makes them. Memory does not depend on the length of the context; for that, a context of
more than `top_k` times ROWS_PER_ANSWER tokens may lose an answer other than the best, if the better ones lie in words
of hundreds of tokens or are repeated so often. This module neither runs models nor chooses thresholds.
"""

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from destila.core.calibration import Calibration
from destila.core.characters import HIDDEN, is_hidden
from destila.core.records import Answer, Prediction
from destila.data.windows import Window

Scores = NDArray[np.float32]
Positions = NDArray[np.int64]

ZERO_WIDTH_JOINER = "\u200d"
ROWS_AT_ONCE = 1024  # settled together
ROWS_PER_ANSWER = 256  # an answer of 30 tokens rules out those of some 60 rows, and more where it grows to long words
SHOWN_SHARE = 0.1  # an alternative is at least so probable beside the best; the rule is in docs/answering.md
SKIN_TONES = range(0x1F3FB, 0x1F400)
TAGS = range(0xE0020, 0xE0080)  # that make a region's flag of a black one
PICTURES_FROM = "\u2100"  # a zero-width joiner makes one of two; of letters below it makes nothing
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
        top_k: most answers to return; alternatives that deserve it only.
        no_answer_threshold: "no answer" is given where `no_answer_score` is above it; None: always answer.

    Returns:
        The prediction, and the answers, best first: `prediction.answer`, then the next best spans that overlap no
        better one, repeat none, and have SHOWN_SHARE of the best span's probability. An answer's
        score is the probability of its best token span among all legal spans and "no answer".
    """
    longest = max(len(window.offsets) for window in windows)
    decoder = SpanDecoder(
        context,
        max_answer_tokens=max(1, min(max_answer_tokens, longest)),
        top_k=top_k,
        no_answer_threshold=no_answer_threshold,
    )
    for window, start, end in zip(windows, start_logits, end_logits, strict=True):
        decoder.add(window, start, end)
    return decoder.finish()


@dataclass(frozen=True)
class Rows:
    """N tokens where an answer may start: first characters (N,), ends (N, K) and scores (N, K) of their spans.

    The score of what is no span, because it ends where it starts or past the last token, is -inf.
    """

    starts: Positions
    ends: Positions
    scores: Scores


class SpanDecoder:
    """`decode`, window by window.

    Args:
        context: the context that the windows are cut from.
        calibration: gives the best span its probability.
        look: is shown all tokens where an answer may start, each once, in order; it must leave the arrays as they are
            and keep none of them.
        least_probability: "no answer" is given where the best span's is less. The rest: see `decode`.
    """

    def __init__(
        self,
        context: str,
        *,
        max_answer_tokens: int,
        top_k: int = 1,
        no_answer_threshold: float | None = None,
        calibration: Calibration | None = None,
        least_probability: float | None = None,
        look: Callable[[Rows], None] | None = None,
    ) -> None:
        self.context, self.top_k, self.calibration, self.look = context, top_k, calibration, look
        self.threshold, self.least_probability = no_answer_threshold, least_probability
        self._null = math.inf
        self._first = 0  # token of the whole context that the open rows begin with
        self._offsets = np.zeros((0, 2), np.int64)  # of the open rows
        self._scores = np.zeros((0, max_answer_tokens), np.float32)
        self._highest, self._sum = -math.inf, 0.0  # of all settled spans; the sum is of exp(score - highest)
        self._kept = list[Rows]()

    def add(self, window: Window, start_logits: NDArray[Any], end_logits: NDArray[Any]) -> None:
        """Take in the next window of the context and its logits (T,)."""
        self._null = min(self._null, float(start_logits[0]) + float(end_logits[0]))
        if window.first_token - self._first >= ROWS_AT_ONCE:
            self._settle(window.first_token - self._first)
        place, longest = window.first_token - self._first, self._scores.shape[1]
        if (more := place + len(window.offsets) - len(self._scores)) > 0:
            self._scores = np.concatenate([self._scores, np.full((more, longest), -np.inf, np.float32)])
            self._offsets = np.concatenate([self._offsets, window.offsets[len(window.offsets) - more :]])
        inside = slice(window.context_start, window.context_end)
        starts, ends = (np.asarray(side[inside], np.float32) for side in (start_logits, end_logits))  # (n,)
        rows = self._scores[place : place + len(starts)]  # (n, K)
        np.maximum(rows, starts[:, None] + _reach(ends, longest, fill=-np.inf), out=rows)

    def finish(self) -> tuple[Prediction, list[Answer]]:
        """What all windows say; see `decode`."""
        self._settle(len(self._scores))
        spans = _best_spans(_joined(self._kept), self.context, count=self.top_k)
        spans_logit = self._highest + math.log(self._sum) if spans else -math.inf
        prediction = Prediction(
            answer=Answer.none(),
            best=None,
            best_logit=spans[0][0] if spans else -math.inf,
            null_logit=self._null,
            spans_logit=spans_logit,
        )
        total = prediction.total_logit
        answers = [
            Answer.at(self.context, start, end, min(1.0, math.exp(score - total))) for score, start, end in spans
        ]
        prediction = replace(prediction, best=answers[0] if answers else None)
        if answers and self.calibration:
            answers[0] = replace(answers[0], probability=self.calibration.probability(prediction))
            prediction = replace(prediction, best=answers[0])
        prediction = prediction.under(self.threshold, self.least_probability)
        if prediction.answer.text is None:
            answers = [prediction.answer, *answers][: self.top_k]
        return prediction, answers

    def _settle(self, count: int) -> None:
        """Close the first `count` open rows, which no further window holds."""
        starts, ends = _shown(self.context, *_characters(self._offsets))
        rows = Rows(starts[:count], _reach(ends, self._scores.shape[1], fill=-1)[:count], self._scores[:count])
        rows.scores[rows.ends <= rows.starts[:, None]] = -np.inf  # nothing that shows
        if self.look:
            self.look(rows)
        highest = float(rows.scores.max(initial=-np.inf))
        if highest > -math.inf:
            self._highest, before = max(self._highest, highest), self._highest
            self._sum *= math.exp(before - self._highest)
            self._sum += float(np.exp(rows.scores - np.float32(self._highest)).sum(dtype=np.float64))
        self._kept.append(rows)
        if sum(len(kept.scores) for kept in self._kept) > 2 * self.top_k * ROWS_PER_ANSWER:
            self._kept = [_best_rows(_joined(self._kept), self.top_k * ROWS_PER_ANSWER)]
        self._first += count
        self._offsets, self._scores = self._offsets[count:], self._scores[count:]


# ---------------------------------------------------------------------------------------------------- scores
def _characters(offsets: Positions) -> tuple[Positions, Positions]:
    """First characters (N,) and ends (N,) of answers that start, or end, at each of N tokens with offsets (N, 2).

    A zero-width token stands for no character: an answer that starts there starts at the next that is not.
    """
    empty = offsets[:, 1] <= offsets[:, 0]
    starts = np.where(empty, np.iinfo(np.int64).max, offsets[:, 0])
    ends = np.where(empty, -1, offsets[:, 1])
    return np.minimum.accumulate(starts[::-1])[::-1], np.maximum.accumulate(ends)


def _shown(context: str, starts: Positions, ends: Positions) -> tuple[Positions, Positions]:
    """The same with starts moved right, and ends moved left, to where something shows."""
    real = starts[starts < len(context)]
    first, last = int(real.min(initial=len(context))), int(ends.max(initial=-1))
    if HIDDEN.search(context, first, max(first, last)) is None:  # as good as always
        return starts, ends
    places = np.array([place for place in range(first, last) if not _shows_nothing(context[place])], np.int64)
    following = np.append(places, np.iinfo(np.int64).max)[np.searchsorted(places, starts)]
    preceding = np.insert(places + 1, 0, -1)[np.searchsorted(places, ends)]
    return following, preceding


def _shows_nothing(letter: str) -> bool:
    return letter.isspace() or is_hidden(letter)


def _reach(values: NDArray[Any], length: int, *, fill: float) -> NDArray[Any]:
    """(N,) -> (N, K): row i holds the values at i, i + 1, ..., i + K - 1, `fill` past the end. A view."""
    padded = np.concatenate([values, np.full(length, fill, values.dtype)])
    return sliding_window_view(padded, length)[: len(values)]


def _joined(parts: Sequence[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("starts", "ends", "scores")))


def _best_rows(rows: Rows, count: int) -> Rows:
    """The `count` rows that hold the best spans, in their order; of equal ones the first."""
    best = np.sort(np.argsort(-rows.scores.max(axis=1), kind="stable")[:count])
    return Rows(rows.starts[best], rows.ends[best], rows.scores[best])


def _best_spans(rows: Rows, context: str, *, count: int) -> list[tuple[float, int, int]]:
    """(score, start, end) of the best spans that deserve to be shown, as whole words. Uses the scores up."""
    found, said = list[tuple[float, int, int]](), set[str]()
    while rows.scores.size and len(found) < count:
        row, more = divmod(int(rows.scores.argmax()), rows.scores.shape[1])
        score = float(rows.scores[row, more])
        if score == -math.inf or (found and score < found[0][0] + math.log(SHOWN_SHARE)):
            break
        start, end = _whole_words(context, int(rows.starts[row]), int(rows.ends[row, more]))
        if (words := same_words(context[start:end])) not in said:
            found.append((score, start, end))
            said.add(words)
        # Whole words keep apart what is apart: spans that do not overlap this one will not once they are extended.
        rows.scores[(rows.starts < end)[:, None] & (rows.ends > start)] = -np.inf
    return found


# ---------------------------------------------------------------------------------------------------- words
def same_words(text: str) -> str:
    """What two answers share that say the same: their words, whatever their capitals and the space between them."""
    return " ".join(text.lower().split())


def _whole_words(context: str, start: int, end: int) -> tuple[int, int]:
    """The span, whose edges show, extended so that neither of them cuts a word."""
    while (before := _neighbor(context, start, -1)) is not None and _one_word(context, before, start):
        start = before
    while (after := _neighbor(context, end - 1, 1)) is not None and _one_word(context, end - 1, after):
        end = after + 1
    while (
        end < len(context) and is_hidden(context[end]) and is_extender(context[end])
    ):  # selects how the last one looks
        end += 1
    return start, end


def _neighbor(context: str, place: int, step: int) -> int | None:
    """The next character in a direction that is not hidden."""
    place += step
    while 0 <= place < len(context) and is_hidden(context[place]):
        place += step
    return place if 0 <= place < len(context) else None


def _one_word(context: str, left: int, right: int) -> bool:
    """Whether two characters with at most hidden ones between them belong to one word, or to one visible character."""
    before, after = context[left], context[right]
    if before.isspace() or after.isspace():
        return False
    if is_extender(after) or (is_letter(before) and is_letter(after)):
        return True
    return before >= PICTURES_FROM <= after and ZERO_WIDTH_JOINER in context[left + 1 : right]


def is_extender(letter: str) -> bool:
    """Whether it shows only together with the character before it."""
    return _is_mark(letter) or ord(letter) in SKIN_TONES or ord(letter) in TAGS


def _is_mark(letter: str) -> bool:
    return letter > "\u02ff" and unicodedata.category(letter).startswith("M")


def is_letter(letter: str) -> bool:
    """Whether it is part of the same word as a letter beside it."""
    spaced = letter < "\u0e00" or not any(ord(letter) in block for block in UNSPACED)
    return spaced and (letter.isalnum() or _is_mark(letter))
