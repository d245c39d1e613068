"""What the command line does when a training has returned: write the card, say how it ended, and leave."""

import json
import sys
from pathlib import Path

from destila.config import RunSettings
from destila.reporting.card import write_card
from destila.reporting.card_metadata import CARD_FILE
from destila.training.loop import is_main_process
from destila.training.task import TrainingResult

SLICE_OVER = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, try again


def report_reader(settings: RunSettings, result: TrainingResult) -> None:
    """Write the card of a reader whose training has finished, unless it has one, and say how training ended."""
    path = Path(settings.output)
    if result.finished and is_main_process() and not (path / CARD_FILE).exists():
        write_card(path)
    report(settings, result)


def report(settings: RunSettings, result: TrainingResult, *, score: str = "dev_f1") -> None:
    """Say how training ended, as one JSON object on stdout.

    After a signal, leave with 128 + its number; at the end of a time slice, with 75: both are to be resumed.
    """
    if not is_main_process():
        return
    if not result.finished:
        print(f"stopped at step {result.steps}; everything is saved: continue with --resume", file=sys.stderr)
        sys.exit(SLICE_OVER if result.signal is None else 128 + result.signal)
    summary_line = {"run": settings.output, "steps": result.steps, "best_step": result.best_step}
    print(json.dumps({**summary_line, score: result.best_score}))
