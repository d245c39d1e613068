"""A reader for Haystack pipelines: documents of a retriever in, answers with exact offsets out.

>>> from haystack import Pipeline                                     # doctest: +SKIP
>>> pipeline.add_component("reader", DestilaReader(model="runs/student", top_k=3))    # doctest: +SKIP
>>> Pipeline.loads(pipeline.dumps(), allowed_modules=["destila.integrations.haystack"])            # doctest: +SKIP

Mental model: the documents are read and ranked together, as the passages of a folder are: a score is the probability of
a span among those of all documents and "no answer". Invariant: `answer.data == document.content[start:end]` of
`answer.document_offset`. "No answer" is given only where every document gives it, as an answer without data; without
any text there are no answers. This module decides nothing about answers; `destila.inference.ranking` does.
"""

from typing import Any

from haystack import Document, ExtractedAnswer, component, default_from_dict, default_to_dict

from destila.core.checks import whole_number
from destila.core.records import Answer
from destila.inference.ranking import Piece, answers_from
from destila.inference.reader import Reader


@component
class DestilaReader:
    """Extracts answers from documents.

    Args:
        model: a local directory or a hub id; None: the bundled model.
        top_k: most answers of a run.
        backend: "auto", "torch", "onnx" or "openvino".
        revision: commit of the hub repository.
        threads: of the run time; 0: one for each core that this process may use.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        top_k: int = 10,
        backend: str = "auto",
        revision: str | None = None,
        threads: int = 0,
    ) -> None:
        whole_number("top_k", top_k, least=1)
        self.model, self.top_k = model, top_k
        self.backend, self.revision, self.threads = backend, revision, threads
        self.reader: Reader | None = None

    def warm_up(self) -> None:
        """Load the model; a pipeline calls it before it runs, and `run` where nobody did."""
        if self.reader is None:
            self.reader = Reader.load(self.model, backend=self.backend, revision=self.revision, threads=self.threads)

    def to_dict(self) -> dict[str, Any]:
        """What a pipeline writes about the component."""
        names = ("model", "top_k", "backend", "revision", "threads")
        return dict(default_to_dict(self, **{name: getattr(self, name) for name in names}))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "DestilaReader":
        """The component that `to_dict` described; the model is loaded later."""
        made: DestilaReader = default_from_dict(cls, data)
        return made

    @component.output_types(answers=list[ExtractedAnswer])
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, Any]:
        """Answer a question from documents.

        Args:
            query: the question.
            documents: those without text are passed over.
            top_k: most answers; None: as the component was made.

        Returns:
            {"answers": [ExtractedAnswer, ...]}, best first.

        Raises:
            UserError: the question is empty or too long, `top_k` is below 1, or the model cannot be loaded.
        """
        most = self.top_k if top_k is None else top_k
        whole_number("top_k", most, least=1)
        self.warm_up()
        assert self.reader is not None
        pieces = [
            Piece(number, 0, document.content)
            for number, document in enumerate(documents)
            if document.content and document.content.strip()
        ]
        if not pieces:
            return {"answers": []}
        ranked = answers_from(self.reader, query, pieces, top_k=most)
        return {
            "answers": [
                _extracted(query, None if number is None else documents[number], answer) for number, answer in ranked
            ]
        }


def _extracted(query: str, document: Document | None, answer: Answer) -> ExtractedAnswer:
    if document is None or answer.start is None or answer.end is None:
        return ExtractedAnswer(query=query, score=answer.score)
    return ExtractedAnswer(
        query=query,
        score=answer.score,
        data=answer.text,
        document=document,
        document_offset=ExtractedAnswer.Span(answer.start, answer.end),
        meta=document.meta,
    )
