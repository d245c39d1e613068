"""Time readers against each other, in one process and one sitting: what `destila.benchmark` does.

Every figure is from text to answer. Speedups are relative to the first model, at the same length.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from destila.config import BenchSettings
from destila.config.loader import settings_of
from destila.core.cpus import thread_count
from destila.core.language import say, say_name
from destila.core.progress import Listener, Progress, listening
from destila.core.runs import command_line, environment
from destila.evaluation import benchmark as clock
from destila.evaluation.evaluate import table
from destila.evaluation.scoring import given_models

Row = dict[str, Any]
THROUGHPUT_ROUNDS = 3


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark found.

    Attributes:
        rows: one for each length and model: latencies in ms, queries per second, sizes, what a cold start takes.
        environment: machine and libraries, threads and command.
    """

    rows: tuple[Mapping[str, Any], ...]
    environment: Mapping[str, Any]


def benchmark(
    models: str | Path | Sequence[str | Path] | None = None,
    *,
    settings: BenchSettings | Mapping[str, Any] | None = None,
    progress: Listener | None = None,
    **changes: Any,
) -> Benchmark:
    """Time readers against each other: latency, throughput, cold start, memory, disk.

    >>> import destila
    >>> found = destila.benchmark(["runs/teacher", "runs/student"], lengths=[64], rounds=2, batch=2, cold=False)
    >>> [row["tokens"] for row in found.rows], found.rows[0]["speedup"]
    ([64, 64], 1.0)

    Args:
        models: local directories or hub ids; None: the bundled model.
        settings: a `BenchSettings`, or None for the defaults.
        progress: is told of all progress; None: nobody is.
        changes: settings that differ, such as lengths=[192], backend="onnx" or threads=1.

    Raises:
        UserError: an empty list, a model cannot be loaded, or a length is longer than its windows.
    """
    names = given_models(models)
    chosen = settings_of(BenchSettings, settings, ({"model": names} if names else {}) | changes)
    threads = thread_count(chosen.threads)
    wanted: Sequence[str | None] = chosen.model or [None]
    with listening(progress):
        candidates = [clock.load_candidate(model, backend=chosen.backend, threads=threads) for model in wanted]
        rows = _measure(chosen, candidates, threads=threads)
    return Benchmark(tuple(rows), {**environment(), "threads": threads, "command": command_line()})


def _measure(settings: BenchSettings, candidates: Sequence[clock.Candidate], *, threads: int) -> list[Row]:
    """One row for each length and model."""
    readers = [candidate.reader for candidate in candidates]
    longest = max(settings.lengths)
    turns = (settings.rounds + THROUGHPUT_ROUNDS + 2) * len(settings.lengths)
    progress = Progress(turns, what="Timing", unit="rounds")
    tick = lambda: progress.advance(1)  # noqa: E731
    rows: list[Row] = []
    for tokens in settings.lengths:
        times = clock.latencies(readers, tokens=tokens, rounds=settings.rounds, tick=tick)
        rates = clock.throughputs(readers, tokens=tokens, count=settings.batch, rounds=THROUGHPUT_ROUNDS, tick=tick)
        rows += [
            _row(candidate, tokens, values, rate)
            for candidate, values, rate in zip(candidates, times, rates, strict=True)
        ]
        first = rows[-len(candidates)]
        for row in rows[-len(candidates) :]:
            row["speedup"] = first["p50_ms"] / row["p50_ms"]
            row["throughput_ratio"] = row["queries_per_s"] / first["queries_per_s"]
    progress.close()
    for place, candidate in enumerate(candidates):
        more: Row = {"peak_rss_mb": None, "cold_start_s": None, "installed_mb": None}
        if settings.cold:
            pair = clock.query(candidate.reader, tokens=longest)
            cold = clock.cold_start(candidate.place, backend=settings.backend, threads=threads, pair=pair)
            more = {"peak_rss_mb": cold.peak_rss_mb, "cold_start_s": cold.seconds, "installed_mb": cold.installed_mb}
        for row in rows[place :: len(candidates)]:
            row |= more
    return rows


def _row(candidate: clock.Candidate, tokens: int, times: Sequence[float], rate: float) -> Row:
    p50, p95, p99 = np.percentile(times, (50, 95, 99)).tolist()
    outside = clock.share_outside_network(candidate.reader, tokens=tokens, count=8)
    return {
        "model": candidate.name,
        "backend": candidate.backend,
        "precision": candidate.precision,
        "parameters": candidate.parameters,
        "bytes": candidate.bytes,
        "tokens": tokens,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "min_ms": min(times),
        "queries_per_s": rate,
        "outside_network": outside,
    }


# ---------------------------------------------------------------------------------------------------- table
COLUMNS = (
    ("model", "model", "{}"),
    ("run by", "backend", "{}"),
    ("precision", "precision", "{}"),
    ("parameters", "parameters", "{:,}"),
    ("MB on disk", "bytes", "{:.1f}"),
    ("tokens", "tokens", "{}"),
    ("p50 ms", "p50_ms", "{:.1f}"),
    ("p95 ms", "p95_ms", "{:.1f}"),
    ("p99 ms", "p99_ms", "{:.1f}"),
    ("speedup", "speedup", "{:.2f}x"),
    ("queries/s", "queries_per_s", "{:.1f}"),
    ("ratio", "throughput_ratio", "{:.2f}x"),
    ("outside network", "outside_network", "{:.1%}"),
    ("cold start s", "cold_start_s", "{:.2f}"),
    ("peak MB", "peak_rss_mb", "{:.0f}"),
    ("installed MB", "installed_mb", "{:.0f}"),
)


def format_benchmark(found: Benchmark) -> str:
    """The machine, and a table with a line for each row."""
    rows, environment = found.rows, found.environment
    head = [title for title, _, _ in COLUMNS]
    cells = [[_cell(row[key], form, key) for _, key, form in COLUMNS] for row in rows]
    libraries = ", ".join(f"{name} {version}" for name, version in environment["libraries"].items())
    machine = f"{environment['processor']}, {environment['threads']} threads, Python {environment['python']}"
    return f"{say(machine)}; {libraries}\n\n{table(head, cells)}"


def _cell(value: Any, form: str, key: str) -> str:
    if value is None:
        return "-"
    return form.format(value / 1e6 if key == "bytes" else say_name(value) if key == "model" else value)
