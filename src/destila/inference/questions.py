"""What a question to a reader must be: a question and a text, both of which say something."""

from collections.abc import Iterable, Sequence

from destila.core.errors import UserError
from destila.core.records import Example

SHOWN_CHARACTERS = 60  # of a value in a message

Pair = tuple[str, str]


def examples_of(pairs: Iterable[Pair]) -> list[Example]:
    """The pairs as examples that nobody has labeled.

    Raises:
        UserError: they are no pairs.
    """
    if not isinstance(pairs, Iterable):
        raise UserError("questions", f"are {shown(pairs)}", "Give pairs: [(question, context), ...].")
    examples = []
    for number, pair in enumerate(pairs, 1):
        if isinstance(pair, str | bytes) or not isinstance(pair, Sequence) or len(pair) != 2:
            raise UserError(f"question {number}", f"is {shown(pair)}", "Give a pair: (question, context).")
        examples.append(Example(f"question {number}", *pair, labeled=False))
    return examples


def shown(value: object) -> str:
    """A value as a message quotes it."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def refuse_unreadable(examples: Sequence[Example]) -> None:
    """No question is answered from nothing, and none is guessed at: every text is one, and says something.

    Raises:
        UserError: names all that are not.
    """
    problems = list[tuple[str, str]]()
    if not isinstance(examples, Sequence) or not all(isinstance(example, Example) for example in examples):
        raise UserError("examples", f"are {shown(examples)}", "Give a list of Example.")
    for example in examples:
        for name, text in (("question", example.question), ("context", example.context)):
            if not isinstance(text, str):
                problems.append((example.id, f"the {name} is {shown(text)}, which is no text"))
            elif not text.strip():
                problems.append((example.id, f"the {name} is empty"))
    remedy = "Give a question and a text to answer it from, as strings."
    if len(problems) == 1:
        raise UserError(*problems[0], remedy)
    if problems:
        raise UserError.from_problems("questions", [f"{name}: {problem}" for name, problem in problems], remedy)
