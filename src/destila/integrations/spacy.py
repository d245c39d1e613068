"""Destila in spaCy: a component that asks every document the same questions and marks the answers as spans.

>>> import spacy
>>> language = spacy.blank("es")
>>> component = language.add_pipe("destila_answers", config={"questions": {"FOUNDER": "¿Quién fundó Lima?"}})
>>> found = language("Lima fue fundada por Francisco Pizarro en 1535.").spans["answers"]
>>> [(span.text, span.label_) for span in found]
[('Francisco Pizarro', 'FOUNDER')]

Invariant: a span has whole tokens; where an answer ends inside one, the span is that much longer. The exact characters
and the score stand in the group's `attrs["answers"]`, in the order of the spans.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, SpanGroup
from spacy.util import minibatch

from destila.core.errors import UserError
from destila.inference.reader import Reader


@Language.factory("destila_answers", default_config={"model": None, "questions": {}, "key": "answers"})
class DestilaAnswers:
    """Marks the answers of each document in `doc.spans[key]`; a question without an answer marks nothing.

    Args:
        nlp: the pipeline that it joins.
        name: its name there.
        model: a local directory or a hub id; None: the bundled model.
        questions: what to ask, by the label that the answer gets.
        key: of `doc.spans`.
    """

    def __init__(self, nlp: Language, name: str, model: str | None, questions: dict[str, str], key: str) -> None:
        if not questions:
            raise UserError(f"{name}.questions", "are missing", 'Give some: {"FOUNDER": "¿Quién fundó la ciudad?"}.')
        self.reader, self.questions, self.key = Reader.load(model), dict(questions), key

    def __call__(self, doc: Doc) -> Doc:
        """The document with the answers in it."""
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], batch_size: int = 64) -> Iterator[Doc]:
        """The documents in order; a batch is read together."""
        for docs in minibatch(stream, batch_size):
            texts = [doc.text for doc in docs if doc.text.strip()]
            pairs = [(question, text) for text in texts for question in self.questions.values()]
            answers = iter(self.reader.answer_batch(pairs))
            for doc in docs:
                group = SpanGroup(doc, name=self.key, attrs={"answers": []})
                for label in self.questions if doc.text.strip() else ():
                    self._mark(group, label, next(answers))
                doc.spans[self.key] = group
                yield doc

    @staticmethod
    def _mark(group: SpanGroup, label: str, answer: Any) -> None:
        if answer.text is None:
            return
        place = {"label": label, "text": answer.text, "start": answer.start, "end": answer.end, "score": answer.score}
        group.append(group.doc.char_span(answer.start, answer.end, label=label, alignment_mode="expand"))
        group.attrs["answers"].append(place)
