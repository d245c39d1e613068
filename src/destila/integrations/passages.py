"""What the adapters share: one question to the passages that another library found."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from destila.core.errors import UserError
from destila.core.records import Answer
from destila.inference.ranking import Piece, answers_from
from destila.inference.reader import Reader

Passage = TypeVar("Passage")


def best_answer(
    reader: Reader, question: Any, passages: Sequence[Passage] | None, *, text_of: Callable[[Passage], str]
) -> tuple[int | None, Answer]:
    """The best answer of several passages: (number of its passage, the answer with its offsets there).

    The number is None with "no answer". Passages without text are passed over.

    Raises:
        UserError: the question or the passages are missing, or the question is empty or too long.
    """
    if not isinstance(question, str) or passages is None or isinstance(passages, str):
        remedy = 'Give {"question": a text, "context": a text or a list of documents}.'
        raise UserError("question", "a question and what to read are needed", remedy)
    texts = [text_of(passage) for passage in passages]
    pieces = [Piece(number, 0, text) for number, text in enumerate(texts) if text and text.strip()]
    return answers_from(reader, question, pieces, top_k=1)[0] if pieces else (None, Answer.none())
