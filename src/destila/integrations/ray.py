"""Answer on a Ray cluster, or on the cores of one machine: a reader in each worker, order kept.

Mental model: Ray Data streams rows through a pool of actors; each actor loads a reader once. `answer_dataset` adds
answers to a data set that Ray holds already; `answer_pieces` does what `destila answer` does with a file: Ray carries
the places of its pieces, the workers read and answer them, and the output comes back in the order of the file.

Invariants: rows come back in their order, whoever was first; nobody loads more than one reader; Ray reports nothing
over the network unless it was already running. A file must lie where every worker can read it. Answers are those of
`destila.inference.jsonl` and `destila.inference.reader`; this module decides nothing about them.
"""

import json
import logging
import os
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from destila.config import AnswerSettings
from destila.core.errors import UserError
from destila.core.strict_json import dumps
from destila.inference.jsonl import Answered, Position, answer_piece, pieces, read_piece
from destila.inference.reader import Reader

MOST_BLOCKS = 10_000  # Ray plans each block; more would cost it more than they balance
ROWS_AT_ONCE = 256
SHARE = "Put it where every worker sees it under the same path."


@dataclass(frozen=True)
class Workers:
    """Which reader the workers load, and how many they are.

    Attributes:
        count: actors, each with a reader of its own.
        threads: cores of each.
        model: and the rest: see `Reader.load`.
    """

    count: int
    model: str | None = None
    backend: str = "auto"
    revision: str | None = None
    threads: int = 1
    must_answer: bool = False
    no_answer_threshold: float | None = None
    max_error: float | None = None

    def load(self) -> Reader:
        """The reader of one worker."""
        return Reader.load(**{name: value for name, value in asdict(self).items() if name != "count"})


class _Worker:
    """An actor with a reader; loaded by its first task, where it can say what went wrong."""

    def __init__(self, workers: Workers, top_k: int, path: str = "") -> None:
        self.workers, self.top_k, self.path = workers, top_k, path

    @cached_property
    def reader(self) -> Reader:
        return self.workers.load()


class _DatasetWorker(_Worker):
    """Answers rows with the columns question and context."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        pairs = list(zip(map(str, batch["question"]), map(str, batch["context"]), strict=True))
        ranked = self.reader.rank(pairs, top_k=self.top_k)
        return batch | {"answers": np.array([dumps([asdict(one) for one in answers]) for answers in ranked])}


class _FileWorker(_Worker):
    """Answers the pieces of a file that it reads itself."""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        start, end = Position(row["first_line"], row["first_byte"]), Position(row["end_line"], row["end_byte"])
        answered, mistake = Answered(b"", 0, 0, end), ""
        try:
            with open(self.path, "rb") as file:
                answered = answer_piece(self.reader, read_piece(file, start, end), top_k=self.top_k)
        except OSError as error:
            mistake = dumps([self.path, f"cannot be read by a worker ({error.strerror})", SHARE])
        except UserError as error:  # as text: Ray's own errors lose what they were raised from
            mistake = dumps([error.where, error.problem, error.remedy])
        counts = {"questions": answered.questions, "errors": answered.errors}
        return {**row, "content": answered.content, **counts, "mistake": mistake}


def answer_dataset(dataset: Any, workers: Workers, *, top_k: int = 1) -> Any:
    """A data set with one more column, "answers": a JSON list of {"text", "start", "end", "score"}, best first.

    Args:
        dataset: a `ray.data.Dataset` with the columns question and context, texts; others are kept.
        workers: who answers.
        top_k: most answers to a question.

    Returns:
        A `ray.data.Dataset`, lazy as ever, in the same order.
    """
    _start()
    return dataset.map_batches(
        _DatasetWorker,
        fn_constructor_args=(workers, top_k),
        batch_size=ROWS_AT_ONCE,
        batch_format="numpy",
        **_pool(workers),
    )


def answer_pieces(path: Path, start: Position, workers: Workers, *, top_k: int = 1) -> Generator[Answered, None, None]:
    """Answer the lines of a file from `start` on, piece by piece, in order.

    Raises:
        UserError: a worker cannot read the file or load the model, or Ray cannot have so many cores.
    """
    ray_data = _start()
    rows = _places(path, start)
    if not rows:
        return
    _refuse_too_many(workers)
    answered = ray_data.from_items(rows, override_num_blocks=min(len(rows), MOST_BLOCKS)).map(
        _FileWorker, fn_constructor_args=(workers, top_k, str(path.resolve())), **_pool(workers)
    )
    for row in answered.iter_rows():
        if row["mistake"]:
            raise UserError(*json.loads(row["mistake"]))
        yield Answered(row["content"], row["questions"], row["errors"], Position(row["end_line"], row["end_byte"]))


def file_workers(settings: AnswerSettings) -> Callable[[Path, Position], Generator[Answered, None, None]]:
    """What answers a file on Ray as the settings say, from a position on; Ray starts when it begins."""
    threads = settings.threads or 1  # a worker takes so many of the cluster's cores
    workers = Workers(settings.ray_workers, settings.model, threads=threads, **settings.options)
    return lambda path, start: answer_pieces(path, start, workers, top_k=settings.top_k)


def _places(path: Path, start: Position) -> list[dict[str, int]]:
    """Where the pieces of a file lie: a few numbers for each, so that no text waits in memory."""
    with open(path, "rb") as file:
        file.seek(start.bytes)
        return [
            {
                "first_line": piece.start.lines,
                "first_byte": piece.start.bytes,
                "end_line": piece.end.lines,
                "end_byte": piece.end.bytes,
            }
            for piece in pieces(file, start)
        ]


# ------------------------------------------------------------------------------------------ Ray
def _start() -> Any:
    """ray.data, connected to the cluster that $RAY_ADDRESS names, or to one that is started here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        remedy = "pip install 'destila[ray]'"
        raise UserError("Ray", f"is not installed ({error.name} is missing)", remedy) from error
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    return ray.data


def _pool(workers: Workers) -> Mapping[str, Any]:
    import ray.data

    return {"compute": ray.data.ActorPoolStrategy(size=workers.count), "num_cpus": workers.threads}


def _refuse_too_many(workers: Workers) -> None:
    """More actors than cores would wait for ever, without a word."""
    import ray

    cores = int(ray.cluster_resources().get("CPU", 0))
    wanted = workers.count * workers.threads
    if wanted > cores:
        problem = f"{workers.count} workers of {workers.threads} threads need {wanted} cores, and Ray has {cores}"
        raise UserError("Ray", problem, "Ask for fewer workers, or add machines to the cluster.")
