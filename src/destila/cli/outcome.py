"""What the command line does when a training has returned: write the cards, say how it ended, and leave."""

import sys
from collections.abc import Sequence
from pathlib import Path

from destila.cli.result import show
from destila.core.language import say
from destila.core.runs import RUN_FILE, read_json
from destila.reporting.card import is_unchanged, write_card
from destila.reporting.card_metadata import CARD_FILE
from destila.training.processes import is_main_process
from destila.training.task import TrainingResult

SLICE_OVER = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, try again


def report_readers(outputs: Sequence[str], result: TrainingResult, *, json: bool) -> None:
    """Write the card of every stage that has finished, but not over one that a person changed, and say how it ended.

    Args:
        outputs: the directories of all stages.
    """
    trained = {result.path, *(stage.path for stage in result.earlier)}
    for path in map(Path, outputs if is_main_process() else ()):
        finished = (path / RUN_FILE).exists() and read_json(path / RUN_FILE)["status"] == "finished"
        if finished and (not (path / CARD_FILE).exists() or (path in trained and is_unchanged(path))):
            write_card(path)
    report(result, json=json)


def report(result: TrainingResult, *, json: bool, score: str = "dev_f1") -> None:
    """Print how training ended, a line for each stage.

    After a signal, leave with 128 + its number; at the end of a time slice, with 75: both are to be resumed.
    """
    if not is_main_process():
        return
    for stage in (*result.earlier, result):
        leave_if_stopped(stage, say(f"continue with --resume {stage.path}"))
        summary = {"run": str(stage.path), "steps": stage.steps, "best_step": stage.best_step}
        show({**summary, score: stage.best_score}, _text(stage, score), json=json)


def leave_if_stopped(stage: TrainingResult, how_to_go_on: str) -> None:
    """Say how to go on and leave, if a training was stopped."""
    if not stage.finished:
        print(say(f"stopped at step {stage.steps}; everything is saved: {how_to_go_on}"), file=sys.stderr)
        sys.exit(SLICE_OVER if stage.signal is None else 128 + stage.signal)


def _text(stage: TrainingResult, score: str) -> str:
    ended = say(f"{stage.path}: trained for {stage.steps:,} steps")
    if stage.best_score is None:
        return ended
    name = "F1" if score == "dev_f1" else "score"
    return ended + say(f"; best {name} on dev {stage.best_score:.2f}, at step {stage.best_step:,}")
