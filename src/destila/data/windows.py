"""How texts become model inputs: the one window builder, the one collator, the one order of training windows.

Mental model: `[front] question [middle] context-slice [back]`, where front, middle and back are the special tokens that
the tokenizer's own post-processor puts around a pair. A context that does not fit is cut into slices that overlap; the
question never is. `Window.offsets` ties each context token to the characters that it stands for.

Invariants: offsets are code points of the context as the user gave it, lie within it, never decrease, and hold no white
space at either edge (a token that is nothing but white space is zero-width). Every context token is in some window.
Which windows a training step sees is a pure function of (seed, step).

This module runs no model, reads no file and decides nothing about answers; `destila.inference.decoding` does the way
back.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from destila.config import WindowSettings
from destila.config.loader import resolve
from destila.core.characters import IS_IDLE
from destila.core.checks import whole_number
from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata
from destila.core.model_files import METADATA_FILE
from destila.core.records import Example
from destila.data.reading_form import Spans, in_original, reading_form
from destila.data.tokenizers import encodable, pair_template, plain

LOG = logging.getLogger(__name__)

MIN_CONTEXT_TOKENS = 16  # fewer show the model no sentence; a whole shorter context is fine
TEXTS_AT_ONCE = 1024  # bounds what the tokenizer's own, fat encodings hold: about 100 MB
LENGTH_STEP = 16  # see `destila.inference.backends.openvino`
COUNTED_TYPES = ("roberta", "xlm-roberta", "camembert")  # they count positions from the padding token's id
BATCHES_PER_BLOCK = 50  # sorting by length within so many batches leaves about 3 % of padding and the order random

Ids = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Window:
    """One model input of an example. T tokens, N of them context.

    Attributes:
        example: index of the example in the list that was built.
        input_ids: (T,) token ids, special tokens included, no padding.
        context_start: position of the first context token; `context_end`: one past the last.
        offsets: (N, 2) first character and one past the last of each context token, in the original context.
        labeled: False where nobody has said what the answer is.
        starts: gold start positions in this window, one for each distinct gold that lies wholly inside it; `ends`: the
            positions of their last tokens. Empty in a labeled window: it holds no answer, and the label is position 0.
        first_token: which token of the whole context stands at `context_start`.
    """

    example: int
    input_ids: Ids
    context_start: int
    context_end: int
    offsets: Ids
    labeled: bool = True
    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    first_token: int = 0


def first_position(model_type: str, pad_id: int | None) -> int:
    """The position of a row's first token: RoBERTa and its kin count from the row after that of the padding token."""
    if model_type not in COUNTED_TYPES:
        return 0
    return (1 if pad_id is None else pad_id) + 1  # 1: what these families take where config.json is silent


def longest_window(config: Mapping[str, Any]) -> int:
    """The most tokens that the model of a config.json can read at once."""
    return int(config["max_position_embeddings"]) - first_position(config["model_type"], config.get("pad_token_id"))


class Tokenized(NamedTuple):
    """A tokenized text: ids (N,) and clean offsets (N, 2)."""

    ids: Ids
    offsets: Ids


class Slices(NamedTuple):
    """How to cut the context of one example: first tokens of the slices, and how many tokens each may hold."""

    firsts: range
    room: int


