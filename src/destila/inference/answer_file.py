"""The part of `destila answer` that answers a file of questions: in flat memory, in order, and through kills.

Mental model: pieces of the input are answered one after the other, here or by the workers of a Ray cluster, and each is
appended to the output's journal together with the place where it ended. The same command continues after a kill. A
stream has no place to come back to: from or to a pipe, pieces are passed on as they are.
"""

import contextlib
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from destila.config import AnswerSettings
from destila.core.errors import UserError
from destila.core.journal import Journal
from destila.core.language import say
from destila.core.model_files import MODEL_FILES, PICKLES, find_files
from destila.core.outputs import check_file
from destila.core.progress import Progress
from destila.core.runs import atomic_file, destila_version, is_special, writing
from destila.core.signals import caught_signals
from destila.inference.jsonl import Answered, Position, answer_piece, pieces
from destila.inference.places import directory_of
from destila.inference.reader import Reader

Counts = dict[str, int]  # {"questions": n, "errors": m}
Workers = Callable[[Path, Position], Generator[Answered, None, None]]  # file, where to begin -> its output from there
BLOCK = 2**20


def answer_file(settings: AnswerSettings, reader: Reader, *, workers: Workers | None = None) -> Counts:
    """Answer the lines of `settings.input` into `settings.output`.

    Args:
        workers: they answer in the place of `reader`; not from or to a stream.

    Returns:
        {"questions": n, "errors": m}, over all calls that it took.

    Raises:
        UserError: a file cannot be read or written, the output is finished already or was begun from something else,
            or the model is broken.
        SystemExit: 128 + n after signal n; everything so far is recorded.
    """
    source, target = settings.input or "-", settings.output or "-"
    if target != "-":
        check_file("--output", target)
        _check_target(source, Path(target))
    with open_binary(source) as file:
        if target == "-" or not Path(source).is_file() or is_special(Path(target)):
            _refuse_workers(workers)
            counts = _pass_on(settings, reader, file, target)
        else:
            counts = _write_through_kills(settings, reader, file, workers)
    return counts


@contextlib.contextmanager
def open_binary(name: str) -> Iterator[BinaryIO]:
    """A file to read, or standard input for "-".

    Raises:
        UserError: it cannot be read.
    """
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


def _check_target(source: str, target: Path) -> None:
    if source != "-" and target.exists() and Path(source).exists() and target.samefile(source):
        raise UserError(str(target), "is the input, too", "Give --output another file.")


# ------------------------------------------------------------------------------------------ through kills
def _write_through_kills(settings: AnswerSettings, reader: Reader, file: BinaryIO, workers: Workers | None) -> Counts:
    digest, lines = _survey(file)
    if not digest:
        raise _no_question(settings)
    identity = {
        "input": digest,
        "model": _model_identity(settings),
        "run time": type(reader.model).__name__,
        "top_k": settings.top_k,
        "no_answer_threshold": reader.no_answer_threshold,
        "least_probability": reader.least_probability,
        "version of destila": destila_version(),
    }
    journal = Journal.open(Path(settings.output or ""), identity, overwrite=settings.overwrite)
    # The generator is closed at once, so that workers stop; a signal lets the piece in hand end first.
    with contextlib.closing(journal), caught_signals() as received:
        place = {"lines": 0, "bytes": 0, "questions": 0, "errors": 0} | journal.place
        if place["lines"]:
            print(say(f"{settings.output}: going on after line {place['lines']:,} of {lines:,}"), file=sys.stderr)
        progress = Progress(lines, what="Answering", unit="lines", initial=place["lines"])
        start = Position(place["lines"], place["bytes"])
        answered = workers(Path(file.name), start) if workers else _answered(settings, reader, file, start)
        with contextlib.closing(progress), contextlib.closing(answered):
            for block in answered:
                progress.advance(block.end.lines - place["lines"])
                place = {"lines": block.end.lines, "bytes": block.end.bytes, **_add(place, block)}
                journal.append(block.content, place)
                if received:
                    journal.record()
                    stopped = f"stopped after line {place['lines']:,} of {lines:,}; the same command goes on"
                    print(say(stopped), file=sys.stderr)
                    sys.exit(128 + received[0])
        journal.finish()
    return {"questions": place["questions"], "errors": place["errors"]}


def _answered(
    settings: AnswerSettings, reader: Reader, file: BinaryIO, start: Position
) -> Generator[Answered, None, None]:
    """The output from `start` on, block by block."""
    file.seek(start.bytes)
    for piece in pieces(file, start):
        yield answer_piece(reader, piece, top_k=settings.top_k)


def _add(counts: Mapping[str, int], block: Answered) -> Counts:
    return {"questions": counts["questions"] + block.questions, "errors": counts["errors"] + block.errors}


def _survey(file: BinaryIO) -> tuple[str, int]:
    """Digest of a file, empty if its lines all are, and how many lines it has; far quicker than answering."""
    import hashlib  # with OpenSSL, 3 MB; one question needs none

    digest, lines, last, blank = hashlib.blake2b(digest_size=16), 0, b"\n", True
    while block := file.read(BLOCK):
        digest.update(block)
        lines += block.count(b"\n")
        last = block[-1:]
        blank = blank and not block.removeprefix(BOM_UTF8).strip()
    return "" if blank else digest.hexdigest(), lines + (last != b"\n")


def _no_question(settings: AnswerSettings) -> UserError:
    where = settings.input if settings.input and settings.input != "-" else "standard input"
    return UserError(where, "holds no question", 'Give lines of {"question": ..., "context": ...}.')


def _model_identity(settings: AnswerSettings) -> str:
    """Digest of what answers depend on in a model's directory."""
    import hashlib

    place = directory_of(settings.model, settings.revision)
    digest = hashlib.blake2b(digest_size=16)
    for path in find_files(place, (*MODEL_FILES, *PICKLES)):
        with open(path, "rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'blake2b').hexdigest()}\n".encode())
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------ streams
def _refuse_workers(workers: Workers | None) -> None:
    if workers:
        raise UserError(
            "--ray-workers", "needs files: workers cannot share a stream", "Give --input and --output files."
        )


def _pass_on(settings: AnswerSettings, reader: Reader, file: BinaryIO, target: str) -> Counts:
    counts = {"questions": 0, "errors": 0}
    progress = Progress(None, what="Answering", unit="questions")
    with _stream_to(target, overwrite=settings.overwrite) as output, contextlib.closing(progress):
        for piece in pieces(file):
            answered = answer_piece(reader, piece, top_k=settings.top_k)
            output.write(answered.content)
            output.flush()
            counts = {
                "questions": counts["questions"] + answered.questions,
                "errors": counts["errors"] + answered.errors,
            }
            progress.advance(answered.questions)
        if not counts["questions"]:
            raise _no_question(settings)
    return counts


@contextlib.contextmanager
def _stream_to(name: str, *, overwrite: bool) -> Iterator[BinaryIO]:
    """Standard output, a pipe or a device as it is; a file appears whole or not at all."""
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif is_special(Path(name)):
        with writing(Path(name)), open(name, "wb") as file:
            yield file
    else:
        if Path(name).exists() and not overwrite:
            raise UserError(name, "exists already", "Add --overwrite, or choose another --output.")
        with atomic_file(Path(name)) as temporary, open(temporary, "wb") as file:
            yield file
