"""`destila bench`: time readers against each other, in one process and one sitting.

Every figure is from text to answer. Speedups are relative to the first model, at the same length.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from destila.cli import pareto
from destila.config import BenchSettings
from destila.core.cpus import thread_count
from destila.core.errors import UserError
from destila.core.progress import Progress
from destila.core.runs import command_line, environment, write_text
from destila.evaluation import benchmark
from destila.evaluation.evaluate import table
from destila.reporting.charts import Bar, bar_chart

Row = dict[str, Any]
THROUGHPUT_ROUNDS = 3


def run(settings: BenchSettings) -> dict[str, Any]:
    """Measure, print a table and the same as one JSON object, and return that object.

    Raises:
        UserError: a model cannot be loaded, or a length is longer than its windows.
    """
    if settings.pareto:
        return pareto.run(settings)
    _check(settings)
    threads = thread_count(settings.threads)
    models: Sequence[str | None] = settings.model or [None]
    candidates = [benchmark.load_candidate(model, backend=settings.backend, threads=threads) for model in models]
    rows = _measure(settings, candidates, threads=threads)
    found: dict[str, Any] = {
        "rows": rows,
        "environment": {**environment(), "threads": threads, "command": command_line()},
    }
    if settings.plot:
        write_text(Path(settings.plot), _chart(rows))
    if not settings.json:
        print(_format(rows, found["environment"]), end="\n\n")
    print(json.dumps(found))
    return found


def _check(settings: BenchSettings) -> None:
    given = {"--data": settings.data, "--max-ms": settings.max_ms, "--max-mb": settings.max_mb}
    given["--min-f1"] = settings.min_f1
    problems = [f"{name}: is for --pareto" for name, value in given.items() if value]
    if problems:
        raise UserError.from_problems("destila bench", problems, "Give --pareto, too, or leave it out.")


def _measure(settings: BenchSettings, candidates: Sequence[benchmark.Candidate], *, threads: int) -> list[Row]:
    """One row for each length and model."""
    readers = [candidate.reader for candidate in candidates]
    longest = max(settings.lengths)
    turns = (settings.rounds + THROUGHPUT_ROUNDS + 2) * len(settings.lengths)
    progress = Progress(turns, what="Timing", unit="rounds")
    tick = lambda: progress.advance(1)  # noqa: E731
    rows: list[Row] = []
    for tokens in settings.lengths:
        times = benchmark.latencies(readers, tokens=tokens, rounds=settings.rounds, tick=tick)
        rates = benchmark.throughputs(readers, tokens=tokens, count=settings.batch, rounds=THROUGHPUT_ROUNDS, tick=tick)
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
            pair = benchmark.query(candidate.reader, tokens=longest)
            cold = benchmark.cold_start(candidate.place, backend=settings.backend, threads=threads, pair=pair)
            more = {"peak_rss_mb": cold.peak_rss_mb, "cold_start_s": cold.seconds, "installed_mb": cold.installed_mb}
        for row in rows[place :: len(candidates)]:
            row |= more
    return rows


def _row(candidate: benchmark.Candidate, tokens: int, times: Sequence[float], rate: float) -> Row:
    p50, p95, p99 = np.percentile(times, (50, 95, 99)).tolist()
    outside = benchmark.share_outside_network(candidate.reader, tokens=tokens, count=8)
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


# ---------------------------------------------------------------------------------------------------- output
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


def _format(rows: Sequence[Row], environment: Row) -> str:
    head = [title for title, _, _ in COLUMNS]
    cells = [[_cell(row[key], form, key) for _, key, form in COLUMNS] for row in rows]
    libraries = ", ".join(f"{name} {version}" for name, version in environment["libraries"].items())
    machine = f"{environment['processor']}, {environment['threads']} threads, Python {environment['python']}"
    return f"{machine}; {libraries}\n\n{table(head, cells)}"


def _cell(value: Any, form: str, key: str) -> str:
    if value is None:
        return "-"
    return form.format(value / 1e6 if key == "bytes" else value)


def _chart(rows: Sequence[Row]) -> str:
    bars = [
        Bar(
            f"{Path(row['model']).name}, {row['backend']} {row['precision']}, {row['tokens']} tokens",
            row["p50_ms"],
            row["p95_ms"],
            f"{row['p50_ms']:.1f} ms, {row['speedup']:.1f}x",
        )
        for row in rows
    ]
    return bar_chart(bars, title="One query, from text to answer", axis="ms (bar: median, whisker: 95th percentile)")
