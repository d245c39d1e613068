"""The rows of pre-training: weighted sources, masks, text kept apart, and how fast they come."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from destila.core.errors import UserError
from destila.data.corpus import TokenStore, open_store
from destila.data.synthetic.masking import IGNORED
from destila.data.synthetic.rows import Mixture, RowMaker, row_makers, rows_by_step
from destila.data.synthetic.token_table import SPECIAL_COUNT
from destila.training.prefetch import Prefetched
from pretraining import settings_of, write_sources


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sources(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def store(text: Path) -> TokenStore:
    return open_store(settings_of(text, text).text)


@pytest.mark.parametrize("weights", [{}, {"actas": 5.0, "leyes": 0.25}, {"cartas": 0.0}])
def test_sources_get_their_weighted_shares_and_every_part_is_read(weights: dict[str, float]) -> None:
    sources = {"actas": (0, 30_000), "cartas": (30_000, 100_000), "leyes": (100_000, 400_000)}
    mixture = Mixture(sources, weights, passage=500)
    starts = np.array([mixture.start(row, seed=3) for row in range(4000)])
    total = sum(weights.get(name, 1.0) * (end - start) for name, (start, end) in sources.items())
    for name, (start, end) in sources.items():
        share = weights.get(name, 1.0) * (end - start) / total
        inside = starts[(starts >= start) & (starts < end)]
        assert len(inside) / len(starts) == pytest.approx(share, abs=0.002)
        assert (inside <= end - 500).all()
        if share:  # read evenly: no gap is much wider than the mean one
            assert np.diff(np.sort(inside)).max() < 3.5 * (end - start) / len(inside)
    assert not np.array_equal(starts, [mixture.start(row, seed=4) for row in range(4000)])


def test_too_little_text_is_said() -> None:
    with pytest.raises(UserError, match="500 tokens"):
        Mixture({"actas": (0, 499)}, {}, passage=500)


def test_rows_are_a_pure_function_of_their_numbers(store: TokenStore, text: Path) -> None:
    settings = settings_of(text, text)
    maker, _ = row_makers(store, settings)
    whole, tail = maker.rows(0, 24), row_makers(store, settings)[0].rows(16, 8)
    for name in ("ids", "places", "labels", "starts", "ends"):
        assert np.array_equal(getattr(whole[16:], name), getattr(tail, name)), name
    other, _ = row_makers(store, replace(settings, training=replace(settings.training, seed=9)))
    assert not np.array_equal(other.rows(0, 24).ids, whole.ids)


def test_no_mask_falls_on_special_tokens_or_answers(store: TokenStore, text: Path) -> None:
    maker, _ = row_makers(store, settings_of(text, text))
    rows = maker.rows(0, 200)
    assert (rows.labels[rows.labels != IGNORED] >= SPECIAL_COUNT).all()
    assert (rows.starts[:, 0] > 0).sum() > 100
    for number in range(len(rows)):
        hidden = set(rows.places[number][rows.labels[number] != IGNORED].tolist())
        for start, end in zip(rows.starts[number].tolist(), rows.ends[number].tolist(), strict=True):
            assert not hidden & set(range(start, end + 1)) or start <= 0
            if start > 0:
                plain = maker.row(number, _after_choice(maker, number))
                assert plain.ids[start : end + 1].tolist() == rows.ids[number, start : end + 1].tolist()


def _after_choice(maker: RowMaker, number: int) -> np.random.Generator:
    return np.random.default_rng([maker.seed, number])


def test_text_kept_apart_is_never_trained_on(store: TokenStore, text: Path) -> None:
    training, apart = row_makers(store, settings_of(text, text))
    for name, start, room in zip(apart.mixture.names, apart.mixture.starts, apart.mixture.rooms, strict=True):
        place = training.mixture.names.index(name)
        last = training.mixture.starts[place] + training.mixture.rooms[place] - 1 + training.passage
        assert last <= start
        assert start + room - 1 + apart.passage <= store.sources[name][1]


@pytest.mark.slow
def test_workers_make_the_rows_of_one_process(store: TokenStore, text: Path) -> None:
    settings = settings_of(text, text)
    with Prefetched(rows_by_step, (store.path, settings), steps_per_epoch=5, workers=2) as batches:
        made = [batches.at(step) for step in (0, 1, 2, 7, 3)]  # one out of order
    alone = Prefetched(rows_by_step, (store.path, settings), steps_per_epoch=5, workers=0)
    for step, rows in zip((0, 1, 2, 7, 3), made, strict=True):
        assert np.array_equal(rows.ids, alone.at(step).ids)
        assert np.array_equal(rows.labels, alone.at(step).labels)


def test_the_data_path_keeps_up(store: TokenStore, text: Path) -> None:
    settings = settings_of(text, text)
    maker, _ = row_makers(store, replace(settings, model=replace(settings.model, length=384)))
    maker.rows(0, 20)
    start = time.process_time()
    maker.rows(20, 150)
    speed = 150 * 384 / (time.process_time() - start)
    print(f"data path: {speed:,.0f} tokens/s on one core")
    assert speed > 50_000  # some 700,000 on an idle core; a large GPU trains on a million with a dozen of them
