"""Parse a hostile file without being harmed: one short-lived process for each, with limits on memory, time and output.

Mental model: bytes in through a pipe, one JSON object out through another (`destila.inference.documents.parsers.main`).
The child bounds its own memory and rights; its parent watches the clock and reads no more than a text may have.
Whatever the file does to the child, the parent sees a `Document` or a `DocumentError`, and the child is gone.

It bounds harm; it is no jail for programs: on systems without `resource` (Windows) only time and output are limited.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from typing import IO, Any

from destila.config import DocumentSettings
from destila.inference.documents.document import (
    ENCODING_REMEDY,
    KIND_REMEDY,
    NAMES,
    TEXT_REMEDY,
    Document,
    DocumentError,
    Kind,
)

CHILD = "from destila.inference.documents.parsers import main; main()"
BYTES_PER_CHARACTER = 12  # of JSON in ASCII: a letter beyond the basic plane is two escapes
REMEDIES = {
    "encrypted": "Save a copy without the password.",
    "broken": "Open it in the program that made it and save it again.",
    "no_text": "If its pages are pictures, run it through OCR first, for example with ocrmypdf.",
    "too_large": "Split it into smaller files, or raise the limits (documents.memory_bytes, documents.characters).",
    "too_slow": "Split it into smaller files, or raise documents.seconds.",
    "encoding": ENCODING_REMEDY,
    "kind": KIND_REMEDY,
    "missing": "pip install 'destila[documents]'",
}


def parse_apart(name: str, content: bytes, kind: Kind, limits: DocumentSettings) -> Document:
    """The text of a PDF, a Word document or an HTML page.

    Args:
        name: of the file, for messages.

    Raises:
        DocumentError: it holds none that can be read within the limits.
    """
    output, code, late = _run(content, kind, limits)
    if late or code == -signal.SIGXCPU:
        raise _error(name, kind, "too_slow", f"takes more than {limits.seconds:g} s to be read")
    try:
        answer = json.loads(output)
        if "problem" in answer:
            raise _error(name, kind, answer["code"], answer["problem"])
        return Document(answer["text"], tuple(answer["pages"]), answer["note"])
    except (ValueError, KeyError, TypeError):  # the child died before, or while, it spoke
        problem = f"is damaged, or needs more than {limits.memory_bytes:,} bytes of memory to be read as {NAMES[kind]}"
        raise _error(name, kind, "broken", problem) from None


def _error(name: str, kind: Kind, code: Any, problem: str) -> DocumentError:
    is_page = code == "no_text" and kind == "html"  # which is no picture of a text, either
    return DocumentError(name, problem, TEXT_REMEDY if is_page else REMEDIES[code], code=code)


def _run(content: bytes, kind: Kind, limits: DocumentSettings) -> tuple[bytes, int, bool]:
    """What the child wrote, how it ended, and whether it was stopped because it took too long."""
    numbers = (limits.characters, limits.memory_bytes, limits.seconds)
    command = [sys.executable, "-P", "-S", "-c", CHILD, kind, *map(str, numbers)]
    late = threading.Event()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def stop() -> None:
            late.set()
            child.kill()

        clock = threading.Timer(limits.seconds, stop)
        feeder = threading.Thread(target=_feed, args=(child.stdin, content), daemon=True)
        clock.start()
        feeder.start()
        try:
            output = child.stdout.read(BYTES_PER_CHARACTER * limits.characters + 1_000_000)
        finally:
            child.kill()  # it has said what it has to say, or more than it may
            clock.cancel()
            feeder.join()
    return output, child.returncode, late.is_set()


def _feed(pipe: IO[bytes], content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), pipe:  # a child that has died reads no more
        pipe.write(content)


def _environment() -> dict[str, str]:
    """The parent's modules and what a system needs to start a program; none of its secrets."""
    kept = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "PATH")
    paths = [os.path.abspath(path) for path in sys.path]
    return {"PYTHONPATH": os.pathsep.join(paths)} | {name: os.environ[name] for name in kept if name in os.environ}
