"""`destila answer`: answer one question from a text, or a file of questions line by line.

Mental model: one question is read whole, answered and printed. A file of questions is a stream: it is read, answered
and written a chunk at a time, in order, one line of output for one line of input. Invariant: a line that cannot be
answered becomes an {"error": ...} line and never stops, moves or changes another; the output file appears whole or not
at all. The answering itself is `destila.reader`'s.
"""

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from destila.errors import UserError
from destila.progress import Progress
from destila.reader import Reader
from destila.records import Answer
from destila.runs import atomic_file
from destila.settings import AnswerSettings

LINES_AT_ONCE, BYTES_AT_ONCE = 256, 4_000_000  # a chunk of the stream: whichever comes first
BOM = "\ufeff"


def run(settings: AnswerSettings) -> dict[str, Any]:
    """Answer, and print or write the answers.

    Returns:
        {"answers": [{"text", "start", "end", "score"}]} for one question; {"questions": n, "errors": m} for a file.

    Raises:
        UserError: a question or text is missing or cannot be read, or the model cannot.
    """
    _check_usage(settings)
    return _answer_file(settings) if settings.input is not None else _answer_one(settings)


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


def _load(settings: AnswerSettings) -> Reader:
    return Reader.load(settings.model, backend=settings.backend, revision=settings.revision, threads=settings.threads)


# ------------------------------------------------------------------------------------------ one question
def _answer_one(settings: AnswerSettings) -> dict[str, Any]:
    question, context = _question(settings.question or ""), _read_text(settings.context or "")
    answers = _load(settings).answers(question, context, top_k=settings.top_k)
    result = {"answers": [asdict(answer) for answer in answers]}
    print(_json(result) if settings.json else "\n".join(map(_readable, answers)))
    return result


def _question(question: str) -> str:
    if not question.strip():
        raise UserError("question", "is empty", "Ask something.")
    if any("\ud800" <= letter <= "\udfff" for letter in question):
        raise UserError("question", "is not valid UTF-8", "Set the terminal to UTF-8, or put the question into a file.")
    return question


def _read_text(name: str) -> str:
    """The text of a file, or of standard input for "-", exactly: newlines are left as they are."""
    where = "standard input" if name == "-" else name
    with _open(name) as file:
        content = file.read()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 text (byte {error.start} is 0x{content[error.start]:02x})"
        raise UserError(where, problem, "Convert it, for example with iconv -t UTF-8.") from None
    if "\0" in text:
        raise UserError(where, f"is not text (byte {content.index(0)} is NUL)", "Give plain text.")
    return text


@contextlib.contextmanager
def _open(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = open(name, "rb")  # noqa: SIM115 (closed below; only opening it may fail like this)
    except (OSError, ValueError) as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(name, f"cannot be read: {reason}", "Give a file, or - for standard input.") from None
    with file:
        yield file


def _readable(answer: Answer) -> str:
    if answer.text is None:
        return f"no answer (score {answer.score:.3f})"
    return f"{' '.join(answer.text.split())}  (score {answer.score:.3f}, characters {answer.start}-{answer.end})"


def _json(value: Any) -> str:
    """One line of JSON; lone surrogates, which no UTF-8 file can hold, are escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isascii() or _is_utf8(text) else json.dumps(value)


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


# ------------------------------------------------------------------------------------------ a file of questions
@dataclass(frozen=True, slots=True)
class _Line:
    """One line of input: a pair, or what is wrong with it. `id` is {"id": ...} if the line has one, else empty."""

    number: int
    id: dict[str, Any]
    pair: tuple[str, str] = ("", "")
    error: str = ""


def _answer_file(settings: AnswerSettings) -> dict[str, Any]:
    source, target = settings.input or "", settings.output
    if target not in (None, "-"):
        _check_target(source, Path(target))
    with _open(source) as file, _writer(target) as output:
        reader = _load(settings)
        counts = {"questions": 0, "errors": 0}
        progress = Progress(None, what="Answering", unit="questions")
        for lines in _chunks(file):
            for result in _answer_lines(reader, lines, top_k=settings.top_k):
                output.write((_json(result) + "\n").encode("utf-8"))
                counts["questions"] += 1
                counts["errors"] += "error" in result
            progress.advance(len(lines))
        progress.close()
    print(f"{source}: {counts['questions']} questions, {counts['errors']} errors", file=sys.stderr)
    return counts


def _check_target(source: str, target: Path) -> None:
    if target.is_dir():
        raise UserError(str(target), "is a directory", "Give --output a file.")
    if source != "-" and target.exists() and Path(source).exists() and target.samefile(source):
        raise UserError(str(target), "is the input, too", "Give --output another file.")


@contextlib.contextmanager
def _writer(name: str | None) -> Iterator[BinaryIO]:
    if name is None or name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with atomic_file(Path(name)) as temporary, open(temporary, "wb") as file:
        yield file


def _chunks(file: BinaryIO) -> Iterator[list[_Line]]:
    """The lines that are not blank, so many at once that memory stays flat."""
    chunk, size = list[_Line](), 0
    for number, line in enumerate(file, 1):
        if line.strip():
            chunk.append(_parse(number, line))
            size += len(line)
        if len(chunk) == LINES_AT_ONCE or size > BYTES_AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _parse(number: int, line: bytes) -> _Line:
    try:
        record = json.loads(line.decode("utf-8").removeprefix(BOM))
    except (ValueError, RecursionError) as error:
        return _Line(number, {}, error=f"line {number} is not JSON in UTF-8 ({error})")
    if not isinstance(record, dict):
        return _Line(number, {}, error=f"line {number} is not a JSON object")
    identity = {"id": record["id"]} if "id" in record else {}
    question, context = record.get("question"), record.get("context")
    if not isinstance(question, str) or not isinstance(context, str):
        return _Line(number, identity, error=f"line {number} needs the strings question and context")
    if not question.strip():
        return _Line(number, identity, error=f"line {number}: the question is empty")
    return _Line(number, identity, (question, context))


def _answer_lines(reader: Reader, lines: Sequence[_Line], *, top_k: int) -> list[dict[str, Any]]:
    """One result for each line. A question that the reader refuses must not take its neighbours along."""
    good = [line for line in lines if not line.error]
    try:
        ranked = reader.rank([line.pair for line in good], top_k=top_k)
    except UserError as error:
        if error.where == reader.name:  # a broken model is no fault of a line
            raise
        if len(lines) == 1:
            return [lines[0].id | {"error": f"line {lines[0].number}: {error}"}]
        return [result for line in lines for result in _answer_lines(reader, [line], top_k=top_k)]
    answers = iter(ranked)
    return [
        line.id | ({"error": line.error} if line.error else {"answers": [asdict(answer) for answer in next(answers)]})
        for line in lines
    ]
