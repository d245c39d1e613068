"""`destila distill`: a teacher's answers, hidden states and attention become a small student's."""

from destila.cli.outcome import report_readers
from destila.cli.result import only_results
from destila.config import DistillSettings
from destila.training.distill import distill
from destila.training.stages import stages_of


def run(settings: DistillSettings) -> None:
    """Distill as the settings say, write the cards of what was made, and say how it ended."""
    with only_results():
        result = distill(settings)
    report_readers([stage.output for stage in stages_of(settings)], result, json=settings.json)
