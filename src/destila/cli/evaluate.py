"""`destila evaluate`: score models, or a file of predictions, on a data set.

Every model answers every question once; then each normalizer gives one report per model, and each further model is
compared with the first. Scoring a file of predictions needs neither torch nor a model.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from destila.config import EvaluateSettings
from destila.core.errors import UserError
from destila.core.records import Example, Report
from destila.core.runs import write_json
from destila.evaluation import evaluate
from destila.evaluation.predictions import Texts, answer_texts, numbered, read_predictions
from destila.evaluation.threshold import write_threshold


def run(settings: EvaluateSettings) -> list[Report]:
    """Evaluate, print, and return one report per model and normalizer."""
    from destila.data.sources import load_examples

    _check(settings)
    examples = load_examples(settings.data, repair=settings.repair)
    if not any(example.labelled for example in examples):
        raise UserError(", ".join(settings.data), "holds no labelled example", "Give data with gold answers.")
    options: dict[str, Any] = {"data": ", ".join(settings.data), "seed": settings.seed, "resamples": settings.resamples}
    if settings.from_predictions:
        texts = read_predictions(Path(settings.from_predictions))
        found = evaluate.evaluate_texts(texts, examples, model=settings.from_predictions, **options)
        answers: list[tuple[str, Texts]] = [(settings.from_predictions, texts)]
    else:
        found, answers = _ask_models(settings, examples, options)
    comparisons = evaluate.compare_all(examples, answers, seed=settings.seed, resamples=settings.resamples)
    if not settings.json:
        print(evaluate.format_everything(found, comparisons), end="\n\n")
    print(evaluate.to_json(found, comparisons))
    return found


def _ask_models(
    settings: EvaluateSettings, examples: Sequence[Example], options: dict[str, Any]
) -> tuple[list[Report], list[tuple[str, Texts]]]:
    from destila.inference.reader import Reader

    found: list[Report] = []
    answers: list[tuple[str, Texts]] = []
    for number, name in enumerate(settings.model or [None], start=1):
        reader = Reader.load(
            name,
            backend=settings.backend,
            revision=settings.revision,
            window_length=settings.window_length,
            threads=settings.threads,
        )
        made, predictions = evaluate.evaluate_reader(
            reader, examples, model=reader.name, fit_by=settings.fit_threshold, **options
        )
        found += made
        answers.append((reader.name, answer_texts(predictions)))
        if settings.predictions:
            write_json(numbered(Path(settings.predictions), number, len(settings.model)), answers[-1][1])
        if settings.write:
            write_threshold(Path(str(name)), made[0].details["no_answer_threshold"])
    return found, answers


def _check(settings: EvaluateSettings) -> None:
    problems = [] if settings.data else ["--data: is required"]
    if settings.from_predictions and settings.model:
        problems.append("--model and --from-predictions exclude each other")
    if settings.from_predictions and (settings.fit_threshold or settings.predictions):
        problems.append("--fit-threshold and --predictions need a model, not --from-predictions")
    if settings.write:
        if not settings.fit_threshold:
            problems.append("--write: there is no fitted threshold to write; add --fit-threshold f1 or equal-errors")
        if not settings.model and not settings.from_predictions:
            problems.append("--write: the bundled model keeps its threshold; name another with --model")
        problems += [f"--write: {name} is not a local directory" for name in settings.model if not Path(name).is_dir()]
    if problems:
        raise UserError.from_problems("destila evaluate", problems, "Run it with --help for every setting.")
