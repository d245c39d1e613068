"""`destila bench --pareto`: every way to run the given models, and the one to take."""

import sys
from pathlib import Path
from typing import Any

from destila.cli.result import show
from destila.config import BenchSettings
from destila.core.cpus import thread_count
from destila.core.language import say
from destila.core.runs import command_line, environment, write_text
from destila.evaluation.pareto import frontier
from destila.evaluation.variants import Selection, format_rows, select
from destila.reporting.svg import Dot, scatter_chart


def run(settings: BenchSettings) -> dict[str, Any]:
    """Measure, choose, print a table and the choice; leave with 1 where nothing keeps the budget."""
    found = select(settings)
    result: dict[str, Any] = {
        "rows": list(found.rows),
        "choice": found.choice.name if found.choice else None,
        "why": found.why,
        "budget": {name: getattr(settings, name) for name in ("max_ms", "max_mb", "min_f1")},
        "environment": {**environment(), "threads": thread_count(settings.threads), "command": command_line()},
    }
    if settings.plot:
        write_text(Path(settings.plot), _chart(found, settings))
    parts = [format_rows(found.rows), *([say(found.why)] if found.choice else [])]
    show(result, "\n\n".join(parts), json=settings.json)
    if found.choice is None:
        print(say("Nothing keeps the budget."), say(found.why), file=sys.stderr)
        sys.exit(1)
    return result


def _chart(found: Selection, settings: BenchSettings) -> str:
    best = frontier(found.points)
    dots = [
        Dot(
            point.name,
            point.ms,
            point.f1,
            point.mb,
            on_line=point in best,
            chosen=point == found.choice,
            note=f"{point.name}: {point.f1:.1f}, {point.ms:.1f} ms, {point.mb:.1f} MB",
        )
        for point in found.points
        if point.f1 is not None
    ]
    return scatter_chart(
        dots,
        title="Quality against latency; areas are sizes",
        x_axis=f"ms of a query of {settings.lengths[0]} tokens (median)",
        y_axis="F1",
        x_limit=settings.max_ms,
        y_limit=settings.min_f1 or None,
    )
