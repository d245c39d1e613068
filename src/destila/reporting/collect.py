"""From settings to `Facts`: find the models, ask them, measure, and look up where they come from.

Mental model: the reference is read first, then the others, one in memory at a time; what they said goes into raw files
at once, and all numbers are computed from that. Invariant: nothing is guessed: what is not on the disk, or was not
measured, is missing from the facts with a reason. This module writes no page; torch is only loaded where a model needs
it.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from destila.config import ReportSettings
from destila.core.calibration import Calibration
from destila.core.cpus import thread_count
from destila.core.errors import UserError
from destila.core.records import Example, Missing, Prediction
from destila.core.runs import METRICS_FILE, RUN_FILE, SETTINGS_FILE, command_line, destila_version, environment
from destila.data.licenses import describe_data
from destila.data.sources import load_gold, require_labeled
from destila.evaluation import benchmark, breakdowns, calibration, errors, evaluate, metrics
from destila.evaluation.predictions import answer_texts, read_raw, write_raw
from destila.inference.places import SHIPPED, SHIPPED_NAME, name_of, place_of
from destila.models.hub import locate
from destila.reporting import layer_similarity
from destila.reporting.card import SCORES_FILE
from destila.reporting.card_metadata import CARD_FILE
from destila.reporting.energy import estimate_energy
from destila.reporting.facts import Curve, Facts, LayerAgreement, ModelFacts, RunFacts, Speed
from destila.reporting.provenance import Provenance, lineage, read_metrics, trace

Options = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A model without its network, and what it said."""

    label: str
    given: str | None  # its name on the command line; None: the bundled model
    place: str  # its directory or hub id
    origin: Provenance
    facts: Mapping[str, Any]  # what `ModelFacts` repeats: backend, precision, parameters, bytes, threshold, window
    predictions: Mapping[str, Prediction]
    scores: metrics.Scores  # under the normalizer of the report
    calibration: Calibration | None


def collect(settings: ReportSettings, directory: Path) -> Facts:
    """Everything that the report says.

    Args:
        directory: where raw predictions are written, as predictions/LABEL.jsonl.

    Raises:
        UserError: a model, the data or the timings cannot be read, or nothing says which data to judge on.
    """
    subject, models = _choose(settings)
    for model in models:
        locate(place_of(model))  # what is not there is said before anything is read
    data = _data_of(settings, subject)
    examples = load_gold(data, repair=settings.repair, limit=settings.max_examples)
    require_labeled(examples, ", ".join(data))
    bench = _read_bench(settings.bench)
    labels = _labels(models)
    asked = [_ask(model, labels[model], examples, settings, directory) for model in models]
    by_label = {one.label: one for one in asked}
    about = by_label[labels[subject]]
    reference = asked[0] if len(asked) > 1 else None
    groups = breakdowns.all_groups(about.scores.ids, examples, data)
    options: Options = {"seed": settings.seed, "resamples": settings.resamples}
    texts = [(one.label, answer_texts(one.predictions)) for one in asked]
    rules = _rules(settings)
    return Facts(
        title=settings.title or f"Report of {about.label if about.given else SHIPPED_NAME}",
        directory=str(directory),
        made=time.time(),
        version=destila_version(),
        command=command_line(),
        subject=about.label,
        reference=reference.label if reference else None,
        models=tuple(_model_facts(one, examples, data, groups, bench, settings) for one in asked),
        comparisons=tuple(evaluate.compare_all(examples, texts, normalizers=rules, **options)),
        runs=tuple(_run_facts(asked, settings.watts)),
        agreement=_agreement(about, reference, examples, settings),
        mistakes=errors.find_mistakes(
            examples,
            [(one.label, one.predictions, one.scores) for one in asked],
            subject=about.label,
            reference=reference.label if reference else None,
            most=settings.max_errors,
        ),
        judged=tuple(describe_data(name, use="judged") for name in data),
        repaired=settings.repair,
        limited=bool(settings.max_examples and len(examples) == settings.max_examples),
        questions=_count(examples, about.scores),
        bench=bench.get("environment", {}),
        environment={**environment(), "threads": thread_count(settings.threads)},
        normalizer=settings.normalizer,
        **options,
    )


# ---------------------------------------------------------------------------------------------------- what to ask
def _choose(settings: ReportSettings) -> tuple[str | None, list[str | None]]:
    """The model that the report is about, and all models, the reference first."""
    named: list[str | None] = list(dict.fromkeys(settings.runs)) or [None]
    reference = settings.reference or _teacher_of(named[0]) or (named[0] if len(named) > 1 else "")
    if not reference:
        return named[0], named
    others = [name for name in named if name is None or Path(name).resolve() != Path(reference).resolve()]
    if not others:  # a report of the reference alone
        return named[0], named
    return others[0], [reference, *others]


