"""`destila bench --pareto`: every way to run the given models, measured as far as it matters, and the one to take.

Mental model: variants (a model or an export of it, and a run time that is installed) -> size and latency, side by
side -> quality of those that keep their limits of both -> `destila.evaluation.pareto` chooses. What was skipped stands
in the table, with the reason.
"""

import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from destila.config import BenchSettings
from destila.core.cpus import thread_count
from destila.core.errors import UserError
from destila.core.formatting import with_interval
from destila.core.language import say
from destila.core.metadata import ModelMetadata
from destila.core.progress import Progress
from destila.core.records import Example, Prediction
from destila.core.runs import METADATA_FILE, command_line, environment, write_text
from destila.core.strict_json import dumps
from destila.data.sources import load_gold
from destila.evaluation import benchmark
from destila.evaluation.evaluate import make_report, signature, table
from destila.evaluation.metrics import score
from destila.evaluation.pareto import Budget, Point, ask, choose, frontier, why_nothing_fits
from destila.evaluation.predictions import answer_texts
from destila.inference.backends import CHOICES
from destila.inference.backends.files import ONNX_FILE, ONNX_WEIGHTS
from destila.inference.reader import place_of
from destila.models.hub import locate
from destila.reporting.charts import Dot, scatter_chart

SHARED_FILES = ("config.json", "tokenizer.json", METADATA_FILE)
WEIGHT_FILES = {
    "torch": ("*.safetensors",),
    "onnx": (ONNX_FILE, ONNX_WEIGHTS),
    "openvino": ("openvino.xml", "openvino.bin"),
}


@dataclass(frozen=True, slots=True)
class Variant:
    """A directory and what runs it."""

    directory: Path
    backend: str
    precision: str

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return f"{self.directory.name}, {self.backend} {self.precision}"

    def megabytes(self) -> float:
        """Size of the files that this run time needs."""
        patterns = (*WEIGHT_FILES[self.backend], *SHARED_FILES)
        return sum(file.stat().st_size for pattern in patterns for file in self.directory.glob(pattern)) / 1e6


def run(settings: BenchSettings) -> dict[str, Any]:
    """Measure, choose, print a table, the choice and one JSON object; leave with 1 where nothing keeps the budget.

    Raises:
        UserError: no data, no variant that can be run, or a model that cannot be loaded.
    """
    if not settings.data:
        raise UserError("destila bench --pareto", "needs --data", "Name questions to judge quality on.")
    budget = Budget(settings.max_ms or math.inf, settings.max_mb or math.inf, settings.min_f1)
    found = variants(settings)
    examples = [example for example in load_gold(settings.data) if example.labelled]
    examples = random.Random(1).sample(examples, min(len(examples), settings.max_examples or len(examples)))
    rows = measured(found, budget, settings, examples)
    points = [row["point"] for row in rows]
    choice = choose(points, budget)
    why = explain(choice, points, budget) if choice else why_nothing_fits(points, budget)
    told = [_as_json(row, points, choice) for row in rows]
    result: dict[str, Any] = {
        "rows": told,
        "choice": choice.name if choice else None,
        "why": why,
        "budget": {name: getattr(settings, name) for name in ("max_ms", "max_mb", "min_f1")},
        "environment": {**environment(), "threads": thread_count(settings.threads), "command": command_line()},
    }
    if settings.plot:
        write_text(Path(settings.plot), _chart(points, choice, settings))
    if not settings.json:
        print(_table(told), say(why), sep="\n\n", end="\n\n")
    print(dumps(result))
    if choice is None:
        print(say("Nothing keeps the budget."), say(why), file=sys.stderr)
        sys.exit(1)
    return result


# ---------------------------------------------------------------------------------------------------- what there is
def variants(settings: BenchSettings) -> list[Variant]:
    """Every installed way to run the given models and the exports that lie beside them.

    Raises:
        UserError: there is none.
    """
    directories: list[Path] = []
    models: Sequence[str | None] = settings.model or [None]
    for name in models:
        directory = locate(place_of(name)).directory
        directories += [directory, *exports_of(directory)]
    found, missing = [], []
    for directory in dict.fromkeys(path.resolve() for path in directories):
        for backend, _, library in CHOICES:
            if not any(any(directory.glob(pattern)) for pattern in WEIGHT_FILES[backend]):
                continue
            if settings.backend not in ("auto", backend):
                continue
            if not find_spec(library):
                missing.append(f"{directory.name}: {backend} is not installed, so it is left out")
                continue
            precision = "fp32" if backend == "torch" else ModelMetadata.read(directory).precision
            found.append(Variant(directory, backend, precision))
    for line in missing:
        print(say(line), file=sys.stderr)
    if not found:
        raise UserError("--model", "names nothing that can be run here", "Install a run time, or name another.")
    return found


