"""Windows side by side: padding, labels, the order of training, and how often each part is seen."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from destila.core.errors import UserError
from destila.data.windows import Window, WindowBatches, WindowBuilder, collate, inference_batches
from tiny import TEXTS, example, pad_token_id, tiny_examples, tiny_tokenizer


def builder(architecture="roberta", *, length=48, stride=8):
    return WindowBuilder(tiny_tokenizer(architecture), length=length, stride=stride, pad_id=pad_token_id(architecture))


def test_collate_masks_and_labels():
    examples = [*tiny_examples(), example("sin", "¿Qué?", TEXTS[0], labeled=False)]
    windows = builder(length=128).build(examples)
    batch = collate(windows, pad_id=1)
    assert batch.input_ids.shape == (len(windows), max(len(w.input_ids) for w in windows))
    for row, window in enumerate(windows):
        tokens = len(window.input_ids)
        assert batch.input_ids[row].tolist() == [*window.input_ids.tolist(), *[1] * (batch.input_ids.shape[1] - tokens)]
        assert batch.attention_mask[row].sum() == batch.attention_mask[row, :tokens].sum() == tokens
        assert np.flatnonzero(batch.context_mask[row]).tolist() == list(range(window.context_start, window.context_end))
        expected = [] if not window.labeled else sorted(set(window.starts)) or [0]
        assert np.flatnonzero(batch.start_positions[row]).tolist() == expected
        assert batch.end_positions[row].any() == window.labeled
    assert batch.start_positions[0].sum() == 2, "two golds, two starts"
    assert collate(windows, pad_id=1, length=200).input_ids.shape == (len(windows), 200)


def blanks(lengths):
    return [Window(index, np.zeros(n, np.int32), 0, 0, np.zeros((0, 2), np.int32)) for index, n in enumerate(lengths)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=300), st.integers(1, 9), st.integers(0, 99), st.integers(0, 3))
def test_an_epoch_holds_every_window_once(lengths, batch_size, seed, epoch):
    windows = blanks(lengths)
    batches = WindowBatches(windows, batch_size=batch_size, seed=seed)
    steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
    seen = [batches.at(step) for step in steps]
    assert sorted(window.example for batch in seen for window in batch) == list(range(len(windows)))
    assert sorted(map(len, seen))[1:] == [batch_size] * (len(seen) - 1)
    fresh = WindowBatches(windows, batch_size=batch_size, seed=seed)
    backwards = [fresh.at(step) for step in reversed(steps)]
    assert [[w.example for w in b] for b in backwards[::-1]] == [[w.example for w in b] for b in seen]


def test_the_order_depends_on_seed_and_epoch_and_pads_little():
    lengths = np.random.default_rng(0).integers(40, 384, 4000)
    batches = WindowBatches(blanks(lengths), batch_size=16, seed=1)
    epoch = [batches.at(step) for step in range(batches.steps_per_epoch)]

    def order(batches, first):
        return [w.example for w in batches.at(first)]

    assert order(batches, 0) != order(batches, batches.steps_per_epoch)
    assert order(batches, 0) != order(WindowBatches(batches.windows, batch_size=16, seed=2), 0)
    padded = sum(len(batch) * max(len(w.input_ids) for w in batch) for batch in epoch)
    assert padded < 1.05 * lengths.sum(), "random batches pad about 1.7 times"
    widths = [max(len(w.input_ids) for w in batch) for batch in epoch]
    assert np.corrcoef(widths[:-1], widths[1:])[0, 1] < 0.2, "batches come sorted by length"


def test_no_windows_are_refused():
    with pytest.raises(UserError, match="no windows"):
        WindowBatches([], batch_size=2, seed=0)


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(1, 200))
def test_inference_batches_keep_to_the_budget(lengths, budget):
    batches = inference_batches(blanks(lengths), token_budget=budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= budget
    widths = [max(lengths[index] for index in batch) for batch in batches]
    assert widths == sorted(widths, reverse=True)


@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    times=st.lists(st.sampled_from([0.0, 0.3, 0.5, 1.0, 2.5]), min_size=4, max_size=4),
    batch_size=st.integers(1, 5),
    seed=st.integers(0, 3),
)
def test_an_epoch_sees_each_part_as_often_as_asked(
    sizes: list[int], times: list[float], batch_size: int, seed: int
) -> None:
    whole = built(sum(sizes))
    ends = np.cumsum(sizes)
    parts = [(np.arange(end - size, end), share) for end, size, share in zip(ends, sizes, times, strict=False)]
    wanted = [round(share * size) for size, share in zip(sizes, times, strict=False)]
    if not sum(wanted):
        with pytest.raises(UserError, match="holds no windows"):
            WindowBatches(whole, batch_size=batch_size, seed=seed, parts=parts)
        return
    batches, again = (WindowBatches(whole, batch_size=batch_size, seed=seed, parts=parts) for _ in range(2))
    assert batches.steps_per_epoch == -(-sum(wanted) // batch_size)
    epochs = []
    for epoch in range(2):
        steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
        seen = Counter(window.example for step in steps for window in batches.at(step))
        for (places, share), count in zip(parts, wanted, strict=True):
            counts = [seen[place] for place in places.tolist()]
            assert sum(counts) == count
            assert all(int(share) <= times <= int(share) + 1 for times in counts)
        epochs.append(seen)
    for step in reversed(range(2 * batches.steps_per_epoch)):  # in whatever order it is asked
        assert [window.example for window in again.at(step)] == [window.example for window in batches.at(step)]


def test_half_of_a_part_is_drawn_anew_each_epoch() -> None:
    batches = WindowBatches(built(40), batch_size=10, seed=1, parts=[(np.arange(40), 0.5)])
    drawn = [{window.example for step in (0, 1) for window in batches.at(2 * epoch + step)} for epoch in range(6)]
    assert all(len(seen) == 20 for seen in drawn)
    assert len(set.union(*drawn)) > 35
    assert len(set(map(frozenset, drawn))) == 6


def built(count: int) -> list[Window]:
    offsets = np.zeros((0, 2), np.int32)
    return [
        Window(number, np.arange(4 + number % 3, dtype=np.int32), context_start=1, context_end=3, offsets=offsets)
        for number in range(count)
    ]
