"""Answer one question from a PDF, a Word document, an HTML page, or a folder of such files.

An answer comes with its file, page and sentence. What could not be read goes to stderr and stops nothing. Invariant:
nothing that a file holds, its name included, can steer the terminal.
"""

import sys
from dataclasses import asdict
from typing import Any

from destila.cli.result import show
from destila.config import AnswerSettings
from destila.core.characters import visible
from destila.core.language import say, say_error
from destila.inference.documents.folder import DocumentAnswers, FoundAnswer, answer_documents, others_of, told_notes
from destila.inference.reader import Reader

SHOWN = 10  # refusals, and notes


def run(settings: AnswerSettings, reader: Reader) -> None:
    """Answer, and print the answers.

    The result is {"answers": [{"text", "start", "end", "score", "file", "page", "sentence"}]}, with the best "guess"
    behind a refusal; for a folder also {"files": n, "refused": [{"file", "problem"}], "others": n}: how many were
    searched, those that could not be read, and how many are of kinds that are not read.
    """
    path, question, limits = settings.context or "", settings.question or "", settings.documents
    found = answer_documents(path, question, reader, top_k=settings.top_k, settings=settings.folder, limits=limits)
    _tell(found)
    result: dict[str, Any] = {"answers": [_fields(answer) for answer in found.answers]}
    lines = [_readable(answer) for answer in found.answers]
    if found.answers[0].answer.text is None:
        result["guess"] = _fields(found.guess) if found.guess else None
    if found.guess and len(found.answers) == 1:
        lines.append(say("    best guess: ") + _readable(found.guess))
    if found.files is not None:
        refused = [{"file": error.where, "problem": error.problem} for error in found.refused]
        result |= {"files": found.files, "refused": refused, "others": len(found.others)}
    show(result, "\n".join(lines), json=settings.json)


def _fields(found: FoundAnswer) -> dict[str, Any]:
    answer = found.answer
    place = {"file": found.file, "page": found.page, "sentence": found.sentence}
    return {**asdict(answer), **place}


def _tell(found: DocumentAnswers) -> None:
    for error in found.refused[:SHOWN]:
        print(say("skipped: ") + visible(say_error(error)), file=sys.stderr)
    if len(found.refused) > SHOWN:
        print(say(f"skipped: {len(found.refused) - SHOWN} more files; --json names them all"), file=sys.stderr)
    if found.others:
        print(say("skipped: ") + visible(say(others_of(found.others))), file=sys.stderr)
    for line in told_notes(found.notes, SHOWN):
        print(f"{say(line)}.", file=sys.stderr)


def _readable(found: FoundAnswer) -> str:
    answer = found.answer
    if answer.text is None:
        return say(f"no answer (score {answer.score:.3f})")
    places = [f"score {answer.score:.3f}", f"page {found.page}", f"characters {answer.start}-{answer.end}"]
    score, page, characters = map(say, places)
    place = ", ".join([score, visible(found.file or ""), *([page] if found.page else []), characters])
    return f"{visible(answer.text)}  ({place})\n    {visible(found.sentence or '')}"