def exports_of(directory: Path) -> list[Path]:
    """The exports of a model that lie in the directories beside it."""
    found = []
    for path in sorted(directory.resolve().parent.glob(f"*/{METADATA_FILE}")):
        metadata = ModelMetadata.read(path.parent)
        if metadata.is_export and Path(str(metadata.source.get("model"))).resolve() == directory.resolve():
            found.append(path.parent)
    return found


# ---------------------------------------------------------------------------------------------------- measures
def measured(
    found: Sequence[Variant], budget: Budget, settings: BenchSettings, examples: Sequence[Example]
) -> list[dict[str, Any]]:
    """A row for each variant: its point, and for those that were asked everything the report of their quality."""
    threads, readers = thread_count(settings.threads), []
    for variant in found:
        candidate = benchmark.load_candidate(str(variant.directory), backend=variant.backend, threads=threads)
        readers.append(candidate.reader)
    progress = Progress(settings.rounds + 1, what="Timing", unit="rounds")
    tick = lambda: progress.advance(1)  # noqa: E731
    times = benchmark.latencies(readers, tokens=settings.lengths[0], rounds=settings.rounds, tick=tick)
    progress.close()
    points = [
        Point(variant.name, float(np.median(values)), variant.megabytes())
        for variant, values in zip(found, times, strict=True)
    ]
    answers: list[dict[str, Prediction]] = [{} for _ in found]

    def ask_reader(place: int, start: int, stop: int) -> float:
        part = examples[start:stop]
        said = readers[place].predict(part)
        answers[place] |= said
        return float(score(part, answer_texts(said), normalizer="squad").f1.sum())

    asked = ask(points, budget, ask_reader, questions=len(examples))
    return [
        {"variant": variant, "point": point, "report": _report(point, examples, answers[place], settings)}
        for place, (variant, point) in enumerate(zip(found, asked, strict=True))
    ]


def _report(
    point: Point, examples: Sequence[Example], answers: dict[str, Prediction], settings: BenchSettings
) -> dict[str, Any]:
    """Interval and signature of a quality that is known."""
    if point.f1 is None:
        return {"f1_ci": None, "signature": None}
    scored = score(examples, answer_texts(answers), normalizer="squad")
    report = make_report(scored, examples, model=point.name, data=", ".join(settings.data))
    return {"f1_ci": report.f1_ci, "signature": signature(report)}


# ---------------------------------------------------------------------------------------------------- output
def explain(choice: Point, points: Sequence[Point], budget: Budget) -> str:
    """Which point to take and why, in a sentence or two."""
    asked = [point for point in points if point.f1 is not None]
    numbers = f"{choice.ms:.1f} ms, {choice.mb:.1f} MB, F1 {choice.f1:.2f}"
    rule = "the fastest" if budget.min_f1 else "the best"
    limits = [f"--max-ms {budget.max_ms:g}"] * math.isfinite(budget.max_ms)
    limits += [f"--max-mb {budget.max_mb:g}"] * math.isfinite(budget.max_mb)
    limits += [f"--min-f1 {budget.min_f1:g}"] * bool(budget.min_f1)
    within = f" that keeps {', '.join(limits)}" if limits else ""
    counted = f"{len(asked)} of {len(points)} were asked every question"
    return f"Take {choice.name} ({numbers}): {rule}{within}. {counted}; the others could not win."


def _as_json(row: dict[str, Any], points: Sequence[Point], choice: Point | None) -> dict[str, Any]:
    point, variant = row["point"], row["variant"]
    best = frontier(points)
    if point == choice:
        verdict = "chosen"
    elif point in best:
        verdict = "on the frontier"
    else:
        verdict = point.skipped or "dominated"
    return {
        "name": point.name,
        "model": str(variant.directory),
        "backend": variant.backend,
        "precision": variant.precision,
        "p50_ms": point.ms,
        "megabytes": point.mb,
        "f1": point.f1,
        **row["report"],
        "verdict": verdict,
    }


def _table(rows: Sequence[dict[str, Any]]) -> str:
    head = ["reader", "p50 ms", "MB", "F1 [95 %]", "verdict"]
    cells = []
    for row in rows:
        quality = "-"
        if row["f1"] is not None:
            quality = with_interval(row["f1"], row["f1_ci"])
        cells.append([row["name"], f"{row['p50_ms']:.1f}", f"{row['megabytes']:.1f}", quality, say(row["verdict"])])
    notes = list(dict.fromkeys(row["signature"] for row in rows if row["signature"]))
    return "\n".join([table(head, cells), *notes])


def _chart(points: Sequence[Point], choice: Point | None, settings: BenchSettings) -> str:
    best = frontier(points)
    dots = [
        Dot(point.name, point.ms, point.f1, point.mb, on_line=point in best, chosen=point == choice)
        for point in points
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
