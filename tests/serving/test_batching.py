"""The batcher: everything accepted is done, in order, fairly, together; one bad job spoils no other."""

import threading
from concurrent.futures import CancelledError, wait

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from destila.data.windows import Window
from destila.serving.batching import Batcher, QueueFullError

BAD = 666


def window(tokens, mark=0):
    return Window(0, np.full(tokens, mark, np.int32), 0, tokens, np.zeros((tokens, 2), np.int32))


class Model:
    """Gives each window its own ids as logits and remembers what ran together; waits for `go` first."""

    def __init__(self, *, blocked=False):
        self.batches, self.go, self.entered = [], threading.Event(), threading.Event()
        if not blocked:
            self.go.set()

    def __call__(self, windows):
        self.entered.set()
        assert self.go.wait(10)
        self.batches.append([(len(w.input_ids), int(w.input_ids[0])) for w in windows])
        if any(w.input_ids[0] == BAD for w in windows):
            raise ValueError("bad window")
        return [w.input_ids.astype(np.float32) for w in windows], [-w.input_ids.astype(np.float32) for w in windows]


def batcher(model, *, batch_tokens=100, queue_windows=1000):
    return Batcher(model, batch_tokens=batch_tokens, queue_windows=queue_windows)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(1, 150), min_size=1, max_size=8), min_size=1, max_size=12), st.integers(1, 200))
def test_every_job_gets_its_own_logits_in_order(jobs, budget):
    model = Model(blocked=True)
    pool = batcher(model, batch_tokens=budget)
    futures = [
        pool.submit([window(tokens, 10 * number + place) for place, tokens in enumerate(job)])
        for number, job in enumerate(jobs)
    ]
    model.go.set()
    for number, (job, future) in enumerate(zip(jobs, futures, strict=True)):
        starts, ends = future.result(10)
        assert [len(start) for start in starts] == job
        assert [int(start[0]) for start in starts] == [10 * number + place for place in range(len(job))]
        assert all((start == -end).all() for start, end in zip(starts, ends, strict=True))
    pool.close()
    assert pool.waiting == 0
    assert sum(map(len, model.batches)) == sum(map(len, jobs))
    for batch in model.batches:
        lengths = [tokens for tokens, _ in batch]
        assert len(batch) == 1 or sum(lengths) <= budget
        assert min(lengths) >= 0.7 * max(lengths)


def test_what_waits_runs_together():
    model = Model(blocked=True)
    pool = batcher(model, batch_tokens=100)
    first = pool.submit([window(10)])
    assert model.entered.wait(10)
    rest = [pool.submit([window(10, number)]) for number in range(30)]
    model.go.set()
    wait([first, *rest], timeout=10)
    pool.close()
    assert [len(batch) for batch in model.batches] == [1, 10, 10, 10]


@pytest.mark.parametrize(("padded", "together"), [(True, [[10, 10, 9], [40, 30]]), (False, [[10, 40, 9, 10, 30]])])
def test_only_a_model_that_pads_gets_windows_of_one_length_apart(padded, together):
    model, runs = Model(blocked=True), []
    observe = lambda windows, tokens, seconds: runs.append((windows, tokens))  # noqa: E731
    pool = Batcher(model, batch_tokens=100, queue_windows=1000, padded=padded, observe=observe)
    first = pool.submit([window(1)])
    assert model.entered.wait(10)
    rest = [pool.submit([window(tokens)]) for tokens in (10, 40, 9, 10, 30)]
    model.go.set()
    wait([first, *rest], timeout=10)
    pool.close()
    assert [[tokens for tokens, _ in batch] for batch in model.batches[1:]] == together
    cost = (lambda batch: len(batch) * max(batch)) if padded else sum
    assert runs[1:] == [(len(batch), cost(batch)) for batch in together]


def test_a_long_document_does_not_starve_short_questions():
    model = Model(blocked=True)
    pool = batcher(model, batch_tokens=100)
    order = []
    long = pool.submit([window(50, 1) for _ in range(200)])
    long.add_done_callback(lambda _: order.append("long"))
    assert model.entered.wait(10)
    short = [pool.submit([window(50, 2)]) for _ in range(5)]
    for future in short:
        future.add_done_callback(lambda _: order.append("short"))
    model.go.set()
    wait([long, *short], timeout=10)
    pool.close()
    assert order == ["short"] * 5 + ["long"]
    # The batch that was running is the document's; of each later one, half goes in turn.
    last_short = max(place for place, batch in enumerate(model.batches) if (50, 2) in batch)
    assert last_short <= 6
    assert sum(map(len, model.batches)) == 205


