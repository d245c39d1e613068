"""Answer one question from a PDF, a Word document, an HTML page, or a folder of such files.

Mental model: one document is read whole; of a folder the passages that match the question best. Either way an answer
comes with its file, page and sentence. What could not be read goes to stderr and stops nothing. Invariant: nothing that
a file holds, its name included, can steer the terminal.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from destila.config import AnswerSettings
from destila.core.language import say, say_error
from destila.core.strict_json import dumps
from destila.inference.documents.document import DocumentError
from destila.inference.documents.folder import Folder, FoundAnswer
from destila.inference.documents.open import read_document
from destila.inference.reader import Reader

SHOWN = 10  # refusals, and notes
# Control characters, surrogates, and the marks that change the direction of the text around them.
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def answer_documents(settings: AnswerSettings, question: str, reader: Reader) -> dict[str, Any]:
    """Answer, and print the answers.

    Returns:
        {"answers": [{"text", "start", "end", "score", "file", "page", "sentence"}]}, with the best "guess" behind a
        refusal; for a folder also {"files": n, "refused": [{"file", "problem"}]}: how many were searched, and the
        others.

    Raises:
        UserError: nothing can be read, the model cannot, or the extra `documents` is missing.
    """
    path, result = settings.context or "", dict[str, Any]()
    most = max(2, settings.top_k)  # behind a refusal stands the best guess
    if Path(path).is_dir():
        folder = Folder.open(path, settings.folder, settings.documents)
        found = folder.answers(reader, question, passages=settings.folder.passages, top_k=most)
        folder.close()
        result = {"files": len(folder.files), "refused": [_refusal(error) for error in folder.refused]}
        _tell(folder.refused, folder.notes)
    else:
        document = read_document(path, settings.documents)
        answers = reader.answers(question, document.text, top_k=most)
        found = [FoundAnswer.at(answer, path, document) for answer in answers]
        _tell([], {path: document.note} if document.note else {})
    shown, guess = found[: settings.top_k], dict[str, Any]()
    lines = [_readable(answer) for answer in shown]
    if found[0].answer.text is None:
        guess = {"guess": _fields(found[1]) if len(found) > 1 else None}
        lines += [say("    best guess: ") + _readable(answer) for answer in found[len(shown) : 2]]
    result = {"answers": [_fields(answer) for answer in shown], **guess, **result}
    print(dumps(result) if settings.json else "\n".join(lines))
    return result


def _fields(found: FoundAnswer) -> dict[str, Any]:
    answer = found.answer
    place = {"file": found.file, "page": found.page, "sentence": found.sentence}
    return {"text": answer.text, "start": answer.start, "end": answer.end, "score": answer.score, **place}


def _refusal(error: DocumentError) -> dict[str, str]:
    return {"file": error.where, "problem": error.problem}


def _tell(refused: Sequence[DocumentError], notes: Mapping[str, str]) -> None:
    for error in refused[:SHOWN]:
        print(say("skipped: ") + visible(say_error(error)), file=sys.stderr)
    if len(refused) > SHOWN:
        print(say(f"skipped: {len(refused) - SHOWN} more files; --json names them all"), file=sys.stderr)
    for path, note in islice(notes.items(), SHOWN):
        print(f"{visible(path)}: {say(note)}.", file=sys.stderr)
    if len(notes) > SHOWN:
        print(say(f"The same goes for {len(notes) - SHOWN} more files."), file=sys.stderr)


def _readable(found: FoundAnswer) -> str:
    answer = found.answer
    if answer.text is None:
        return say(f"no answer (score {answer.score:.3f})")
    places = [f"score {answer.score:.3f}", f"page {found.page}", f"characters {answer.start}-{answer.end}"]
    score, page, characters = map(say, places)
    place = ", ".join([score, visible(found.file or ""), *([page] if found.page else []), characters])
    return f"{visible(answer.text)}  ({place})\n    {visible(found.sentence or '')}"


def visible(text: str) -> str:
    """One line of a text with a sign in place of every character that a terminal would obey."""
    return UNSEEN.sub("\ufffd", " ".join(text.split()))
