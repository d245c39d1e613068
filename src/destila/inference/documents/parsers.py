"""The process in which a PDF, a Word document or an HTML page becomes a text: `main`.

It reads the file from standard input and writes one JSON object. Before it parses, it gives up what it does not need:
it can open no file, no socket and no process, and its memory and time are bounded by the system.
`destila.inference.documents.sandbox` starts it; `pdf`, `word` and `html` beside it know the formats.

Invariant: nothing of a document is executed, fetched or followed.
"""

import codecs
import contextlib
import math
import sys
from functools import partial
from typing import Any

from destila.core.strict_json import dumps
from destila.inference.documents import encoding
from destila.inference.documents.document import Unreadable
from destila.inference.documents.html import html_parser
from destila.inference.documents.pdf import pdf_parser
from destila.inference.documents.word import word_parser

to_line = partial(dumps, ascii=True)  # whatever the locale of this process is
PARSERS = {"pdf": pdf_parser, "docx": word_parser, "html": html_parser}
CODECS = ("ascii", "cp437", "latin-1", "utf-16", "utf-8-sig", *encoding.CODECS)
NO_TEXT = {
    "pdf": "holds no text, only pictures of it, if anything",
    "docx": "holds no text, only pictures of it, if anything",
    "html": "holds no text that a person could read",
}


def confine(*, memory: int, seconds: float) -> None:
    """Give up every right that parsing does not need. What a system cannot limit is left to the parent's clock."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: math.ceil(seconds),
        resource.RLIMIT_FSIZE: 0,  # writes to pipes alone
        resource.RLIMIT_NOFILE: 3,  # standard input, output and errors are open; nothing else ever will be
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, value))


def main() -> None:
    """Parse standard input; arguments: kind, most characters, bytes of memory, seconds."""
    kind, characters, memory, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    for name in CODECS:  # Python would open their files when they are first used, and then it can no more
        codecs.lookup(name)
    try:
        parse = PARSERS[kind]()
    except ModuleNotFoundError as error:
        print(to_line({"code": "missing", "problem": f"needs {error.name}, which is not installed"}))
        return
    confine(memory=memory, seconds=seconds)
    try:
        text, pages, note = parse(sys.stdin.buffer.read(), memory)
        if not text:
            raise Unreadable("no_text", NO_TEXT[kind])
        if len(text) > characters:
            raise Unreadable("too_large", f"holds {len(text):,} characters of text, and {characters:,} are allowed")
        answer: dict[str, Any] = {"text": text, "pages": pages, "note": note}
        output = to_line(answer)
    except Unreadable as error:
        output = to_line({"code": error.code, "problem": error.problem})
    except (MemoryError, RecursionError):
        output = to_line({"code": "too_large", "problem": f"needs more than {memory:,} bytes of memory to be read"})
    except Exception as error:  # a parser that stumbles over a hostile file in a way of its own
        output = to_line({"code": "broken", "problem": f"cannot be parsed ({type(error).__name__})"})
    print(output)
