"""From questions to answers without HTTP: the reader's own path, with a queue where its model was.

Mental model: a request has a thread, on which `Reader.read` runs; the logits come from the batcher's one thread, where
windows of all requests run together. The event loop only waits. Of the threads that tokenize and decode, few run at a
time: the model needs the cores. Invariant: answers are what `Reader.answers` gives, whatever else runs at the same
time. Limits on texts are checked before they come here; the number of windows, which nobody can know before, is checked
here.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import Unpack

from destila.config import ServeSettings
from destila.core.errors import UserError
from destila.core.records import Answer, Example, Prediction
from destila.data.windows import Window
from destila.inference.highlight import Sentence, SentenceScores
from destila.inference.questions import Pair, examples_of
from destila.inference.reader import Reader, Refusing, WindowLogits
from destila.serving.batching import Batcher, QueueFullError
from destila.serving.model_process import ModelDownError, ModelProcess
from destila.serving.prometheus import Measures

AT_WORK = 2  # threads that tokenize and decode; that is short beside the model, and more would take its cores


@dataclass(frozen=True, slots=True)
class Answered:
    """What a reader says to one question about one context; `sentences` are those that the answer needs, if asked."""

    prediction: Prediction
    answers: list[Answer]
    sentences: tuple[Sentence, ...] | None = None


@dataclass(slots=True)
class Progress:
    """How much of a request's texts the model has read, 0 to 1."""

    share: float = 0.0


class AnswerService:
    """Answers the questions of many clients with one reader."""

    def __init__(self, reader: Reader, settings: ServeSettings, measures: Measures) -> None:
        self.reader, self.settings, self.measures = reader, settings, measures
        self.open = 0
        self._threads = ThreadPoolExecutor(settings.queue.requests, thread_name_prefix="destila-texts")
        self._turns = threading.Semaphore(AT_WORK)
        self._batcher = Batcher(
            reader.logits,
            batch_tokens=settings.queue.batch_tokens,
            queue_windows=settings.queue.windows,
            padded=not getattr(reader.model, "one_by_one", False),
            observe=measures.observe_batch,
            spent=measures.observe_stage,
        )
        measures.watch_queue(lambda: self._batcher.waiting)
        self._process = reader.model if isinstance(reader.model, ModelProcess) else None
        if self._process is not None:
            measures.watch_restarts(lambda: self._process.restarts if self._process else 0)

    @property
    def ready(self) -> bool:
        """Whether questions are taken and the model runs."""
        return self._batcher.alive and (self._process is None or self._process.running)

    async def answer(
        self,
        pairs: Sequence[Pair],
        *,
        top_k: int,
        highlight: bool = False,
        progress: Progress | None = None,
        **refusing: Unpack[Refusing],
    ) -> list[Answered]:
        """What is said to each (question, context), in order.

        Args:
            highlight: say which sentences the answers need, too.
            progress: is kept up to date.

        Raises:
            QueueFullError: too much waits already.
            ModelDownError: the model's process died, and no other could be started yet.
            TimeoutError: it took longer than `queue.timeout`.
            UserError: as `Reader.read`; or the texts make too many windows.
        """
        if self._process is not None and self._process.down:
            raise ModelDownError
        if self.open >= self.settings.queue.requests:
            raise QueueFullError(self._batcher.retry_after())
        examples = examples_of(pairs)
        most = self.settings.limits.windows
        queue = _WayToTheModel(self._batcher, self._turns, most, examples, progress or Progress())

        def read() -> list[Answered]:
            with self._turns:
                if queue.left:  # while it waited for its turn: what nobody waits for is not even cut into tokens
                    return []
                queue.since = time.perf_counter()
                scores = [SentenceScores(example.context) for example in examples if highlight]
                looks = [one.look for one in scores]
                said = list(self.reader.read(examples, top_k=top_k, logits=queue.logits, looks=looks, **refusing))
                needed: list[tuple[Sentence, ...] | None] = [None] * len(said)
                if highlight:
                    needed = [one.best(prediction) for one, (prediction, _) in zip(scores, said, strict=True)]
                answered = [Answered(*one, sentences) for one, sentences in zip(said, needed, strict=True)]
                self.measures.observe_stage("tokenize", queue.tokenizing)
                self.measures.observe_stage("decode", queue.decoding + time.perf_counter() - queue.since)
                return answered

        self.open += 1
        try:
            async with asyncio.timeout(self.settings.queue.timeout):
                answered = await asyncio.get_running_loop().run_in_executor(self._threads, read)
        finally:
            queue.leave()  # nobody waits for what is left, if something is
            self.open -= 1
        self.measures.pairs.inc(len(pairs))
        return answered

    def close(self) -> None:
        """Finish what was accepted and take no more."""
        self._batcher.close()
        self._threads.shutdown()
        if self._process is not None:
            self._process.close()


class _WayToTheModel:
    """How the thread of one request gets its logits.

    Args:
        turns: held by the thread, and let go while it waits.
        most: windows that the request may have.
        examples: of the request; `progress` is counted in characters of their contexts.
    """

    def __init__(
        self, batcher: Batcher, turns: threading.Semaphore, most: int, examples: Sequence[Example], progress: Progress
    ) -> None:
        self._batcher, self._turns, self._most, self._progress = batcher, turns, most, progress
        self._firsts = list(accumulate((len(example.context) for example in examples), initial=0))
        self._read = 0  # characters that are behind the windows handed in so far
        self._windows, self.left = 0, False
        self.since = 0.0  # when the thread last began to work on the texts
        self.tokenizing = self.decoding = 0.0  # seconds of it, before the first windows and after them
        self._pending: Future[WindowLogits] | None = None

    def logits(self, windows: Sequence[Window]) -> WindowLogits:
        """The logits of the next windows of the request, once they have run among those of others.

        Raises:
            CancelledError: `leave` was called.
        """
        is_first = self._windows == 0
        worked = time.perf_counter() - self.since
        self.tokenizing, self.decoding = (worked, 0.0) if is_first else (self.tokenizing, self.decoding + worked)
        self._windows += len(windows)
        if self._windows > self._most:
            problem = f"make at least {self._windows} pieces for the model, and {self._most} are allowed"
            raise UserError("the texts", problem, "Ask fewer questions at once, or about shorter texts.")
        self._pending = self._batcher.submit(windows, accepted=not is_first, watch=self._watch(windows))
        if self.left:
            self._pending.cancel()
        self._turns.release()
        try:
            return self._pending.result()
        finally:
            self._turns.acquire()
            self.since = time.perf_counter()

    def _watch(self, windows: Sequence[Window]) -> Callable[[int], None]:
        """Keeps the progress up to date while these windows run."""
        last = windows[-1]
        before, behind = self._read, self._firsts[last.example] + int(last.offsets[-1:, 1].sum())
        self._read = behind

        def watch(done: int) -> None:
            self._progress.share = (before + (behind - before) * done / len(windows)) / max(1, self._firsts[-1])

        return watch

    def leave(self) -> None:
        """Wait for nothing more."""
        self.left = True
        if self._pending is not None:
            self._pending.cancel()
