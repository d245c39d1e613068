"""`destila bench`: time readers against each other, in one process and one sitting; or choose among them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from destila.cli import pareto
from destila.cli.result import show
from destila.config import BenchSettings
from destila.core.errors import UserError
from destila.core.outputs import check_file
from destila.core.runs import write_text
from destila.evaluation.timing import benchmark, format_benchmark
from destila.reporting.svg import Bar, bar_chart


def run(settings: BenchSettings) -> None:
    """Measure, and print a table."""
    check_file("--plot", settings.plot)
    if settings.pareto:
        pareto.run(settings)
        return
    _check(settings)
    found = benchmark(settings=settings)
    if settings.plot:
        write_text(Path(settings.plot), _chart(found.rows))
    result = {"rows": list(found.rows), "environment": found.environment}
    show(result, format_benchmark(found), json=settings.json)


def _check(settings: BenchSettings) -> None:
    given = {"--data": settings.data, "--max-ms": settings.max_ms, "--max-mb": settings.max_mb}
    given["--min-f1"] = settings.min_f1
    problems = [f"{name}: is for --pareto" for name, value in given.items() if value]
    if problems:
        raise UserError.from_problems("destila bench", problems, "Give --pareto, too, or leave it out.")


def _chart(rows: Sequence[Mapping[str, Any]]) -> str:
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
