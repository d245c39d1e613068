"""Destila in LangChain: answers with exact offsets, and documents cut to the sentences that an answer needs.

>>> from langchain_core.documents import Document
>>> compressor = HighlightCompressor()
>>> texts = [Document("Lima fue fundada por Francisco Pizarro en 1535. Llueve poco. La rodea un desierto.")]
>>> compressor.compress_documents(texts, "¿Quién fundó Lima?")[0].metadata["answer"]
'Francisco Pizarro'
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor
from langchain_core.runnables import Runnable, RunnableLambda

from destila.inference.highlight import KEEP
from destila.inference.reader import Reader
from destila.integrations.passages import best_answer


def answers(reader: Reader | None = None) -> Runnable[dict[str, Any], dict[str, Any]]:
    """A runnable from {"question": str, "context": str or documents} to the answer, for the end of a retrieval chain.

    Args:
        reader: None: the bundled model.

    Returns:
        A runnable; it gives {"answer", "start", "end", "score", "document"}. The answer is
        `document.page_content[start:end]`; all but the score are None where no document holds one.

    Raises:
        UserError: when it runs: the question or the context is missing or empty.
    """
    loaded = reader or Reader.load()

    def ask(asked: dict[str, Any]) -> dict[str, Any]:
        given = asked.get("context")
        documents: Any = [given] if isinstance(given, str) else given
        if documents:
            documents = [Document(each) if isinstance(each, str) else each for each in documents]
        number, answer = best_answer(loaded, asked.get("question"), documents, text_of=lambda one: one.page_content)
        found = {"answer": answer.text, "start": answer.start, "end": answer.end, "score": answer.score}
        return found | {"document": None if number is None else documents[number]}

    return RunnableLambda(ask)


class HighlightCompressor(BaseDocumentCompressor):  # type: ignore[misc]
    """Keeps of each document the sentences that the answer needs (`Reader.highlight`), for a language model to read.

    A document gains the metadata `answer` and `score`; `answer` is None where the reader finds none.

    Args:
        model: a local directory or a hub id; None: the bundled model.
        keep: share in (0, 1] of the sentences' scores to keep; see `Reader.highlight`.
        answered_only: drop the documents in which the reader finds no answer.
    """

    model: str | None = None
    keep: float = KEEP
    answered_only: bool = False

    @cached_property
    def _reader(self) -> Reader:
        return Reader.load(self.model)

    def compress_documents(self, documents: Sequence[Document], query: str, callbacks: Any = None) -> list[Document]:
        """The documents in their order, each cut; one without text is dropped.

        Raises:
            UserError: the question is empty or too long, or `keep` is no share.
        """
        found = [
            (one, self._reader.highlight(query, one.page_content, keep=self.keep))
            for one in documents
            if one.page_content.strip()
        ]
        return [
            Document(
                seen.text, id=one.id, metadata=one.metadata | {"answer": seen.answer.text, "score": seen.answer.score}
            )
            for one, seen in found
            if seen.answer.text is not None or not self.answered_only
        ]
