"""`destila evaluate`: score models, or a file of predictions, on a data set."""

from destila.config import EvaluateSettings
from destila.evaluation.evaluate import format_everything, to_json
from destila.evaluation.scoring import evaluate


def run(settings: EvaluateSettings) -> None:
    """Evaluate, and print the tables and one JSON object."""
    found = evaluate(settings.model, settings.data, settings=settings)
    if not settings.json:
        print(format_everything(found.reports, found.comparisons), end="\n\n")
    print(to_json(found.reports, found.comparisons))
