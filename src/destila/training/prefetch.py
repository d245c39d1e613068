"""Rows made ahead of training by worker processes, in the order in which they are asked for.

Mental model: `at(step)` is a pure function; workers evaluate it for the steps to come while the device works on this
one. So the rows do not depend on how many workers there are, and a step that is asked for out of order is only late.

Invariant: workers die with the process that started them, and leave stop requests to it.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from types import TracebackType
from typing import Any, Generic, TypeVar

Rows = TypeVar("Rows", bound=Sequence[Any])

_make: Callable[[int], Any]  # in a worker: what makes the rows of a step


class Prefetched(Generic[Rows]):
    """`destila.training.task.Batches` whose rows are made by workers; a context manager.

    Args:
        prepare: called once in each process with `arguments`; returns the function from steps to rows. Picklable.
        workers: processes; 0: rows are made when they are asked for, by this one.
        ahead: steps that are made or being made at any moment.
    """

    def __init__(
        self,
        prepare: Callable[..., Callable[[int], Rows]],
        arguments: tuple[Any, ...],
        *,
        steps_per_epoch: int,
        workers: int,
        ahead: int = 0,
    ) -> None:
        self.steps_per_epoch, self.ahead = steps_per_epoch, ahead or 2 * workers
        self._pending: dict[int, Future[Rows]] = {}
        self._pool: ProcessPoolExecutor | None = None
        if workers:
            # Not forked: the threads of torch and tokenizers do not survive it.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(workers, context, _prepare_worker, (prepare, arguments))
        else:
            self._make = prepare(*arguments)

    def at(self, step: int) -> Rows:
        """The rows of a step."""
        if self._pool is None:
            return self._make(step)
        wanted = range(step, step + self.ahead)
        self._pending = {number: future for number, future in self._pending.items() if number in wanted}
        for number in wanted:
            if number not in self._pending:
                self._pending[number] = self._pool.submit(_make_in_worker, number)
        return self._pending.pop(step).result()

    def __enter__(self) -> "Prefetched[Rows]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the workers."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _prepare_worker(prepare: Callable[..., Callable[[int], Any]], arguments: tuple[Any, ...]) -> None:
    global _make
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # a terminal sends them to us, too: the parent ends us when it is done
        signal.signal(number, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _make = prepare(*arguments)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make_in_worker(step: int) -> Any:
    return _make(step)
