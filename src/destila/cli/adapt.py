"""`destila adapt`: a reader becomes better at the documents of a folder, or stays as it is."""

import sys
from dataclasses import asdict

from destila.cli.outcome import report
from destila.cli.result import only_results, show
from destila.config import AdaptSettings
from destila.core.language import say
from destila.reporting.card import write_card
from destila.training.adapt import Adapted, adapt

REFUSED = 1  # as `bench --pareto` leaves where nothing keeps the budget


def run(settings: AdaptSettings) -> None:
    """Adapt, write the card of a reader that passed, and say what the gate measured and what to try.

    After a signal, leave as `destila distill` does; with 1 where the gate refused.
    """
    with only_results():
        found = adapt(settings.folder, settings.output, settings=settings)
    if not found.training.finished:
        report(found.training, json=settings.json)
    if found.accepted:
        write_card(found.path)
    names = ("accepted", "questions", "documents", "general", "advice")
    result = {name: value for name, value in asdict(found).items() if name in names}
    show({"run": str(found.path), **result}, "\n".join(_lines(found)), json=settings.json)
    if not found.accepted:
        sys.exit(REFUSED)


def _lines(found: Adapted) -> list[str]:
    verdict = "the adapted reader" if found.accepted else "the reader was not adapted"
    return [
        f"{found.path}: {say(verdict)}",
        say(f"  held-out questions about the documents: {found.documents}"),
        say(f"  general questions: {found.general}"),
        *(f"  {say(advice)}" for advice in found.advice),
    ]
