"""`destila pretrain`: raw text -> a tokenizer and an encoder with a span head, for `destila finetune` to go on from."""

from destila.cli.outcome import report
from destila.cli.result import only_results
from destila.config import PretrainSettings
from destila.training.pretrain import pretrain


def run(settings: PretrainSettings) -> None:
    """Pre-train as the settings say, and say how it ended."""
    with only_results():
        result = pretrain(settings)
    report(result, score="dev_score", json=settings.json)
