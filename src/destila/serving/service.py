"""From questions to answers without HTTP: the reader's three steps, each where it belongs.

Mental model: texts are cut into windows on a few helper threads, the windows run on the batcher's one thread, and the
logits are decoded on the helpers again; the event loop only waits. Invariant: answers are what `Reader.answers` gives,
whatever else runs at the same time. Limits on texts are checked before they come here; the number of windows, which
nobody can know before, is checked here.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from destila.config import ServeSettings
from destila.core.errors import UserError
from destila.core.records import Answer, Example, Prediction
from destila.inference.reader import Pair, Reader
from destila.serving.batching import Batcher, QueueFullError
from destila.serving.model_process import ModelDownError, ModelProcess
from destila.serving.prometheus import Measures

HELPERS = 2  # tokenising and decoding are short beside the model; more threads would take its cores
Answered = list[tuple[Prediction, list[Answer]]]


class AnswerService:
    """Answers the questions of many clients with one reader."""

    def __init__(self, reader: Reader, settings: ServeSettings, measures: Measures) -> None:
        self.reader, self.settings, self.measures = reader, settings, measures
        self.open = 0
        self._helpers = ThreadPoolExecutor(HELPERS, thread_name_prefix="destila-texts")
        self._batcher = Batcher(
            reader.logits,
            batch_tokens=settings.queue.batch_tokens,
            queue_windows=settings.queue.windows,
            padded=not getattr(reader.model, "one_by_one", False),
            observe=measures.observe_batch,
        )
        measures.watch_queue(lambda: self._batcher.waiting)
        self._process = reader.model if isinstance(reader.model, ModelProcess) else None
        if self._process is not None:
            measures.watch_restarts(lambda: self._process.restarts if self._process else 0)

    @property
    def ready(self) -> bool:
        """Whether questions are taken and the model runs."""
        return self._batcher.alive and (self._process is None or self._process.running)

    async def answer(self, pairs: Sequence[Pair], *, top_k: int) -> Answered:
        """Prediction and best answers of each (question, context), in order.

        Raises:
            QueueFullError: too much waits already.
            ModelDownError: the model's process died, and no other could be started yet.
            TimeoutError: it took longer than `queue.timeout`.
            UserError: a question is empty or too long for the model, or the texts make too many windows.
        """
        if self._process is not None and self._process.down:
            raise ModelDownError
        if self.open >= self.settings.queue.requests:
            raise QueueFullError(self._batcher.retry_after())
        self.open += 1
        try:
            async with asyncio.timeout(self.settings.queue.timeout):
                return await self._answer(pairs, top_k)
        finally:
            self.open -= 1

    async def _answer(self, pairs: Sequence[Pair], top_k: int) -> Answered:
        examples = [Example(f"question {number}", *pair) for number, pair in enumerate(pairs, 1)]
        helper = asyncio.get_running_loop().run_in_executor
        windows = await helper(self._helpers, self.reader.windows, examples)
        if len(windows) > self.settings.limits.windows:
            problem = f"make {len(windows)} pieces for the model, and {self.settings.limits.windows} are allowed"
            raise UserError("the texts", problem, "Ask fewer questions at once, or about shorter texts.")
        starts, ends = await asyncio.wrap_future(self._batcher.submit(windows))
        decode = self.reader.decode
        answered = await helper(self._helpers, lambda: list(decode(examples, windows, starts, ends, top_k=top_k)))
        self.measures.pairs.inc(len(pairs))
        return answered

    def close(self) -> None:
        """Finish what was accepted and take no more."""
        self._batcher.close()
        self._helpers.shutdown()
        if self._process is not None:
            self._process.close()
