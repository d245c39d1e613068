"""`destila report`: ask readers, and write one page, and the same as Markdown, about what they answered."""

import shutil
from pathlib import Path
from typing import Any

from destila.cli.result import show
from destila.config import ReportSettings
from destila.core.errors import UserError
from destila.core.language import say
from destila.core.outputs import check_directory
from destila.core.runs import write_text
from destila.reporting import markdown, page
from destila.reporting.collect import collect
from destila.reporting.facts import Facts
from destila.reporting.summary import make_document

PAGE, TEXT, PREDICTIONS = "report.html", "report.md", "predictions"


def run(settings: ReportSettings) -> Facts:
    """Write the report, print where it is and the scores, and return what it says."""
    facts, directory = write(settings), Path(settings.output)
    show(summary(facts, directory), "\n".join(_lines(facts, directory)), json=settings.json)
    return facts


def write(settings: ReportSettings) -> Facts:
    """Write the report, and return what it says."""
    check_directory("--output", settings.output)
    directory = Path(settings.output)
    if (directory / PAGE).exists() and not (settings.overwrite or settings.reuse):
        remedy = "Replace it with --overwrite, take its predictions with --reuse, or choose another --output."
        raise UserError(str(directory), "holds a report already", remedy)
    if directory.is_dir() and any(directory.iterdir()) and not (directory / PAGE).exists():
        _refuse_other(directory)
    if not settings.reuse:  # predictions of other models would stand beside the new page
        shutil.rmtree(directory / PREDICTIONS, ignore_errors=True)
    facts = collect(settings, directory)
    document = make_document(facts)
    write_text(directory / PAGE, page.render(document))
    write_text(directory / TEXT, markdown.render(document))
    return facts


def _refuse_other(directory: Path) -> None:
    """An interrupted report has predictions alone; anything else is not ours to write beside."""
    if [entry.name for entry in directory.iterdir()] != [PREDICTIONS]:
        raise UserError(str(directory), "is not empty and holds no report", "Choose another --output.")


def _lines(facts: Facts, directory: Path) -> list[str]:
    """The same for people."""
    scores = [
        say(f"{model.label}: F1 {report.f1:.2f}, EM {report.em:.2f} ({report.normalizer}, {report.n:,} questions)")
        for model in facts.models
        for report in model.reports
    ]
    return [*scores, say(f"open {(directory / PAGE).resolve().as_uri()}")]


def summary(facts: Facts, directory: Path) -> dict[str, Any]:
    """Where the report is, and the scores of every model."""
    scores = {
        model.label: {report.normalizer: {"f1": report.f1, "em": report.em} for report in model.reports}
        for model in facts.models
    }
    return {
        "page": str(directory / PAGE),
        "text": str(directory / TEXT),
        "n": facts.questions["scored"],
        "scores": scores,
    }
