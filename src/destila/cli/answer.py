"""`destila answer`: answer one question from a text, or a file of questions line by line.

Mental model: one question is read whole, answered and printed; a file of questions is a stream, and
`destila.inference.answer_file`'s. The answering itself is `destila.inference.reader`'s.
"""

import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from destila.config import AnswerSettings
from destila.core.errors import UserError
from destila.core.language import say, say_name
from destila.core.records import Answer
from destila.core.strict_json import dumps
from destila.inference.answer_file import Workers, answer_file, open_binary
from destila.inference.documents.document import kind_of
from destila.inference.documents.open import plain_text
from destila.inference.jsonl import Answered, Position, answer_fields
from destila.inference.reader import Reader, examples_of

LONG = 20_000  # characters of a text; a process that reads less of them is over before speed could pay


def run(settings: AnswerSettings) -> dict[str, Any]:
    """Answer, and print or write the answers.

    Returns:
        {"answers": [{"text", "start", "end", "score"}]} for one question, with the best "guess" behind a refusal;
        {"questions": n, "errors": m} for a file.

    Raises:
        UserError: a question or text is missing or cannot be read, or the model cannot; see `answer_file`.
    """
    _check_usage(settings)
    if settings.input is None:
        return _answer_one(settings)
    counts = answer_file(settings, _load(settings), workers=_ray_workers(settings) if settings.ray_workers else None)
    if settings.json and settings.output not in (None, "-"):  # else the answers themselves are on stdout
        print(dumps(counts))
    return dict(counts)


def _check_usage(settings: AnswerSettings) -> None:
    problems = []
    if settings.input is None:
        if settings.question is None:
            problems.append("no question")
        if settings.context is None:
            problems.append("no text to answer from")
        if settings.output is not None:
            problems.append("--output goes with --input")
    elif settings.question is not None or settings.context is not None:
        problems.append("--input brings its own questions and contexts; leave QUESTION and --context out")
    if problems:
        usage = "Usage: destila answer QUESTION --context FILE|-, or destila answer --input FILE --output FILE."
        raise UserError.from_problems("destila answer", problems, usage)


def _load(settings: AnswerSettings, *, lean: bool = False) -> Reader:
    return Reader.load(
        settings.model,
        backend=settings.backend,
        revision=settings.revision,
        threads=settings.threads,
        lean=lean,
        must_answer=settings.must_answer,
        no_answer_threshold=settings.no_answer_threshold,
    )


def _ray_workers(settings: AnswerSettings) -> Workers:
    """The workers of a Ray cluster, which is imported when they begin."""

    def answered(file: Path, start: Position) -> Generator[Answered, None, None]:
        from destila.integrations.ray import Workers, answer_pieces

        workers = Workers(
            settings.ray_workers,
            settings.model,
            settings.backend,
            settings.revision,
            threads=settings.threads or 1,  # a worker takes so many of the cluster's cores
            must_answer=settings.must_answer,
            no_answer_threshold=settings.no_answer_threshold,
        )
        yield from answer_pieces(file, start, workers, top_k=settings.top_k)

    return answered


# ------------------------------------------------------------------------------------------ one question
def _answer_one(settings: AnswerSettings) -> dict[str, Any]:
    question = _question(settings.question or "")
    if _is_document(settings.context or ""):
        from destila.cli.answer_documents import answer_documents  # an index, a cache: nothing for one text

        return answer_documents(settings, question, _load(settings))
    context = _read_text(settings.context or "")
    reader = _load(settings, lean=len(context) < LONG)
    ((prediction, answers),) = reader.read(examples_of([(question, context)]), top_k=settings.top_k)
    result = answer_fields(prediction, answers)
    lines = [_readable(answer) for answer in answers]
    if prediction.guess and len(answers) == 1:
        lines.append(say("    best guess: ") + _readable(prediction.guess))
    print(dumps(result) if settings.json else "\n".join(lines))
    return result


def _is_document(context: str) -> bool:
    """Whether a context is a folder or a file that needs a parser; plain text is neither."""
    return kind_of(context) not in (None, "text") or Path(context).is_dir()


def _question(question: str) -> str:
    if not question.strip():
        raise UserError("question", "is empty", "Ask something.")
    if any("\ud800" <= letter <= "\udfff" for letter in question):
        raise UserError("question", "is not valid UTF-8", "Set the terminal to UTF-8, or put the question into a file.")
    return question


def _read_text(name: str) -> str:
    """The text of a file, or of standard input for "-": newlines are left as they are."""
    where = "standard input" if name == "-" else name
    with open_binary(name) as file:
        document = plain_text(where, file.read())
    if document.note:
        print(f"{say_name(where)}: {say(document.note)}.", file=sys.stderr)
    if not document.text.strip():
        raise UserError(where, "holds no text", "Give a text to answer from.")
    return document.text


def _readable(answer: Answer) -> str:
    if answer.text is None:
        return say(f"no answer (score {answer.score:.3f})")
    place = say(f"score {answer.score:.3f}, characters {answer.start}-{answer.end}")
    return f"{' '.join(answer.text.split())}  ({place})"