def _teacher_of(name: str | None) -> str:
    """The nearest ancestor that taught the model and can be asked; empty if there is none."""
    ancestors = reversed(lineage(trace(place_of(name))))
    return next((one.name for one in ancestors if one.role == "teacher" and layer_similarity.weights_of(one)), "")


def _data_of(settings: ReportSettings, subject: str | None) -> list[str]:
    """The data to judge on: those given, else what the nearest run was chosen on."""
    if settings.data:
        return settings.data
    for one in reversed(lineage(trace(place_of(subject)))):
        if found := [item.name for item in one.data if item.use == "dev"]:
            print(f"judging on what {one.name} was chosen on: {', '.join(found)}", file=sys.stderr)
            return found
    raise UserError("--data", f"is required: nothing says what {name_of(subject)} is to be judged on", "Name a file.")


def _labels(models: Sequence[str | None]) -> dict[str | None, str]:
    """A short name for each model: the last part of its path, as many parts as make it unique."""
    parts = {model: Path("shipped" if model is None else model).parts or ("model",) for model in models}
    labels: dict[str | None, str] = {}
    for model, own in parts.items():
        others = [other for another, other in parts.items() if another != model]
        size = next((n for n in range(1, len(own)) if all(own[-n:] != other[-n:] for other in others)), len(own))
        labels[model] = "/".join(own[-size:])
    return labels


def _ask(
    model: str | None, label: str, examples: Sequence[Example], settings: ReportSettings, directory: Path
) -> Asked:
    """Load a model, ask it everything, and write down what it said."""
    candidate = benchmark.load_candidate(model, backend=settings.backend, threads=thread_count(settings.threads))
    path = directory / _file(label)
    if settings.reuse and path.exists():
        print(f"{label}: answers of an earlier report, {path}", file=sys.stderr)
        # Its threshold may have been fitted since; the answers must be those that it gives now.
        predictions = metrics.with_threshold(read_raw(path), candidate.reader.no_answer_threshold)
    else:
        predictions = candidate.reader.predict(examples)
    write_raw(predictions, path)
    scores = metrics.score(examples, answer_texts(predictions), normalizer=settings.normalizer, where=str(path))
    reader = candidate.reader
    facts = {
        "backend": candidate.backend,
        "precision": candidate.precision,
        "parameters": candidate.parameters or None,
        "bytes": _bytes(candidate),
        "threshold": reader.no_answer_threshold,
        "window": {"length": reader.window.length, "stride": reader.window.stride},
    }
    origin = trace(candidate.place)
    return Asked(label, model, candidate.place, origin, facts, predictions, scores, reader.calibration)


def _file(label: str) -> str:
    return (
        "predictions/" + "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in label) + ".jsonl"
    )


# ---------------------------------------------------------------------------------------------------- one model
def _model_facts(
    asked: Asked,
    examples: Sequence[Example],
    data: Sequence[str],
    groups: Mapping[str, Mapping[str, Any]],
    bench: Mapping[str, Any],
    settings: ReportSettings,
) -> ModelFacts:
    options: Options = {"seed": settings.seed, "resamples": settings.resamples}
    made = evaluate.evaluate_texts(
        answer_texts(asked.predictions),
        examples,
        model=asked.label,
        data=", ".join(data),
        normalizers=_rules(settings),
        details={"repaired": settings.repair},
        **options,
    )
    given = np.array([asked.predictions[name].answer.score for name in asked.scores.ids])
    return ModelFacts(
        label=asked.label,
        name=asked.given or SHIPPED_NAME,
        reports=tuple(made),
        groups=tuple(breakdowns.group_scores(asked.scores, groups, **options)),
        reliability=calibration.reliability(given, asked.scores.em),
        no_answer=calibration.no_answer_curve(
            examples, asked.predictions, threshold=asked.facts["threshold"], normalizer=settings.normalizer
        ),
        risk=calibration.risk_curve(examples, asked.predictions, asked.calibration),
        speed=_speed(asked, bench),
        predictions=_file(asked.label),
        origin=asked.origin,
        **asked.facts,
    )


def _rules(settings: ReportSettings) -> list[str]:
    """All normalizers, the report's own first."""
    return sorted(metrics.NORMALIZERS, key=lambda name: name != settings.normalizer)


