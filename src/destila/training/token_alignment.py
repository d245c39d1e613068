"""What a teacher says in its own tokens, carried over to the tokens of a student by the characters that both cover.

Legend: T tokens of a student's window, U tokens of a teacher's, N and M offsets, row 0 starts and row 1 ends.

Mental model: both read the same question and the same stretch of the context, each in its own tokens. The probability
that an answer starts with a teacher's token belongs to the first character of that token, and goes to the student's
token on this character; that of an end goes by the last character. Tokens on exactly the same characters are partners,
the k-th with the k-th; special tokens are partners by their places, so that "no answer" stays "no answer". Where the
teacher needs several windows for a stretch, each gives odds against "no answer"; a token in several gets their mean.

Invariants: no probability is lost or made; between equal tokenizers every token is its own partner. This module runs no
model and knows no more of it than the tokenizer.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from destila.core.records import Example
from destila.data.windows import Tokenized, Window, WindowBuilder

Places = NDArray[np.int64]
Floats = NDArray[np.float64]
Offsets = NDArray[np.integer[Any]]
FLOOR = -100.0  # logarithm of no probability: finite, so that 0 * (log p - log q) is 0


class Translation:
    """The windows that a teacher reads in the place of a student's, and the way back.

    Args:
        student, teacher: what cuts texts for each; the teacher's stride is that of stretches too long for it.
        examples: the questions.
        windows: the student's windows of these examples.

    Raises:
        UserError: a question is too long for the teacher.
    """

    def __init__(
        self, student: WindowBuilder, teacher: WindowBuilder, examples: Sequence[Example], windows: Sequence[Window]
    ) -> None:
        self.student, self.teacher, self.examples, self.student_windows = student, teacher, examples, windows
        questions, contexts = ([getattr(each, name) for each in examples] for name in ("question", "context"))
        self.questions = tuple(builder.tokenize(questions, clean=True) for builder in (student, teacher))
        self.contexts = tuple(builder.tokenize(contexts, clean=True) for builder in (student, teacher))
        teacher.refuse_long_questions(examples, self.questions[1], self.contexts[1])
        self.windows: list[Window] = []
        self._firsts = [0]  # of the teacher's windows for each of the student's, and the end
        for number, window in enumerate(windows):
            self.windows += self._read(number, window)
            self._firsts.append(len(self.windows))

    @property
    def tokenizers(self) -> list[str]:
        """Both tokenizers, as texts: what is carried over depends on them."""
        return [str(builder.tokenizer.to_str()) for builder in (self.student, self.teacher)]

    def span(self, number: int) -> range:
        """The numbers of the teacher's windows for the student's window `number`."""
        return range(self._firsts[number], self._firsts[number + 1])

    def _stretch(self, window: Window) -> Tokenized:
        """The teacher's tokens on the characters of a student's window."""
        context = self.examples[window.example].context
        ours, theirs = (tokenized[context] for tokenized in self.contexts)
        start, end = stretch(theirs.offsets, ours.offsets, window.first_token, len(window.offsets))
        return Tokenized(theirs.ids[start:end], theirs.offsets[start:end])

    def _read(self, number: int, window: Window) -> list[Window]:
        question, piece = self.questions[1][self.examples[window.example].question], self._stretch(window)
        return self.teacher.cut(
            number, replace(self.examples[window.example], answers=(), labeled=False), question.ids, piece
        )

    def carried(self, number: int, logits: Sequence[NDArray[np.floating[Any]]]) -> NDArray[np.float32]:
        """Logits (2, T) of a student's window, from the teacher's (2, U) of each of its windows for it."""
        window, theirs = self.student_windows[number], [self.windows[place] for place in self.span(number)]
        question = self.examples[window.example].question
        piece = self._stretch(window)
        receivers = self._receivers(window, self.questions[0][question], self.questions[1][question], piece)
        joined = _joined(theirs, logits, len(piece.ids))  # (2, U)
        mass = [
            np.bincount(places, weights=row, minlength=len(window.input_ids))
            for places, row in zip(receivers, joined, strict=True)
        ]
        with np.errstate(divide="ignore"):
            return np.maximum(np.log(np.stack(mass)), FLOOR).astype(np.float32)

    def _receivers(self, window: Window, ours: Tokenized, theirs: Tokenized, piece: Tokenized) -> tuple[Places, Places]:
        """For each token of the teacher's (U,), the student's token that gets its starts, and the one for its ends."""
        specials = list(zip(self.teacher.template.parts, self.student.template.parts, strict=True))
        front, middle, back = ((_by_place(len(one), len(other)),) * 2 for one, other in specials)
        question, context = partners(theirs.offsets, ours.offsets), partners(piece.offsets, window.offsets)
        parts = [front, question, middle, context, back]
        template = self.student.template
        sizes = [len(template.front), len(ours.ids), len(template.middle), len(window.offsets)]
        shifts = np.concatenate([[0], np.cumsum(sizes)])
        # What has no token to go to belongs to "no answer".
        moved = [
            [np.where(places < 0, 0, places + shift) for places in part]
            for part, shift in zip(parts, shifts, strict=True)
        ]
        return np.concatenate([part[0] for part in moved]), np.concatenate([part[1] for part in moved])


def stretch(theirs: Offsets, ours: Offsets, first: int, count: int) -> tuple[int, int]:
    """The range of their tokens on the characters of `count` tokens of ours from `first` on.

    The edges of the text belong to our outermost tokens, also where none of them stands there. Where ours are cut
    between several tokens of one letter, theirs are cut likewise.
    """
    start, end, last = 0, len(theirs), first + count - 1
    our_keys, their_keys = _keys(ours), _keys(theirs)
    if first and count:
        low, high = _group(their_keys, our_keys[first])
        missing = first - _group(our_keys, our_keys[first])[0]
        start = min(int(np.searchsorted(theirs[:, 1], ours[first, 0], side="right")), low)
        start += min(missing, max(high - low - 1, 0))
    if last + 1 < len(ours) and count:
        low, high = _group(their_keys, our_keys[last])
        missing = _group(our_keys, our_keys[last])[1] - 1 - last
        end = max(int(np.searchsorted(theirs[:, 0], ours[last, 1], side="left")), high)
        end -= min(missing, max(high - low - 1, 0))
    return start, end


def _keys(offsets: Offsets) -> Places:
    """One number for each pair, in the same order."""
    return offsets[:, 0].astype(np.int64) << 32 | offsets[:, 1]


def _group(keys: Places, key: Any) -> tuple[int, int]:
    """The range of the tokens on exactly the same characters."""
    return int(np.searchsorted(keys, key, side="left")), int(np.searchsorted(keys, key, side="right"))


def partners(theirs: Offsets, ours: Offsets) -> tuple[Places, Places]:
    """The token that gets the starts of each of their tokens, and the one that gets its ends.

    Args:
        theirs, ours: (N, 2) and (M, 2) clean offsets of one text, never decreasing (see `destila.data.windows`).

    Returns:
        Twice (N,) places among ours; -1 throughout where we have no token.
    """
    if not len(ours):
        return np.full(len(theirs), -1), np.full(len(theirs), -1)
    solid = np.flatnonzero(ours[:, 1] > ours[:, 0])
    solid = solid if len(solid) else np.arange(len(ours))
    covering = np.searchsorted(ours[solid, 1], theirs[:, 0], side="right")
    closing = np.searchsorted(ours[solid, 0], theirs[:, 1], side="left") - 1
    starts, ends = solid[covering.clip(max=len(solid) - 1)], solid[closing.clip(min=0)]
    our_keys, their_keys = _keys(ours), _keys(theirs)
    low, high = (np.searchsorted(our_keys, their_keys, side=side) for side in ("left", "right"))
    same, numbers = high > low, np.arange(len(theirs))
    before = numbers - np.searchsorted(their_keys, their_keys, side="left")
    after = np.searchsorted(their_keys, their_keys, side="right") - 1 - numbers
    return np.where(same, np.minimum(low + before, high - 1), starts), np.where(
        same, np.maximum(high - 1 - after, low), ends
    )


def _by_place(theirs: int, ours: int) -> Places:
    """Partners of special tokens, (N,): the k-th is the k-th, and the last stands for all that we lack."""
    return np.minimum(np.arange(theirs), ours - 1)


def _joined(windows: Sequence[Window], logits: Sequence[NDArray[np.floating[Any]]], context: int) -> Floats:
    """Probabilities (2, U) over question, special tokens and a whole stretch of `context` tokens."""
    head, back = windows[0].context_start, len(windows[0].input_ids) - windows[0].context_end
    odds, counts = np.zeros((2, head + context + back)), np.zeros(head + context + back)
    scores = [row.astype(np.float64) - row[:, :1] for row in logits]  # against "no answer", at position 0
    highest = np.max([row.max(axis=1) for row in scores], axis=0)[:, None]
    for window, row in zip(windows, scores, strict=True):
        middle = head + window.first_token + np.arange(window.context_end - window.context_start)
        places = np.concatenate([np.arange(head), middle, head + context + np.arange(back)])
        odds[:, places] += np.exp(row - highest)
        counts[places] += 1
    odds /= counts
    total: Floats = odds / odds.sum(axis=1, keepdims=True)
    return total
