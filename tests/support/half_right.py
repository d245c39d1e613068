"""Questions of which a reader, whatever it is, answers every other one as the gold answer has it."""

from pathlib import Path

from destila.core.records import Answer, Example
from destila.inference.reader import Reader
from tiny import TEXTS


def half_right(model: Path | None, *, articles: int = 6, each: int = 4) -> list[Example]:
    """`each` questions on each of so many articles; `model`: as `Reader.load` takes it."""
    reader, found = Reader.load(model, must_answer=True), list[Example]()
    for article in range(articles):
        context = TEXTS[article % len(TEXTS)]
        for number in range(each):
            question = f"¿Qué dice el texto {article} sobre {number}?"
            best = reader.answer(question, context)
            assert best.start is not None
            other = Answer.at(context, len(context) - 1, len(context)) if best.start else Answer.at(context, 3, 5)
            gold = other if number % 2 else best
            name = f"{article}-{number}"
            found.append(Example(name, question, context, (gold,), title=f"Artículo {article}"))
    return found