def test_a_long_document_ends_although_short_questions_keep_coming():
    model = Model(blocked=True)
    pool = batcher(model, batch_tokens=100)
    first = pool.submit([window(10, 1)])
    assert model.entered.wait(10)
    order = []
    long = pool.submit([window(10, 2) for _ in range(20)])
    long.add_done_callback(lambda _: order.append("long"))
    short = [pool.submit([window(10, 3)]) for _ in range(100)]
    for future in short:
        future.add_done_callback(lambda _: order.append("short"))
    model.go.set()
    wait([first, long, *short], timeout=10)
    pool.close()
    assert order.index("long") <= 25


def test_a_job_that_fails_the_model_fails_alone():
    model = Model(blocked=True)
    pool = batcher(model, batch_tokens=1000)
    good = [pool.submit([window(5, number)]) for number in range(3)]
    bad = pool.submit([window(5, BAD), window(5, 1), *(window(5, 2) for _ in range(300))])
    good += [pool.submit([window(5, number)]) for number in range(3)]
    model.go.set()
    assert [int(future.result(10)[0][0][0]) for future in good] == [0, 1, 2, 0, 1, 2]
    with pytest.raises(ValueError, match="bad window"):
        bad.result(10)
    assert int(pool.submit([window(3, 9)]).result(10)[0][0][0]) == 9
    pool.close()
    assert pool.waiting == 0
    assert sum(map(len, model.batches)) < 700  # the rest of the failed job was dropped


def test_a_job_beside_which_the_model_merely_died_is_run_again():
    model, failures = Model(), iter([True])

    def dies_once(windows):
        if next(failures, False):
            raise ConnectionError("died")
        return model(windows)

    pool = batcher(dies_once)
    assert int(pool.submit([window(5, 3)]).result(10)[0][0][0]) == 3
    pool.close()


def test_a_job_that_always_fails_is_given_up_after_two_runs_and_its_other_windows_are_not_tried():
    runs = []

    def always(windows):
        runs.append(len(windows))
        raise ConnectionError("died")

    pool = batcher(always, batch_tokens=100)
    with pytest.raises(ConnectionError):
        pool.submit([window(5)] * 20).result(10)
    pool.close()
    assert runs == [20, 1]


def test_the_queue_is_bounded_and_opens_again():
    model = Model(blocked=True)
    pool = batcher(model, batch_tokens=10, queue_windows=4)
    running = pool.submit([window(10)])
    assert model.entered.wait(10)
    waiting = pool.submit([window(10)] * 4)
    with pytest.raises(QueueFullError) as error:
        pool.submit([window(10)])
    assert 1 <= error.value.retry_after <= 60
    model.go.set()
    wait([running, waiting], timeout=10)
    pool.submit([window(10)]).result(10)
    pool.close()


def test_who_leaves_frees_the_queue():
    model = Model(blocked=True)
    pool = batcher(model, batch_tokens=10, queue_windows=4)
    running = pool.submit([window(10)])
    assert model.entered.wait(10)
    left = pool.submit([window(10, 7)] * 4)
    assert left.cancel()
    model.go.set()
    running.result(10)
    assert int(pool.submit([window(10, 8)]).result(10)[0][0][0]) == 8
    pool.close()
    with pytest.raises(CancelledError):
        left.result(0)
    assert [(10, 7)] not in model.batches


def test_closing_finishes_what_was_accepted_and_takes_no_more():
    model = Model(blocked=True)
    pool = batcher(model, batch_tokens=10)
    futures = [pool.submit([window(10, number)] * 3) for number in range(20)]
    closer = threading.Thread(target=pool.close)
    closer.start()
    while pool.alive:
        pass
    with pytest.raises(QueueFullError):
        pool.submit([window(10)])
    model.go.set()
    closer.join(10)
    assert [int(future.result(0)[0][2][0]) for future in futures] == list(range(20))
