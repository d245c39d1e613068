"""Destila in LlamaIndex: nodes cut to the sentences that an answer needs, and a response that only quotes.

>>> from llama_index.core.schema import NodeWithScore, TextNode
>>> text = "Lima fue fundada por Francisco Pizarro en 1535. Llueve poco. La rodea un desierto."
>>> found = ExtractiveSynthesizer().synthesize("¿Quién fundó Lima?", [NodeWithScore(node=TextNode(text=text))])
>>> found.response, found.metadata["start"]
('Francisco Pizarro', 21)
"""

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.response.schema import Response
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.response_synthesizers import BaseSynthesizer
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from pydantic import PrivateAttr

from destila.core.errors import UserError
from destila.inference.highlight import KEEP
from destila.inference.reader import Reader
from destila.integrations.passages import best_answer


class HighlightPostprocessor(BaseNodePostprocessor):  # type: ignore[misc]
    """Keeps of each node the sentences that the answer needs (`Reader.highlight`), for a language model to read.

    A node gains the metadata `answer`; None where the reader finds none. The nodes given stay as they are.

    Args:
        model: a local directory or a hub id; None: the bundled model.
        keep: share in (0, 1] of the sentences' scores to keep; see `Reader.highlight`.
    """

    model: str | None = None
    keep: float = KEEP
    _reader: Reader | None = PrivateAttr(default=None)

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise UserError("query", "is missing", "Sentences are chosen for a question: give query_str.")
        self._reader = self._reader or Reader.load(self.model)
        kept = []
        for one in nodes:
            if (text := _text(one)).strip():
                seen = self._reader.highlight(query_bundle.query_str, text, keep=self.keep)
                metadata = one.node.metadata | {"answer": seen.answer.text}
                node = TextNode(
                    text=seen.text, id_=one.node.node_id, metadata=metadata, relationships=one.node.relationships
                )
                kept.append(NodeWithScore(node=node, score=one.score))
        return kept


class ExtractiveSynthesizer(BaseSynthesizer):  # type: ignore[misc]
    """Answers with a piece of a node's text, word for word; no language model is asked.

    The response's text is "" where no node holds an answer. Its first source node is the one that was quoted, and its
    metadata says where: {"start", "end", "score", "node_id"}.

    Args:
        reader: None: the bundled model.
    """

    def __init__(self, reader: Reader | None = None) -> None:
        super().__init__(llm=MockLLM())  # else LlamaIndex asks for the key of its default one
        self._reader = reader or Reader.load()

    def synthesize(
        self,
        query: Any,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
        **_: Any,
    ) -> Response:
        """The answer of the best node.

        Raises:
            UserError: the question is empty or too long.
        """
        question = query if isinstance(query, str) else query.query_str
        number, answer = best_answer(self._reader, question, nodes, text_of=_text)
        place: dict[str, Any] = {"start": answer.start, "end": answer.end, "score": answer.score, "node_id": None}
        sources = [*nodes, *(additional_source_nodes or ())]
        if number is not None:
            place["node_id"] = nodes[number].node.node_id
            sources.insert(0, sources.pop(number))
        return Response(answer.text or "", source_nodes=sources, metadata=place)

    async def asynthesize(self, query: Any, nodes: list[NodeWithScore], *more: Any, **named: Any) -> Response:
        """As `synthesize`."""
        return self.synthesize(query, nodes, *more, **named)

    def get_response(self, query_str: str, text_chunks: Sequence[str], **_: Any) -> str:
        """The answer from bare texts."""
        return best_answer(self._reader, query_str, text_chunks, text_of=str)[1].text or ""

    async def aget_response(self, query_str: str, text_chunks: Sequence[str], **_: Any) -> str:
        """As `get_response`."""
        return self.get_response(query_str, text_chunks)

    def _get_prompts(self) -> dict[str, Any]:
        return {}

    def _update_prompts(self, prompts: Any) -> None:
        """There are none."""


def _text(one: NodeWithScore) -> str:
    return str(one.node.get_content(metadata_mode=MetadataMode.NONE))
