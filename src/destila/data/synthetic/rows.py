"""Which passage a row reads, and the rows of a step: pure functions of (seed, number).

Mental model: the sources, each as long as its tokens times its weight, lie side by side on a circle, and row r stands
at the angle r times the golden ratio. Such points fill a circle as evenly as points can, at every moment: sources get
their shares in any few hundred rows, a pass over the text reads every part about once, and nothing is ever shuffled,
counted or stored. `destila.data.synthetic.cloze` and `destila.data.synthetic.masking` make a row of the passage that
begins there.

Invariant: `RowMaker.rows(first, count)` depends on the store, the settings, the seed and the row numbers only. This
module holds no torch: worker processes import it in a moment.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from destila.config import PretrainSettings
from destila.core.errors import UserError
from destila.data.corpus import TokenStore, load_store
from destila.data.synthetic.answer_spans import MAX_ANSWERS, SPARE
from destila.data.synthetic.cloze import Row, cloze_row, plain_row
from destila.data.synthetic.masking import IGNORED, mask_words, place_count
from destila.data.synthetic.token_table import Lexicon
from destila.data.synthetic.word_variants import WordForms

GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio, odd
CIRCLE = 2**64
ALIGN = 64  # tokens within which a passage looks for the beginning of a sentence
HELD_OUT = 20_000  # tokens at the end of a source that are kept apart, at most


@dataclass(frozen=True)
class Rows(Sequence["Rows"]):
    """Rows side by side: B rows of T tokens, K masked places, M answers at most."""

    ids: NDArray[np.int32]  # (B, T) int32
    # places, labels: (B, K), see `masking.Masked`
    places: NDArray[np.int32]
    labels: NDArray[np.int32]
    # starts, ends: (B, M) int32, first and last tokens of right answers; -1 where there are fewer
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, part: int) -> "Rows": ...
    @overload
    def __getitem__(self, part: slice) -> "Rows": ...
    def __getitem__(self, part: slice | int) -> "Rows":
        """Some of the rows, or one, still as rows."""
        some = part if isinstance(part, slice) else slice(part, part + 1)
        return Rows(self.ids[some], self.places[some], self.labels[some], self.starts[some], self.ends[some])


class Mixture:
    """Where passages begin.

    Args:
        sources: where the tokens of each source begin and end.
        weights: of the sources; 1 for those not named.
        passage: tokens that a passage needs.

    Raises:
        UserError: no source with a weight holds a passage.
    """

    def __init__(self, sources: Mapping[str, tuple[int, int]], weights: Mapping[str, float], *, passage: int) -> None:
        rooms = {name: (start, end - start - passage) for name, (start, end) in sources.items()}
        usable = {name: room for name, room in rooms.items() if room[1] >= 0 and weights.get(name, 1.0) > 0}
        if not usable:
            raise UserError("text.files", f"hold no source of {passage} tokens with a weight", "Give more text.")
        self.names = list(usable)
        self.starts = [start for start, _ in usable.values()]
        self.rooms = [room + 1 for _, room in usable.values()]
        sizes = [sources[name][1] - sources[name][0] for name in usable]
        weighted = np.array([weights.get(name, 1.0) * size for name, size in zip(self.names, sizes, strict=True)])
        self.tokens = float(weighted.sum())  # of one pass
        self.shares = weighted / self.tokens
        self.borders = np.concatenate([[0.0], np.cumsum(self.shares)])

    def start(self, row: int, *, seed: int) -> int:
        """The token that the passage of a row begins with."""
        offset = int(np.random.default_rng(seed).integers(CIRCLE, dtype=np.uint64))
        angle = ((offset + row * GOLDEN) % CIRCLE) / CIRCLE
        source = min(int(np.searchsorted(self.borders, angle, side="right")) - 1, len(self.names) - 1)
        inside = min((angle - self.borders[source]) / self.shares[source], 1.0)
        return self.starts[source] + min(int(inside * self.rooms[source]), self.rooms[source] - 1)


def split(
    sources: Mapping[str, tuple[int, int]], *, passage: int
) -> tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]:
    """The tokens of each source to train on, and those kept apart at its end: a fiftieth, but whole passages."""
    training, apart = {}, {}
    for name, (start, end) in sources.items():
        held = max(passage, min((end - start) // 50, HELD_OUT)) if end - start >= 4 * passage else 0
        training[name], apart[name] = (start, end - held), (end - held, end)
    return training, apart


def _passage_tokens(length: int) -> int:
    """Tokens that must follow the beginning of a passage for a row of a length."""
    return length + SPARE + ALIGN


class RowMaker:
    """Makes rows of a store.

    Args:
        sources: the parts of the store to read; its whole sources, or those of `split`.
        seed: of which passages are read and of what is asked and masked in them.
    """

    def __init__(
        self, store: TokenStore, sources: Mapping[str, tuple[int, int]], settings: PretrainSettings, *, seed: int
    ) -> None:
        self.tokens, self.settings, self.seed = store.tokens, settings, seed
        self.length = settings.model.length
        self.passage = _passage_tokens(self.length)
        self.lexicon = Lexicon(store.tokenizer)
        self.mixture = Mixture(sources, settings.text.weights, passage=self.passage)
        self.forms = WordForms(store.tokens, self.lexicon) if settings.cloze.varied else None

    def rows(self, first: int, count: int) -> Rows:
        """Rows number first to first + count - 1."""
        places, shape = place_count(self.length, self.settings.masking), (count, MAX_ANSWERS)
        made = Rows(
            np.empty((count, self.length), np.int32),
            np.empty((count, places), np.int32),
            np.full((count, places), IGNORED, np.int32),
            np.full(shape, -1, np.int32),
            np.full(shape, -1, np.int32),
        )
        for number in range(count):
            self._fill(made, number, first + number)
        return made

    def _fill(self, made: Rows, place: int, number: int) -> None:
        generator = np.random.default_rng([self.seed, number])
        row = self.row(number, generator)
        openable = np.ones(self.length, np.bool_)
        for start, end in zip(row.starts, row.ends, strict=True):
            openable[start : end + 1] = False  # an answer must stay readable to be pointed at
        masked = mask_words(
            row.ids, openable, lexicon=self.lexicon, settings=self.settings.masking, generator=generator
        )
        made.ids[place], made.places[place], made.labels[place] = masked
        made.starts[place, : len(row.starts)], made.ends[place, : len(row.ends)] = row.starts, row.ends

    def row(self, number: int, generator: np.random.Generator) -> Row:
        """A row before words are masked."""
        cloze = self.settings.cloze
        passage = self.passage_at(self.mixture.start(number, seed=self.seed))
        if generator.random() < cloze.share:
            row = cloze_row(
                passage, length=self.length, lexicon=self.lexicon, settings=cloze, generator=generator, forms=self.forms
            )
            if row is not None:
                return row
        return plain_row(passage, length=self.length, lexicon=self.lexicon)

    def passage_at(self, start: int) -> NDArray[np.int64]:
        """The tokens from the first sentence that begins at or soon after a place."""
        ids: NDArray[np.int64] = np.asarray(self.tokens[start : start + self.passage]).astype(np.int64)
        begins = self.lexicon.sentence_starts(ids[: ALIGN + 1])
        begins[0] = False  # unknown: what stands before it is not looked at
        shift = int(begins.argmax()) if begins.any() else 0
        return ids[shift : shift + self.length + SPARE]


def row_makers(store: TokenStore, settings: PretrainSettings) -> tuple[RowMaker, RowMaker]:
    """Makers of the rows to train on, and of those from text that is kept apart."""
    training, apart = split(store.sources, passage=_passage_tokens(settings.model.length))
    seed = settings.training.seed
    return RowMaker(store, training, settings, seed=seed), RowMaker(store, apart, settings, seed=seed + 1)


def rows_by_step(path: Path, settings: PretrainSettings) -> Callable[[int], Rows]:
    """The function from steps to the rows to train on, for a process that knows the store's path only."""
    maker, _ = row_makers(load_store(path), settings)
    size = settings.training.batch_size
    return lambda step: maker.rows(step * size, size)