def _bytes(candidate: benchmark.Candidate) -> int | None:
    """Bytes of the model's files, without the records of its run and its card."""
    around = (RUN_FILE, SETTINGS_FILE, METRICS_FILE, SCORES_FILE, CARD_FILE)
    kept = [Path(candidate.place, name) for name in around]
    return candidate.bytes - sum(path.stat().st_size for path in kept if path.exists()) or None


def _read_bench(path: str | None) -> dict[str, Any]:
    """The JSON object that `destila bench --json` prints; empty without a file."""
    if path is None:
        return {}
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        return {"rows": list(found["rows"]), "environment": dict(found["environment"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = "Make one: destila bench --model ... --json > bench.json"
        raise UserError(path, f"is not what destila bench --json prints ({error})", remedy) from error


def _speed(asked: Asked, bench: Mapping[str, Any]) -> tuple[Speed, ...]:
    names = {asked.given or SHIPPED_NAME, asked.place} | ({SHIPPED_NAME} if Path(asked.place) == SHIPPED else set())
    return tuple(
        Speed(row["tokens"], row["p50_ms"], row["p95_ms"], row["queries_per_s"])
        for row in bench.get("rows", ())
        if row["model"] in names or Path(row["model"]).resolve() == Path(asked.place).resolve()
    )


# ---------------------------------------------------------------------------------------------------- around them
def _run_facts(asked: Sequence[Asked], watts: float) -> list[RunFacts]:
    """Every run behind the models, each once, oldest first."""
    found: dict[str, Provenance] = {}
    for model in asked:
        for one in lineage(model.origin):
            if one.has_run:
                found.setdefault(str(Path(one.name).resolve()), one)
    labels = _labels([one.name for one in found.values()])
    made = []
    for one in found.values():
        lines = read_metrics(Path(one.name)) if one.is_local else []
        steps = max((int(line["step"]) for line in lines), default=one.record.get("steps"))
        energy = estimate_energy(one, watts=watts)
        made.append(RunFacts(labels[one.name], one, curves_of(lines), steps, energy))
    return made


def _agreement(
    about: Asked, reference: Asked | None, examples: Sequence[Example], settings: ReportSettings
) -> LayerAgreement | Missing:
    if reference is None:
        return Missing("there is no teacher to compare with; name one with --reference.")
    print(f"comparing the layers of {about.label} and {reference.label}", file=sys.stderr)
    return layer_similarity.compare_layers(
        (about.label, about.origin), (reference.label, reference.origin), examples, windows=settings.layer_windows
    )


def _count(examples: Sequence[Example], scores: metrics.Scores) -> dict[str, int]:
    return {
        "scored": len(scores.ids),
        "with an answer": int(scores.has_answer.sum()),
        "without an answer": int((~scores.has_answer).sum()),
        "unlabeled, left out": scores.unlabeled,
        "articles": len(set(scores.clusters.tolist())),
        "answers without a place": sum(one.start is None for example in examples for one in example.answers),
        "contexts": len({example.context for example in examples if example.labeled}),
    }


# ---------------------------------------------------------------------------------------------------- curves of runs
# A curve is thinned by keeping some of its points as they are, first and last among them; lowest and highest value are
# those of all points. Nothing is smoothed.
POINTS = 240  # of a curve: about one for each pixel and a half
OTHERS = ("learning_rate", "gradient_norm", "tokens_per_second", "waiting", "utilization")
NO_CURVES = ("step", "epoch", "dev_n")


def curves_of(lines: Sequence[Mapping[str, Any]]) -> tuple[Curve, ...]:
    """One curve for each number: the loss and its terms first, then scores on dev, then the others.

    Args:
        lines: of metrics.jsonl, in order.
    """
    points: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        for name, value in line.items():
            if name not in NO_CURVES and isinstance(value, int | float) and not isinstance(value, bool):
                points.setdefault(name, []).append((int(line["step"]), float(value)))
    made = [_curve(name, values) for name, values in points.items()]
    return tuple(sorted(made, key=lambda curve: ("loss", "dev", "other").index(curve.kind)))


def _curve(name: str, points: Sequence[tuple[int, float]]) -> Curve:
    kind = "other" if name in OTHERS else "dev" if name.startswith("dev_") else "loss"
    return Curve(
        name=name,
        kind=kind,
        points=tuple(_thinned(points)),
        low=min(points, key=lambda point: point[1]),
        high=max(points, key=lambda point: point[1]),
        count=len(points),
    )


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    if len(points) <= POINTS:
        return list(points)
    return [points[round(place * (len(points) - 1) / (POINTS - 1))] for place in range(POINTS)]
