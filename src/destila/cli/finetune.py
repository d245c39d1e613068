"""`destila finetune`: a pre-trained encoder, or a random model of a given shape, becomes a reader."""

from destila.cli.outcome import report_readers
from destila.cli.result import only_results
from destila.config import FinetuneSettings
from destila.training.finetune import finetune
from destila.training.stages import stages_of


def run(settings: FinetuneSettings) -> None:
    """Finetune as the settings say, write the cards of what was made, and say how it ended."""
    with only_results():
        result = finetune(settings)
    report_readers([stage.output for stage in stages_of(settings)], result, json=settings.json)
