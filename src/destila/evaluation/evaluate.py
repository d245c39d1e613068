"""From predictions to reports: the one place where a score gets its interval, its parts and its signature.

`evaluate_reader` serves the `evaluate` command and the evaluations during training alike; whatever runs the network,
it is anything with `predict(examples)`. Invariant: F1 and exact match are in percent here, probabilities and shares
are not, and a report holds all that is needed to make it again. This module prints nothing: tables are returned as
text.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from destila.config.fields import ThresholdCriterion
from destila.core.formatting import with_interval
from destila.core.language import say, say_name
from destila.core.records import Example, Prediction, Report
from destila.core.runs import command_line, destila_version
from destila.evaluation import bootstrap, metrics
from destila.evaluation.predictions import Texts, answer_texts
from destila.evaluation.threshold import fit_threshold

ALL_NORMALIZERS = tuple(metrics.NORMALIZERS)


class Predictor(Protocol):
    """What answers questions, such as `destila.inference.reader.Reader`."""

    def predict(self, examples: Sequence[Example]) -> Mapping[str, Prediction]:
        """The prediction for every example, by id."""


def evaluate_reader(
    reader: Predictor,
    examples: Sequence[Example],
    *,
    model: str,
    data: str,
    normalizers: Sequence[str] = ALL_NORMALIZERS,
    seed: int = 1,
    resamples: int = 2000,
    fit_by: ThresholdCriterion | None = None,
    details: Mapping[str, Any] | None = None,
) -> tuple[list[Report], dict[str, Prediction]]:
    """Answer all questions and score the answers.

    Args:
        model: its name in the reports; `data` likewise.
        fit_by: fit the no-answer threshold on these examples by this criterion (`destila.evaluation.threshold`) and
            score with it; it is then in `details["no_answer_threshold"]` of each report, and what it refuses in
            `details["fitted"]`.
        details: more for `details` of each report.

    Returns:
        One report per normalizer, and the predictions that were scored.

    Raises:
        UserError: no example is labeled; or there is nothing to fit a threshold on.
    """
    started = time.perf_counter()
    predictions = dict(reader.predict(examples))
    more: dict[str, Any] = {"ms_per_question": 1000 * (time.perf_counter() - started) / max(1, len(examples))}
    if fit_by:
        options: dict[str, Any] = {"criterion": fit_by, "ask": reader.predict, "seed": seed, "resamples": resamples}
        fitted = fit_threshold(examples, predictions, **options)
        more |= {"no_answer_threshold": fitted.threshold, "fitted": asdict(fitted)}
        predictions = metrics.with_threshold(predictions, fitted.threshold)
    reports = evaluate_texts(
        answer_texts(predictions),
        examples,
        model=model,
        data=data,
        normalizers=normalizers,
        seed=seed,
        resamples=resamples,
        details={**more, **(details or {})},
    )
    return reports, predictions


def evaluate_texts(
    texts: Texts,
    examples: Sequence[Example],
    *,
    model: str,
    data: str,
    normalizers: Sequence[str] = ALL_NORMALIZERS,
    seed: int = 1,
    resamples: int = 2000,
    details: Mapping[str, Any] | None = None,
) -> list[Report]:
    """Score answers that were given already: one report per normalizer.

    Raises:
        UserError: no example is labeled, or the answers do not fit the examples; see `metrics.score`.
    """
    return [
        make_report(
            metrics.score(examples, texts, normalizer=normalizer, where=model),
            examples,
            model=model,
            data=data,
            seed=seed,
            resamples=resamples,
            details=details,
        )
        for normalizer in normalizers
    ]


def make_report(
    scores: metrics.Scores,
    examples: Sequence[Example],
    *,
    model: str,
    data: str,
    seed: int = 1,
    resamples: int = 2000,
    details: Mapping[str, Any] | None = None,
) -> Report:
    """Scores with their intervals, parts (has answer, no answer, breakdown) and everything needed to repeat them."""
    f1 = bootstrap.bootstrap_interval(scores.f1, scores.clusters, seed=seed, resamples=resamples)
    em = bootstrap.bootstrap_interval(scores.em, scores.clusters, seed=seed, resamples=resamples)
    return Report(
        model=model,
        data=data,
        n=len(scores.ids),
        f1=100 * float(scores.f1.mean()),
        em=100 * float(scores.em.mean()),
        f1_ci=f1.scaled(100),
        em_ci=em.scaled(100),
        normalizer=scores.normalizer,
        seed=seed,
        version=destila_version(),
        command=command_line(),
        details={
            "has_answer": metrics.summary(scores, scores.has_answer),
            "no_answer": metrics.summary(scores, ~scores.has_answer),
            "unlabeled": scores.unlabeled,
            "repaired": False,
            "resamples": resamples,
            "resampled": f1.unit,
            "clusters": f1.clusters,
            "breakdown": metrics.breakdown(scores, examples),
            **(details or {}),
        },
    )


def signature(report: Report) -> str:
    """One line that says how a score was made, to be quoted beside it."""
    details = report.details
    return (
        f"normalizer:{report.normalizer}|n:{report.n}|ci:95%-bootstrap|{details['resampled']}:{details['clusters']}"
        f"|resamples:{details['resamples']}|seed:{report.seed}|version:{report.version}"
        f"{'|gold:repaired' if details.get('repaired') else ''}"
    )


def as_json(reports: Sequence[Report], comparisons: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The object that `evaluate --json` prints."""
    made = [asdict(report) | {"signature": signature(report)} for report in reports]
    return {"reports": made, "comparisons": list(comparisons)}


