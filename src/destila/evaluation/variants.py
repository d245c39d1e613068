"""Every way to run the given models, measured as far as it matters, and the one to take: `destila bench --pareto`.

Mental model: variants (a model or an export of it, and a run time that is installed) -> size and latency, side by
side -> quality of those that keep their limits of both -> `destila.evaluation.pareto` chooses. What was skipped stands
in the rows, with the reason.
"""

import logging
import math
import random
from collections.abc import Mapping, Sequence
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
from destila.core.model_files import CONFIG_FILE, METADATA_FILE, TOKENIZER_FILE, WEIGHTS, find_files
from destila.core.progress import Progress
from destila.core.records import Example, Prediction
from destila.data.sources import load_gold, require_labeled
from destila.evaluation import benchmark
from destila.evaluation.evaluate import make_report, signature, table
from destila.evaluation.metrics import score
from destila.evaluation.pareto import Budget, Point, ask, choose, frontier, why_nothing_fits
from destila.evaluation.predictions import answer_texts
from destila.inference.backends import CHOICES
from destila.inference.places import directory_of

LOG = logging.getLogger(__name__)
SHARED_FILES = (CONFIG_FILE, TOKENIZER_FILE, METADATA_FILE)


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
        files = find_files(self.directory, (*WEIGHTS[self.backend], *SHARED_FILES))
        return sum(file.stat().st_size for file in files) / 1e6


@dataclass(frozen=True)
class Selection:
    """What was measured and what to take."""

    rows: Sequence[Mapping[str, Any]]  # one for each variant, as the JSON of `destila bench --pareto` has them
    points: Sequence[Point]  # the same, as `destila.evaluation.pareto` sees them
    choice: Point | None  # None where nothing keeps the budget
    why: str  # in a sentence or two


def select(settings: BenchSettings) -> Selection:
    """Measure what may matter, and choose.

    Raises:
        UserError: no data, no variant that can be run, or a model that cannot be loaded.
    """
    if not settings.data:
        raise UserError("destila bench --pareto", "needs --data", "Name questions to judge quality on.")
    budget = Budget(settings.max_ms or math.inf, settings.max_mb or math.inf, settings.min_f1)
    found = variants(settings)
    examples = [example for example in load_gold(settings.data) if example.labeled]
    require_labeled(examples, ", ".join(settings.data))
    examples = random.Random(1).sample(examples, min(len(examples), settings.max_examples or len(examples)))
    points, reports = _measured(found, budget, settings, examples)
    choice = choose(points, budget)
    why = _explain(choice, points, budget) if choice else why_nothing_fits(points, budget)
    rows = [_row(*each, points, choice) for each in zip(found, points, reports, strict=True)]
    return Selection(rows, points, choice, why)


# ---------------------------------------------------------------------------------------------------- what there is
def variants(settings: BenchSettings) -> list[Variant]:
    """Every installed way to run the given models and the exports that lie beside them.

    Raises:
        UserError: there is none.
    """
    directories: list[Path] = []
    models: Sequence[str | None] = settings.model or [None]
    for name in models:
        directory = directory_of(name)
        directories += [directory, *_exports_of(directory)]
    found = []
    for directory in dict.fromkeys(path.resolve() for path in directories):
        for backend, _, library in CHOICES:
            if settings.backend not in ("auto", backend) or not find_files(directory, WEIGHTS[backend]):
                continue
            if not find_spec(library):
                LOG.info(f"{directory.name}: {backend} is not installed, so it is left out")
                continue
            precision = "fp32" if backend == "torch" else ModelMetadata.read(directory).precision
            found.append(Variant(directory, backend, precision))
    if not found:
        raise UserError("--model", "names nothing that can be run here", "Install a run time, or name another.")
    return found


def _exports_of(directory: Path) -> list[Path]:
    """The exports of a model that lie in the directories beside it."""
    found = []
    for path in sorted(directory.resolve().parent.glob(f"*/{METADATA_FILE}")):
        metadata = ModelMetadata.read(path.parent)
        if metadata.is_export and Path(str(metadata.source.get("model"))).resolve() == directory.resolve():
            found.append(path.parent)
    return found


# ---------------------------------------------------------------------------------------------------- measures
def _measured(
    found: Sequence[Variant], budget: Budget, settings: BenchSettings, examples: Sequence[Example]
) -> tuple[list[Point], list[dict[str, Any]]]:
    """The point of each variant, and of those that were asked everything the interval and signature, too."""
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
    return asked, [_report(*each, examples, settings) for each in zip(asked, answers, strict=True)]


def _report(
    point: Point, answers: dict[str, Prediction], examples: Sequence[Example], settings: BenchSettings
) -> dict[str, Any]:
    if point.f1 is None:
        return {"f1_ci": None, "signature": None}
    scored = score(examples, answer_texts(answers), normalizer="squad")
    report = make_report(scored, examples, model=point.name, data=", ".join(settings.data))
    return {"f1_ci": report.f1_ci, "signature": signature(report)}


# ---------------------------------------------------------------------------------------------------- what is said
def _explain(choice: Point, points: Sequence[Point], budget: Budget) -> str:
    """Which point to take and why."""
    asked = [point for point in points if point.f1 is not None]
    numbers = f"{choice.ms:.1f} ms, {choice.mb:.1f} MB, F1 {choice.f1:.2f}"
    rule = "the fastest" if budget.min_f1 else "the best"
    limits = [f"--max-ms {budget.max_ms:g}"] * math.isfinite(budget.max_ms)
    limits += [f"--max-mb {budget.max_mb:g}"] * math.isfinite(budget.max_mb)
    limits += [f"--min-f1 {budget.min_f1:g}"] * bool(budget.min_f1)
    within = f" that keeps {', '.join(limits)}" if limits else ""
    counted = f"{len(asked)} of {len(points)} were asked every question"
    return f"Take {choice.name} ({numbers}): {rule}{within}. {counted}; the others could not win."


def _row(
    variant: Variant, point: Point, report: Mapping[str, Any], points: Sequence[Point], choice: Point | None
) -> dict[str, Any]:
    if point == choice:
        verdict = "chosen"
    elif point in frontier(points):
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
        **report,
        "verdict": verdict,
    }


def format_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with a line for each row, and the signatures of the scores."""
    cells = []
    for row in rows:
        quality = "-" if row["f1"] is None else with_interval(row["f1"], row["f1_ci"])
        cells.append([row["name"], f"{row['p50_ms']:.1f}", f"{row['megabytes']:.1f}", quality, say(row["verdict"])])
    notes = dict.fromkeys(row["signature"] for row in rows if row["signature"])
    return "\n".join([table(["reader", "p50 ms", "MB", "F1 [95 %]", "verdict"], cells), *notes])
