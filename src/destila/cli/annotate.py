"""`destila annotate`: a page where a person marks questions and answers; or how alike two people answered."""

import logging
import sys
import webbrowser
from pathlib import Path

from destila.cli.annotate_agreement import compare
from destila.config import AnnotateSettings
from destila.core.errors import UserError
from destila.core.language import say_error
from destila.core.records import Example
from destila.data.annotation import Annotation
from destila.data.squad import read
from destila.serving.annotating import serve_annotation
from destila.serving.server import log_to
from destila.training.generation import NoQuestionsError, make_questions, passages_of


def run(settings: AnnotateSettings) -> None:
    """Serve the page until SIGINT or SIGTERM, and print its address; or print how two files agree.

    Raises:
        UserError: no output or nothing to ask about is named, or a file cannot be read.
    """
    if not settings.output:
        raise UserError("output", "no file is named to write to", "Pass --output FILE.json.")
    if settings.agreement:
        compare(settings.output, settings.agreement, settings)
        return
    if not settings.folder and not settings.suggestions:
        raise UserError("folder", "no folder is named to ask about", "Pass FOLDER, or --suggestions FILE.json.")
    output = Path(settings.output)
    Annotation(output, [])  # what cannot be gone on from is told before any work
    passages = passages_of(settings) if settings.folder else []
    annotation = Annotation(output, passages, _suggestions_of(settings, output), blind=settings.blind)

    def ready(url: str) -> None:
        log_to(sys.stderr)
        for name in ("destila.serving", "uvicorn"):
            logging.getLogger(name).setLevel(logging.WARNING)  # every step is a request
        print(url, flush=True)
        if settings.open:
            webbrowser.open(url)

    serve_annotation(annotation, goal=settings.goal, port=settings.port, ready=ready)


def _suggestions_of(settings: AnnotateSettings, output: Path) -> list[Example]:
    """The questions to decide about: those that are given, else those that were made, now or before."""
    file = Path(settings.suggestions or output.with_suffix(".suggestions.json"))
    if settings.suggestions is None and not settings.suggest:
        return []
    if settings.suggestions is None and not file.exists():
        try:
            make_questions(settings, file, reader=settings.reader)
        except NoQuestionsError as error:
            print(say_error(error), file=sys.stderr)
            return []
    return read(file, repair=False)[0]