def compare(
    examples: Sequence[Example],
    first: tuple[str, Texts],
    second: tuple[str, Texts],
    *,
    normalizer: str,
    seed: int = 1,
    resamples: int = 2000,
) -> dict[str, Any]:
    """What a second model's (name, answers) lose or gain against a first one's, on the same questions.

    Returns:
        For "f1" and "em": difference and its interval in percentage points, two-sided p; agreement of the answers;
        "retention": F1 of the second over F1 of the first, a share, with its interval (None where the first has none).
    """
    left, right = (metrics.score(examples, texts, normalizer=normalizer, where=name) for name, texts in (first, second))
    options = {"seed": seed, "resamples": resamples}
    tests = {
        "f1": bootstrap.paired_test(left.f1, right.f1, left.clusters, **options),
        "em": bootstrap.paired_test(left.em, right.em, left.clusters, **options),
    }
    kept = bootstrap.ratio_interval(right.f1, left.f1, left.clusters, **options) if left.f1.any() else None
    return {
        "first": first[0],
        "second": second[0],
        "normalizer": normalizer,
        "n": len(left.ids),
        **{
            name: {"difference": 100 * test.difference, "ci": test.interval.scaled(100), "p": test.p}
            for name, test in tests.items()
        },
        "agreement": metrics.agreement(first[1], second[1], normalizer=normalizer),
        "retention": float(right.f1.sum() / left.f1.sum()) if kept else None,
        "retention_ci": kept.scaled(1) if kept else None,
        **options,
    }


def compare_all(
    examples: Sequence[Example],
    answers: Sequence[tuple[str, Texts]],
    *,
    normalizers: Sequence[str] = ALL_NORMALIZERS,
    seed: int = 1,
    resamples: int = 2000,
) -> list[dict[str, Any]]:
    """Every further model against the first, under each normalizer; see `compare`."""
    return [
        compare(examples, answers[0], other, normalizer=normalizer, seed=seed, resamples=resamples)
        for other in answers[1:]
        for normalizer in normalizers
    ]


# ---------------------------------------------------------------------------------------------------- tables
def format_everything(reports: Sequence[Report], comparisons: Sequence[Mapping[str, Any]] = ()) -> str:
    """All tables: scores, comparisons if there are any, breakdowns."""
    blocks = [format_reports(reports), format_breakdowns(reports)]
    if comparisons:
        blocks.insert(1, format_comparisons(comparisons))
    return "\n\n".join(blocks)