class WindowBuilder:
    """Cuts examples into windows.

    Args:
        tokenizer: must put special tokens around a pair; its truncation and padding are switched off in place.
        length: most tokens of a window, question and special tokens included.
        stride: tokens of context that neighbors share; at most half of the context's room, so that work stays linear.
        pad_id: the id that `collate` pads these windows with.
    """

    def __init__(self, tokenizer: Tokenizer, *, length: int = 384, stride: int = 128, pad_id: int) -> None:
        self.tokenizer, self.length, self.stride, self.pad_id = plain(tokenizer), length, stride, pad_id
        self.template = pair_template(tokenizer)

    def build(self, examples: Sequence[Example]) -> list[Window]:
        """All windows of the examples, in order.

        Raises:
            UserError: questions so long that fewer than 16 tokens of a longer context would fit beside them.
        """
        questions = self.tokenize((example.question for example in examples), clean=False)
        contexts = self.tokenize((example.context for example in examples), clean=True)
        self.refuse_long_questions(examples, questions, contexts)
        windows: list[Window] = []
        for index, example in enumerate(examples):
            windows += self.cut(index, example, questions[example.question].ids, contexts[example.context])
        return windows

    def tokenize(self, texts: Iterable[str], *, clean: bool, as_it_is: bool = False) -> dict[str, Tokenized]:
        """Each distinct text once, in parallel.

        Args:
            clean: with its offsets, which are empty otherwise.
            as_it_is: the texts are pieces of a text that is in its reading form already.
        """
        distinct = list(dict.fromkeys(texts))
        tokenized: dict[str, Tokenized] = {}
        for first in range(0, len(distinct), TEXTS_AT_ONCE):
            chunk = distinct[first : first + TEXTS_AT_ONCE]
            forms = [(text, None) if as_it_is else reading_form(text) for text in chunk]
            encodings = self.tokenizer.encode_batch([encodable(form) for form, _ in forms], add_special_tokens=False)
            for text, (_, spans), encoding in zip(chunk, forms, encodings, strict=True):
                offsets = _clean_offsets(encoding, text, spans) if clean else np.zeros((0, 2), np.int32)
                tokenized[text] = Tokenized(np.array(encoding.ids, np.int32), offsets)
        return tokenized

    def _room(self, question: Ids) -> int:
        return self.length - self.template.size - len(question)

    def refuse_long_questions(
        self, examples: Sequence[Example], questions: dict[str, Tokenized], contexts: dict[str, Tokenized]
    ) -> None:
        """Raise a `UserError` that names every question that leaves too little room for a context."""
        problems = []
        for example in examples:
            ids = questions[example.question].ids
            room, needed = self._room(ids), min(MIN_CONTEXT_TOKENS, len(contexts[example.context].ids))
            if room < needed:
                left = f"leaves {max(room, 0)} for the context; it needs {needed}"
                problems.append(f"the question of {example.id!r} has {len(ids)} tokens, which {left}")
        if problems:
            remedy = "Shorten the question, or raise the window length if the model allows it."
            raise UserError.from_problems(f"windows of {self.length} tokens", problems, remedy)

    def slices(self, question: Ids, context: Tokenized) -> Slices:
        """How a context is cut beside a question."""
        room, tokens = self._room(question), len(context.ids)
        if tokens <= room:
            return Slices(range(1), room)
        step = room - min(self.stride, room // 2)
        return Slices(range(0, tokens - room + step, step), room)

    def cut(self, index: int, example: Example, question: Ids, context: Tokenized) -> list[Window]:
        """The windows of the `index`-th example, whose context is tokenized."""
        spans = {_token_span(answer.start, answer.end, context.offsets) for answer in example.answers}
        golds = sorted(span for span in spans if span)
        windows = []
        slices = self.slices(question, context)
        for first in slices.firsts:
            ids, offsets = context.ids[first : first + slices.room], context.offsets[first : first + slices.room]
            inside = [gold for gold in golds if first <= gold[0] and gold[1] < first + len(ids)]
            input_ids, context_start = self.template.join(question, ids)
            windows.append(
                Window(
                    example=index,
                    input_ids=input_ids,
                    context_start=context_start,
                    context_end=context_start + len(ids),
                    offsets=offsets,
                    labeled=example.labeled,
                    starts=tuple(start - first + context_start for start, _ in inside),
                    ends=tuple(end - first + context_start for _, end in inside),
                    first_token=first,
                )
            )
        return windows


# ------------------------------------------------------------------------------------- tokens and characters
# All white space of Unicode lies below U+3001.
_IS_SPACE = np.array([chr(code).isspace() for code in range(0x3001)] + [False])


def _clean_offsets(encoding: Encoding, text: str, spans: Spans | None) -> Ids:
    """Offsets (N, 2) without white space, or what shows nothing, at the edges, within the text, never decreasing.

    Tokenizers disagree: some count the space before a word as part of it, and normalizers may move offsets about.

    Args:
        spans: which characters of the text each character of the form that was read stands for; None: its own.
    """
    if not encoding.ids:
        return np.zeros((0, 2), np.int32)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    blank = _IS_SPACE[np.minimum(codes, len(_IS_SPACE) - 1)]
    if spans is not None:  # else there is no such character
        blank[[found.start() for found in IS_IDLE.finditer(text)]] = True
    solid = np.flatnonzero(~blank)
    following = np.append(solid, len(codes))  # the k-th character that is not blank; then the end of the text
    offsets = in_original(np.array(encoding.offsets, np.int32), spans).clip(0, len(codes))
    first, last = np.searchsorted(solid, offsets[:, 0]), np.searchsorted(solid, offsets[:, 1]) - 1
    empty = last < first
    starts = np.where(empty, offsets[:, 1], following[first])
    ends = np.where(empty, offsets[:, 1], following[last] + 1)
    ordered = np.maximum.accumulate(np.stack([starts, np.maximum(starts, ends)], axis=1), axis=0)
    return ordered.astype(np.int32)


def _token_span(start: int | None, end: int | None, offsets: Ids) -> tuple[int, int] | None:
    """First and last token of the smallest span that covers the characters [start, end); None if there is none."""
    if start is None or end is None:
        return None
    solid = np.flatnonzero(offsets[:, 1] > offsets[:, 0])
    first = int(np.searchsorted(offsets[solid, 1], start, side="right"))
    last = int(np.searchsorted(offsets[solid, 0], end, side="left")) - 1
    return (int(solid[first]), int(solid[last])) if first <= last else None


# ------------------------------------------------------------------------------------- batches
@dataclass(frozen=True, slots=True)
class Batch:
    """Windows side by side. B rows, T tokens of the longest."""

    input_ids: NDArray[np.int64]  # (B, T) int64, padded on the right
    attention_mask: NDArray[np.int64]  # (B, T) int64, 1 at real tokens
    context_mask: NDArray[np.bool_]  # (B, T) bool, True at context tokens only; neither special tokens nor position 0
    # (B, T) bool, True at every gold start; at position 0 alone where the window holds no answer; nowhere in a row that
    # nobody has labeled
    start_positions: NDArray[np.bool_]
    end_positions: NDArray[np.bool_]  # likewise


def collate(windows: Sequence[Window], *, pad_id: int, length: int | None = None) -> Batch:
    """Stack windows, padded to the longest, or to `length` tokens."""
    shape = len(windows), length or max(len(window.input_ids) for window in windows)
    batch = Batch(
        np.full(shape, pad_id, np.int64), np.zeros(shape, np.int64), *(np.zeros(shape, np.bool_) for _ in range(3))
    )
    for row, window in enumerate(windows):
        tokens = len(window.input_ids)
        batch.input_ids[row, :tokens] = window.input_ids
        batch.attention_mask[row, :tokens] = 1
        batch.context_mask[row, window.context_start : window.context_end] = True
        if window.labeled:
            batch.start_positions[row, list(window.starts or (0,))] = True
            batch.end_positions[row, list(window.ends or (0,))] = True
    return batch


class WindowBatches:
    """The order of training: every window once an epoch, in batches of about equal length, in a new order each epoch.

    Args:
        windows: at least one.
        batch_size: windows of a batch; one batch of an epoch may be smaller.
        seed: of the order.
        parts: indices of windows, and how often these are seen in an epoch: 2.5 is twice, and half of them once more,
            drawn anew each epoch; together they name every window. Empty: once, all.
    """

    def __init__(
        self,
        windows: Sequence[Window],
        *,
        batch_size: int,
        seed: int,
        parts: Sequence[tuple[NDArray[np.int64], float]] = (),
    ) -> None:
        self.windows, self.batch_size, self.seed, self.parts = windows, batch_size, seed, parts
        count = sum(round(times * len(places)) for places, times in parts) if parts else len(windows)
        if not count:
            raise UserError("training data", "holds no windows", "Give at least one example, and it a weight.")
        self.lengths = np.array([len(window.input_ids) for window in windows])
        self.steps_per_epoch = -(-count // batch_size)
        self._epoch, self._batches = -1, list[NDArray[np.int64]]()

    def at(self, step: int) -> list[Window]:
        """The windows of a step, counted from 0 over all epochs; a pure function of (seed, step)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._order(epoch)
        return [self.windows[index] for index in self._batches[place]]

    def _order(self, epoch: int) -> list[NDArray[np.int64]]:
        generator = np.random.default_rng([self.seed, epoch])
        shuffled = generator.permutation(self._drawn(generator) if self.parts else len(self.windows))
        block = self.batch_size * BATCHES_PER_BLOCK
        for first in range(0, len(shuffled), block):
            part = shuffled[first : first + block]
            shuffled[first : first + block] = part[np.argsort(self.lengths[part], kind="stable")]
        batches = [shuffled[first : first + self.batch_size] for first in range(0, len(shuffled), self.batch_size)]
        return [batches[place] for place in generator.permutation(len(batches))]

    def _drawn(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """The windows of an epoch, those that are seen several times as often."""
        drawn = []
        for places, times in self.parts:
            whole, count = int(times), round(times * len(places))
            drawn += [places] * whole + [generator.permutation(places)[: count - whole * len(places)]]
        return np.concatenate(drawn)


def inference_batches(windows: Sequence[Window], *, token_budget: int) -> list[list[int]]:
    """Indices of all windows, longest first, in batches of at most `token_budget` padded tokens (or one window)."""
    lengths = np.array([len(window.input_ids) for window in windows], np.int64)
    order = np.argsort(-lengths, kind="stable")
    batches, first = list[list[int]](), 0
    while first < len(order):
        # Lengths in steps: run times compile for each shape, so that equal shapes should come again.
        count = max(1, token_budget // (-(-int(lengths[order[first]]) // LENGTH_STEP) * LENGTH_STEP))
        batches.append(order[first : first + count].tolist())
        first += count
    return batches


def window_settings(name: str, metadata: ModelMetadata, length: int, longest: int) -> WindowSettings:
    """A model's own window settings, with another length if one is given.

    Args:
        length: in tokens; 0: the model's own.
        longest: most tokens that the model can read.

    Raises:
        UserError: it cannot read so many.
    """
    saved = resolve(WindowSettings, metadata.window, where=f"{name}/{METADATA_FILE}, window")
    if whole_number("window_length", length, least=0) > longest:
        problem = f"{length} tokens are more than the {longest} that {name} can read at once"
        raise UserError("window_length", problem, f"Choose {longest} or fewer.")
    if not length and saved.length > longest:
        LOG.info(f"{name}: windows of {longest} tokens, because it has no more positions.")
    chosen = {"length": length or min(saved.length, longest), "stride": saved.stride}
    return resolve(WindowSettings, chosen | {"max_answer_tokens": saved.max_answer_tokens}, where="window")
