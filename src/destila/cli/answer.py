"""`destila answer`: answer one question from a text, or a file of questions line by line."""

import sys
from pathlib import Path

from destila.cli.result import show
from destila.config import AnswerSettings, DocumentSettings
from destila.core.characters import visible
from destila.core.language import say, say_name
from destila.core.records import Answer
from destila.inference.answer_file import answer_file, open_binary
from destila.inference.documents.document import kind_of
from destila.inference.documents.open import plain_text
from destila.inference.jsonl import answer_fields
from destila.inference.questions import examples_of
from destila.inference.reader import Reader

LONG = 20_000  # characters of a text; a process that reads less of them is over before speed could pay


def run(settings: AnswerSettings) -> None:
    """Answer, and print or write them: {"answers": [...]}, and the "guess" behind a refusal; of a file, counts."""
    settings.check()
    if settings.input is None:
        _answer_one(settings)
        return
    workers = None
    if settings.ray_workers:
        from destila.integrations.ray import file_workers

        workers = file_workers(settings)
    counts = answer_file(settings, _load(settings), workers=workers)
    said = say(f"{settings.input}: {counts['questions']} questions, {counts['errors']} errors")
    if settings.output in (None, "-"):  # the answers themselves are on stdout
        print(said, file=sys.stderr)
    else:
        show(counts, said, json=settings.json)


def _load(settings: AnswerSettings, *, lean: bool = False) -> Reader:
    return Reader.load(settings.model, threads=settings.threads, lean=lean, **settings.options)


def _answer_one(settings: AnswerSettings) -> None:
    question, name = settings.question or "", settings.context or ""
    if kind_of(name) not in (None, "text") or Path(name).is_dir():  # needs a parser
        from destila.cli import answer_documents  # an index, a cache: nothing for one text

        answer_documents.run(settings, _load(settings))
        return
    context = _read_text(name, settings.documents)
    reader = _load(settings, lean=len(context) < LONG)
    ((prediction, answers),) = reader.read(examples_of([(question, context)]), top_k=settings.top_k)
    lines = [_readable(answer) for answer in answers]
    if prediction.guess and len(answers) == 1:
        lines.append(say("    best guess: ") + _readable(prediction.guess))
    show(answer_fields(prediction, answers), "\n".join(lines), json=settings.json)


def _read_text(name: str, limits: DocumentSettings) -> str:
    """The text of a file, or of standard input for "-": newlines are left as they are."""
    where = "standard input" if name == "-" else name
    with open_binary(name) as file:
        document = plain_text(where, file.read(limits.file_bytes + 1), limits)
    if document.note:
        print(f"{visible(say_name(where))}: {say(document.note)}.", file=sys.stderr)
    return document.text


def _readable(answer: Answer) -> str:
    if answer.text is None:
        return say(f"no answer (score {answer.score:.3f})")
    place = say(f"score {answer.score:.3f}, characters {answer.start}-{answer.end}")
    return f"{visible(answer.text)}  ({place})"
