"""Score models, or answers that were given already, on a data set: what `destila.evaluate` does.

Every model answers every question once; then each normalizer gives one report per model, and each further model is
compared with the first. Scoring given answers needs neither torch nor a model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from destila.config import EvaluateSettings
from destila.config.loader import settings_of
from destila.core.errors import UserError
from destila.core.outputs import check_file
from destila.core.progress import Listener, listening
from destila.core.records import Example, Report
from destila.core.runs import is_special, write_json
from destila.data.sources import load_gold, require_labeled
from destila.evaluation.evaluate import compare_all, evaluate_reader, evaluate_texts
from destila.evaluation.predictions import Texts, answer_texts, numbered, read_predictions
from destila.evaluation.threshold import write_threshold

if TYPE_CHECKING:
    from destila.inference.reader import Reader


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        reports: one for each model and normalizer, those of a model side by side; the first normalizer is "squad".
        comparisons: each further model against the first, under each normalizer; see `evaluate.compare`.
        answers: by the name of the model, what it answered: {id: text}, None for "no answer".
    """

    reports: tuple[Report, ...]
    comparisons: tuple[Mapping[str, Any], ...]
    answers: Mapping[str, Texts]


def evaluate(
    models: "str | Path | Reader | Sequence[str | Path | Reader] | None" = None,
    data: str | Path | Sequence[str | Path] | Sequence[Example] = (),
    *,
    settings: EvaluateSettings | Mapping[str, Any] | None = None,
    progress: Listener | None = None,
    **changes: Any,
) -> Evaluation:
    """Score models on a data set, and compare each further one with the first.

    >>> import destila
    >>> found = destila.evaluate(["runs/teacher", "runs/student"], "data/nativa/dev.json", resamples=100)
    >>> [report.model for report in found.reports[::2]], len(found.comparisons)
    (['runs/teacher', 'runs/student'], 2)

    Args:
        models: readers, local directories or hub ids; None: the bundled model, unless `from_predictions` is given.
        data: files, named sources, or examples.
        settings: an `EvaluateSettings`, or None for the defaults.
        progress: is told of all progress; None: nobody is.
        changes: settings that differ, such as backend="onnx", fit_threshold="f1" or from_predictions="answers.json".

    Raises:
        UserError: contradictory settings, data without labels, or a model or a file that cannot be read.
    """
    chosen = settings_of(EvaluateSettings, settings, changes)
    asked: list[Any] = given_models(models) or list(chosen.model)
    items: list[Any] = _listed(data) or list(chosen.data)
    _check(chosen, asked, items)
    given = [item for item in items if isinstance(item, Example)]
    names = [str(item) for item in items if not isinstance(item, Example)]
    with listening(progress):
        examples = given + (load_gold(names, repair=chosen.repair) if names else [])
        name = ", ".join(names) or f"{len(given)} examples"
        require_labeled(examples, name)
        options: dict[str, Any] = {"data": name, "seed": chosen.seed, "resamples": chosen.resamples}
        options["details"] = {"repaired": chosen.repair and bool(names)}
        if chosen.from_predictions:
            texts = read_predictions(Path(chosen.from_predictions))
            reports = evaluate_texts(texts, examples, model=chosen.from_predictions, **options)
            answers: list[tuple[str, Texts]] = [(chosen.from_predictions, texts)]
        else:
            reports, answers = _ask_models(chosen, asked, examples, options)
        comparisons = compare_all(examples, answers, seed=chosen.seed, resamples=chosen.resamples)
    return Evaluation(tuple(reports), tuple(comparisons), dict(answers))


def given_models(models: Any) -> list[Any]:
    """One model, several or None as a list.

    Raises:
        UserError: an empty list, as a pattern of names gives that fits nothing; None is the bundled model.
    """
    found = _listed(models)
    if models is not None and not found:
        raise UserError("models", "is an empty list", "Name a model, or give None for the bundled one.")
    return found


def _listed(given: Any) -> list[Any]:
    """One thing, several or None as a list."""
    several = isinstance(given, Sequence) and not isinstance(given, str)
    return list(given) if several else [] if given is None else [given]


def _ask_models(
    settings: EvaluateSettings, models: Sequence[Any], examples: Sequence[Example], options: dict[str, Any]
) -> tuple[list[Report], list[tuple[str, Texts]]]:
    from destila.inference.reader import Reader

    found: list[Report] = []
    answers: list[tuple[str, Texts]] = []
    for number, model in enumerate(models or [None], start=1):
        reader = model
        if not isinstance(model, Reader):
            reader = Reader.load(
                model if model is None else str(model),
                backend=settings.backend,
                revision=settings.revision,
                window_length=settings.window_length,
                threads=settings.threads,
            )
        made, predictions = evaluate_reader(
            reader, examples, model=reader.name, fit_by=settings.fit_threshold, **options
        )
        found += made
        answers.append((reader.name, answer_texts(predictions)))
        if settings.predictions:
            write_json(numbered(Path(settings.predictions), number, len(models)), answers[-1][1])
        if settings.write:
            write_threshold(Path(str(model)), made[0].details["no_answer_threshold"])
    return found, answers


def _check(settings: EvaluateSettings, models: Sequence[Any], data: Sequence[Any]) -> None:
    problems = [] if data else ["--data: is required"]
    if settings.from_predictions and models:
        problems.append("--model and --from-predictions exclude each other")
    if settings.from_predictions and (settings.fit_threshold or settings.predictions):
        problems.append("--fit-threshold and --predictions need a model, not --from-predictions")
    if settings.write:
        if not settings.fit_threshold:
            problems.append("--write: there is no fitted threshold to write; add --fit-threshold f1 or equal-errors")
        if not models and not settings.from_predictions:
            problems.append("--write: the bundled model keeps its threshold; name another with --model")
        missing = [model for model in models if not isinstance(model, (str, Path)) or not Path(model).is_dir()]
        problems += [f"--write: {getattr(model, 'name', model)} is not a local directory" for model in missing]
    check_file("--predictions", settings.predictions)
    if settings.predictions and not settings.overwrite:
        for number, _ in enumerate(models or [None], start=1):
            path = numbered(Path(settings.predictions), number, len(models))
            if path.exists() and not is_special(path):
                remedy = "To score it, give it as --from-predictions; to replace it, pass --overwrite."
                raise UserError(str(path), "exists already", remedy)
    if problems:
        raise UserError.from_problems("destila evaluate", problems, "Run it with --help for every setting.")
