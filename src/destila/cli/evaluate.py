"""`destila evaluate`: score models, or a file of predictions, on a data set."""

from destila.cli.result import show
from destila.config import EvaluateSettings
from destila.evaluation.evaluate import as_json, format_everything
from destila.evaluation.scoring import evaluate


def run(settings: EvaluateSettings) -> None:
    """Evaluate, and print the tables."""
    found = evaluate(settings.model or None, settings.data, settings=settings)
    result = as_json(found.reports, found.comparisons)
    show(result, format_everything(found.reports, found.comparisons), json=settings.json)
