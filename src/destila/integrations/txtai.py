"""Destila in txtai: the pipeline `Questions` with a Spanish reader, for workflows and for the `app.yml` of a service.

>>> Questions()(["¿Quién fundó Lima?"], ["Lima fue fundada por Francisco Pizarro en 1535."])
['Francisco Pizarro']
"""

from collections.abc import Sequence

from txtai.pipeline import Pipeline

from destila.core.errors import UserError
from destila.inference.reader import Reader


class Questions(Pipeline):  # type: ignore[misc]
    """Answers questions from contexts, as `txtai.pipeline.Questions` is called.

    Args:
        path: a local directory or a hub id; None: the bundled model.
    """

    def __init__(self, path: str | None = None) -> None:
        self.reader = Reader.load(path)

    def __call__(self, questions: Sequence[str], contexts: Sequence[str]) -> list[str | None]:
        """The answer to each question from the context beside it; None: there is none, or one of the two is empty.

        Raises:
            UserError: there are not as many contexts as questions, or a question is too long.
        """
        if isinstance(questions, str) or isinstance(contexts, str) or len(questions) != len(contexts):
            raise UserError("contexts", "are not one for each question", "Give two lists of the same length.")
        asked = [
            number
            for number, pair in enumerate(zip(questions, contexts, strict=True))
            if all(text and text.strip() for text in pair)
        ]
        found = self.reader.answer_batch([(questions[number], contexts[number]) for number in asked])
        answers = dict(zip(asked, found, strict=True))
        return [answers[number].text if number in answers else None for number in range(len(questions))]
