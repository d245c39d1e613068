"""Files of questions: one JSON object a line in, one JSON object a line out, whatever is wrong with some lines.

Mental model: a file is cut into pieces of some hundred lines; a piece is parsed, answered as one batch and written out
as a block of bytes. Lines of a piece that share a context share its tokens. A piece knows where it ends, so that work
can go on from there, in this process or another one.

Invariants: every line that is not blank gives one line of output, in order; one that cannot be answered gives an
{"error": ...} line and changes no other. Memory does not grow with the file, nor with the length of a line. This module
opens and writes no file; the answering itself is `destila.inference.reader`'s.
"""

from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, BinaryIO

from destila.core.errors import UserError
from destila.core.records import Answer, Prediction
from destila.core.strict_json import dumps, loads
from destila.inference.questions import examples_of
from destila.inference.reader import Reader

LINES_AT_ONCE, BYTES_AT_ONCE = 256, 4_000_000  # a piece: whichever comes first
LONGEST_LINE = 2_000_000  # bytes, as many as the server takes; a book has about one million


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two lines of a file: how many lines and bytes lie before it."""

    lines: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive lines of a file."""

    start: Position  # where they begin
    end: Position  # where the next piece begins
    lines: Sequence[bytes | None]  # their bytes; None stands for a line that is too long to be held


@dataclass(frozen=True, slots=True)
class Answered:
    """What a piece became: its lines of output, how many they are, how many of them are errors, where it ended."""

    content: bytes
    questions: int
    errors: int
    end: Position


@dataclass(frozen=True, slots=True)
class _Question:
    """A line that is not blank: a pair, or what is wrong. `id` is {"id": ...} if the line has one, else empty."""

    number: int
    id: dict[str, Any]
    pair: tuple[str, str] = ("", "")
    error: str = ""


# ------------------------------------------------------------------------------------------ reading
def pieces(file: BinaryIO, start: Position = Position()) -> Iterator[Piece]:
    """The pieces of a file that stands at `start`."""
    lines, size, place = list[bytes | None](), 0, start
    for content, length in _raw_lines(file):
        lines.append(content)
        size += length
        if len(lines) == LINES_AT_ONCE or size > BYTES_AT_ONCE:
            end = Position(place.lines + len(lines), place.bytes + size)
            yield Piece(place, end, lines)
            lines, size, place = [], 0, end
    if lines:
        yield Piece(place, Position(place.lines + len(lines), place.bytes + size), lines)


def read_piece(file: BinaryIO, start: Position, end: Position) -> Piece:
    """The piece of a file that lies between two positions."""
    file.seek(start.bytes)
    return Piece(start, end, [content for content, _ in islice(_raw_lines(file), end.lines - start.lines)])


def _raw_lines(file: BinaryIO) -> Iterator[tuple[bytes | None, int]]:
    """Each line and its length in bytes; None in place of one that is too long, which is read past in parts."""
    while line := file.readline(LONGEST_LINE + 1):
        length = len(line)
        if length <= LONGEST_LINE or line.endswith(b"\n"):
            yield line, length
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE)
            length += len(line)
        yield None, length


def _parse(number: int, line: bytes | None) -> _Question:
    if line is None:
        return _Question(number, {}, error=f"line {number} is longer than {LONGEST_LINE} bytes")
    try:
        record = loads(line.removeprefix(BOM_UTF8).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        return _Question(number, {}, error=f"line {number} is not JSON in UTF-8 ({error})")
    if not isinstance(record, dict):
        return _Question(number, {}, error=f"line {number} is not a JSON object")
    identity = {"id": record["id"]} if "id" in record else {}
    question, context = record.get("question"), record.get("context")
    if not isinstance(question, str) or not isinstance(context, str):
        return _Question(number, identity, error=f"line {number} needs the strings question and context")
    for name, text in (("question", question), ("context", context)):
        if not text.strip():
            return _Question(number, identity, error=f"line {number}: the {name} is empty")
    return _Question(number, identity, (question, context))


# ------------------------------------------------------------------------------------------ answering
def answer_piece(reader: Reader, piece: Piece, *, top_k: int) -> Answered:
    """Answer the lines of a piece together.

    Raises:
        UserError: the model is broken; what is wrong with a line becomes its line of output instead.
    """
    numbered = enumerate(piece.lines, piece.start.lines + 1)
    questions = [_parse(n, line) for n, line in numbered if line is None or line.removeprefix(BOM_UTF8).strip()]
    lines, errors = list[str](), 0
    for question, result in zip(questions, _answer(reader, questions, top_k=top_k), strict=True):
        try:
            lines.append(dumps(result) + "\n")
        except (ValueError, RecursionError):  # an id such as 1e999, or of a thousand brackets
            result = {"error": f"line {question.number}: its id cannot be written as JSON"}
            lines.append(dumps(result) + "\n")
        errors += "error" in result
    return Answered("".join(lines).encode("utf-8"), len(lines), errors, piece.end)


def _answer(reader: Reader, questions: Sequence[_Question], *, top_k: int) -> list[dict[str, Any]]:
    """One result for each. What the reader refuses is found by halves, so that its neighbors still run together."""
    good = [question for question in questions if not question.error]
    try:
        read = list(reader.read(examples_of(question.pair for question in good), top_k=top_k))
    except UserError as error:
        if error.where == reader.name:  # a broken model is no fault of a line
            raise
        if len(questions) == 1:
            return [questions[0].id | {"error": f"line {questions[0].number}: {error}"}]
        half = len(questions) // 2
        return _answer(reader, questions[:half], top_k=top_k) + _answer(reader, questions[half:], top_k=top_k)
    said = iter(read)
    return [
        question.id | ({"error": question.error} if question.error else answer_fields(*next(said)))
        for question in questions
    ]


def answer_fields(prediction: Prediction, answers: Sequence[Answer]) -> dict[str, Any]:
    """Answers as they are written: {"answers": [...]}, with {"guess": ...} where the first is "no answer"."""
    found = {"answers": [asdict(answer) for answer in answers]}
    guess = asdict(prediction.guess) if prediction.guess else None
    return found | ({"guess": guess} if prediction.answer.text is None else {})
