"""One model, many requests: windows of all waiting requests run together, a few of each in turn.

Mental model: a request is a job, a list of windows. One thread fills a batch up to a budget of tokens and runs it,
again and again. One half of the budget goes in turn, a window of each open job, so that no question waits for the long
document of another; the other half goes to the jobs that came first, so that long documents end as well (in turn alone,
the slowest of a hundred requests took twelve times the median).

Invariants: at most `queue_windows` windows wait, and the later parts of long texts whose first part was taken; what was
accepted is finished, also when the batcher is closed, unless its future is cancelled; what fails is tried once more by
itself, so that a job that makes the model fail fails alone, and one beside which the model merely died does not. This
module knows no texts and no HTTP.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

from destila.data.windows import Window
from destila.inference.backends import Logits
from destila.inference.reader import WindowLogits

SHORTEST_BESIDE = 0.7  # rows shorter than this share of the longest run apart: else padding eats what batching gains
RATE_MEMORY = 0.9  # how much of the measured speed is kept from batch to batch


class QueueFullError(Exception):
    """There is no room; come back after `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full for about {retry_after} s")
        self.retry_after = retry_after


@dataclass(slots=True, eq=False)
class _Job:
    """The windows of one request, the `number`-th to come. The first `taken` have been handed to the model."""

    windows: Sequence[Window]
    number: int
    watch: Callable[[int], None]
    future: "Future[WindowLogits]" = field(default_factory=Future)
    starts: dict[int, Logits] = field(default_factory=dict)
    ends: dict[int, Logits] = field(default_factory=dict)
    taken: int = 0
    came: float = field(default_factory=time.perf_counter)
    began: float = 0.0  # when its first window ran

    @property
    def next_tokens(self) -> int:
        """Tokens of the next window to hand out; 0: there is none."""
        return len(self.windows[self.taken].input_ids) if self.taken < len(self.windows) else 0

    def finish(self) -> bool:
        """Hand over the result, once every window is done; whether it is."""
        if len(self.starts) < len(self.windows):
            return False
        order = range(len(self.windows))
        self.settle(result=([self.starts[place] for place in order], [self.ends[place] for place in order]))
        return True

    def settle(self, *, result: WindowLogits | None = None, error: Exception | None = None) -> None:
        """Set the future, unless whoever waited has left or the job has failed already."""
        try:
            if error is not None:
                self.future.set_exception(error)
            elif result is not None:
                self.future.set_result(result)
        except InvalidStateError:
            pass


_Place = tuple[_Job, int]  # a window: its job, and which of the job's it is


class Batcher:
    """Runs the windows of many jobs through one model, on a thread of its own.

    Args:
        logits: runs windows, usually `Reader.logits`; called from the one thread only.
        batch_tokens: tokens of the windows that are taken at once; a longer window runs alone.
        queue_windows: most windows that may wait.
        padded: the model fills rows up to the longest of a run, so that only windows of about one length run together.
        observe: is told of each run of the model: windows, tokens with the padding that there is, seconds.
        spent: is told of each job what it spent: ("queue", seconds until its first window ran), ("model", seconds from
            there until its last had run).
    """

    def __init__(
        self,
        logits: Callable[[Sequence[Window]], WindowLogits],
        *,
        batch_tokens: int,
        queue_windows: int,
        padded: bool = True,
        observe: Callable[[int, int, float], None] = lambda windows, tokens, seconds: None,
        spent: Callable[[str, float], None] = lambda stage, seconds: None,
    ) -> None:
        self._logits, self._observe, self._spent = logits, observe, spent
        self._batch_tokens, self._queue_windows, self._padded = batch_tokens, queue_windows, padded
        self._jobs: deque[_Job] = deque()  # the first is served next
        self._waiting = self._accepted = 0
        self._windows_per_second = 100.0  # a guess until the first batch is done
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="destila-model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Windows that wait."""
        return self._waiting

    @property
    def alive(self) -> bool:
        """Whether jobs are taken."""
        return self._thread.is_alive() and not self._closing

    def submit(
        self, windows: Sequence[Window], *, accepted: bool = False, watch: Callable[[int], None] = lambda done: None
    ) -> "Future[WindowLogits]":
        """Queue windows of a request, at least one; the future gives their logits in order.

        Args:
            accepted: earlier windows of the request were taken, so that these are, too, however many wait.
            watch: is told how many of the windows have run.

        Raises:
            QueueFullError: too many windows wait, or the batcher is closed.
        """
        with self._changed:
            is_full = self._waiting + len(windows) > self._queue_windows and not accepted
            if self._closing or is_full:
                raise QueueFullError(self.retry_after())
            job = _Job(windows, self._accepted, watch)
            self._accepted += 1
            self._jobs.append(job)
            self._waiting += len(windows)
            self._changed.notify()
        return job.future

    def retry_after(self) -> int:
        """Whole seconds after which what waits now should be done, 1 to 60."""
        return min(60, max(1, math.ceil(self._waiting / self._windows_per_second)))

    def close(self) -> None:
        """Take no more jobs and finish those that were taken."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    # ------------------------------------------------------------------------------------------ the thread
    def _work(self) -> None:
        while batch := self._next_batch():
            for places in _alike(batch) if self._padded else [batch]:
                self._run(places)

    def _next_batch(self) -> list[_Place]:
        """Wait for windows and take a batch of them; empty once closed and done."""
        with self._changed:
            while True:
                if batch := self._take():
                    return batch
                if self._closing:
                    return []
                self._changed.wait()

    def _take(self) -> list[_Place]:
        self._drop_done()
        batch, tokens = list[_Place](), 0
        while self._jobs:
            job = self._jobs[0]
            if batch and tokens + job.next_tokens > self._batch_tokens // 2:
                break  # this job is the next in turn
            tokens += job.next_tokens
            batch.append(self._hand_out(job))
            self._jobs.rotate(-1)
            if job.next_tokens == 0:
                self._jobs.pop()
        for job in sorted(self._jobs, key=lambda job: job.number):
            while 0 < job.next_tokens <= self._batch_tokens - tokens:
                tokens += job.next_tokens
                batch.append(self._hand_out(job))
        self._jobs = deque(job for job in self._jobs if job.next_tokens)
        return batch

    def _hand_out(self, job: _Job) -> _Place:
        self._waiting -= 1
        job.taken += 1
        return job, job.taken - 1

    def _drop_done(self) -> None:
        """Forget the jobs that were cancelled or have failed: nobody waits for the rest of them."""
        self._waiting -= sum(len(job.windows) - job.taken for job in self._jobs if job.future.done())
        self._jobs = deque(job for job in self._jobs if not job.future.done())

    def _run(self, places: Sequence[_Place], *, again: bool = False) -> None:
        """Run windows together and hand on what is finished; if that fails, one by one, to find whose fault it is."""
        windows = [job.windows[place] for job, place in places]
        began = time.perf_counter()
        for job, _ in places:
            if not job.began:
                job.began = began
                self._spent("queue", began - job.came)
        try:
            starts, ends = self._logits(windows)
        except Exception as error:
            if again:
                places[0][0].settle(error=error)
                return
            for one in places:  # also if it is one: perhaps the model died beside it
                if not one[0].future.done():
                    self._run([one], again=True)
            return
        for (job, place), start, end in zip(places, starts, ends, strict=True):
            job.starts[place], job.ends[place] = start, end
            job.watch(len(job.starts))
            if job.finish():
                self._spent("model", time.perf_counter() - job.began)
        self._measure(windows, time.perf_counter() - began)

    def _measure(self, windows: Sequence[Window], seconds: float) -> None:
        speed = len(windows) / max(seconds, 1e-6)
        self._windows_per_second = RATE_MEMORY * self._windows_per_second + (1 - RATE_MEMORY) * speed
        lengths = [len(window.input_ids) for window in windows]
        self._observe(len(windows), len(windows) * max(lengths) if self._padded else sum(lengths), seconds)


def _alike(batch: Sequence[_Place]) -> list[list[_Place]]:
    """The windows of a batch in groups of about one length, short ones first: they are done soonest."""
    lengths = {place: len(place[0].windows[place[1]].input_ids) for place in batch}
    groups, longest = list[list[_Place]](), 0
    for place in sorted(batch, key=lambda place: -lengths[place]):
        if not groups or lengths[place] < SHORTEST_BESIDE * longest:
            groups.append([])
            longest = lengths[place]
        groups[-1].append(place)
    return groups[::-1]
