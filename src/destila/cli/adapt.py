"""`destila adapt`: a reader becomes better at the documents of a folder, or stays as it is."""

import sys
from dataclasses import asdict

from destila.cli import report
from destila.cli.outcome import leave_if_stopped
from destila.cli.result import only_results, show
from destila.config import AdaptSettings, ReportSettings
from destila.core.language import say
from destila.reporting.card import write_card
from destila.training.adapt import HELD_OUT, Adapted, adapt

REFUSED = 1  # as `bench --pareto` leaves where nothing keeps the budget


def run(settings: AdaptSettings) -> None:
    """Adapt, write a report and the card of a reader that passed, and say what the gate measured and what to try.

    After a signal, leave as `destila distill` does; with 1 where the gate refused.
    """
    with only_results():
        found = adapt(settings.folder, settings.output, settings=settings)
        leave_if_stopped(found.training, say("the same command goes on"))
        page = _report(found)
    if found.accepted:
        write_card(found.path)
    names = ("accepted", "questions", "documents", "general", "share", "advice")
    result = {name: value for name, value in asdict(found).items() if name in names}
    lines = [*_lines(found), say(f"  before and after: {page}")]
    show({"run": str(found.path), **result, "report": page}, "\n".join(lines), json=settings.json)
    if not found.accepted:
        sys.exit(REFUSED)


def _report(found: Adapted) -> str:
    """Write the page with both readers and the errors that came and went."""
    directory, held = found.path / "report", str(found.path / HELD_OUT)
    settings = ReportSettings(
        runs=[str(found.after)],
        reference=found.before,
        data=[held],
        output=str(directory),
        normalizer="mlqa-es",
        backend="torch",
        layer_windows=0,
        overwrite=True,
    )
    report.write(settings)
    return str(directory / report.PAGE)


def _lines(found: Adapted) -> list[str]:
    verdict = "the adapted reader" if found.accepted else "the reader was not adapted"
    return [
        f"{found.path}: {say(verdict)}",
        say(f"  held-out questions about the documents: {found.documents}"),
        say(f"  general questions: {found.general}"),
        say(f"  share of the new weights: {found.share}"),
        *(f"  {say(advice)}" for advice in found.advice),
    ]