def format_reports(reports: Sequence[Report]) -> str:
    """The table of scores, one line per report, and their signatures below it."""
    head = ["model", "rules", "n", "F1 [95 %]", "EM [95 %]", "HasAns F1", "NoAns F1", "ms/question"]
    rows = [
        [
            say_name(report.model),
            report.normalizer,
            f"{report.n:,}",
            with_interval(report.f1, report.f1_ci),
            with_interval(report.em, report.em_ci),
            _number(report.details["has_answer"]["f1"]),
            _number(report.details["no_answer"]["f1"]),
            _number(report.details.get("ms_per_question")),
        ]
        for report in reports
    ]
    notes = list(dict.fromkeys(note for report in reports for note in [signature(report), *_notes(report)]))
    return "\n".join([table(head, rows), *map(say, notes)])


def _notes(report: Report) -> list[str]:
    notes = []
    if report.details["repaired"]:
        notes.append("Gold answers were repaired (--repair): these scores are not the official ones.")
    if unlabeled := report.details["unlabeled"]:
        notes.append(f"{unlabeled:,} unlabeled questions are left out.")
    if report.details["resampled"] == "questions":
        notes.append("All questions belong to one article: intervals treat them as independent and may be too narrow.")
    if (threshold := report.details.get("no_answer_threshold")) is not None:
        notes.append(
            f"{report.model}: no-answer threshold {threshold:.3f}, fitted on these questions: their scores flatter it."
        )
    return [*notes, *_fit_notes(report.details.get("fitted") or {})]


def _fit_notes(fitted: Mapping[str, Any]) -> list[str]:
    """What a fitted threshold refuses, one line per group of questions."""
    notes = []
    for name, share in fitted.get("refused", {}).items():
        area = f", area under the curve {fitted['area'][name]:.3f}" if name in fitted["area"] else ""
        notes.append(f"  {name}: {fitted['questions'][name]:,} questions, {share:.1%} get no answer{area}")
    if must := fitted.get("must_answer"):
        f1 = with_interval(must["f1"], must["f1_ci"])
        notes.append(f"  answerable, if all must be answered: F1 {f1}, EM {must['em']:.2f}")
    return notes


def format_comparisons(comparisons: Sequence[Mapping[str, Any]]) -> str:
    """The table of each further model against the first."""
    head = ["model", "against", "rules", "F1 difference [95 %]", "p", "EM difference [95 %]", "p", "same answer"]
    head.append("retention")
    rows = [
        [
            say_name(item["second"]),
            say_name(item["first"]),
            item["normalizer"],
            with_interval(item["f1"]["difference"], item["f1"]["ci"], sign="+"),
            f"{item['f1']['p']:.4f}",
            with_interval(item["em"]["difference"], item["em"]["ci"], sign="+"),
            f"{item['em']['p']:.4f}",
            f"{item['agreement']['identical']:.1%}",
            f"{item['retention']:.1%}" if item["retention"] is not None else "-",
        ]
        for item in comparisons
    ]
    return table(head, rows)


def format_breakdowns(reports: Sequence[Report]) -> str:
    """One table per kind of part: F1 / EM of every report, side by side."""
    first = reports[0].details["breakdown"]
    head = [f"{say_name(report.model)} {report.normalizer}: F1 / EM" for report in reports]
    blocks = []
    for kind, groups in first.items():
        rows = []
        for name, whole in groups.items():
            parts = [report.details["breakdown"][kind][name] for report in reports]
            cells = [f"{_number(part['f1'])} / {_number(part['em'])}" for part in parts]
            label = say(name or "(not given)") if name in ("", "none") else name
            rows.append([label, f"{whole['n']:,}", *cells])
        blocks.append(table([kind.replace("_", " "), "n", *head], rows))
    return "\n\n".join(blocks)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right."""
    head = [say(title) for title in head]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in [head, ["-" * width for width in widths], *rows]
    ]
    return "\n".join(line.rstrip() for line in lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
