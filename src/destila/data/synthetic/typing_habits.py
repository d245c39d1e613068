"""Questions and texts as people type them: small letters, no accents, no question marks, slips, abbreviations.

Mental model: labeled questions were written by careful people, and everyday ones are not. Each habit is drawn by
itself, so that every mixture of them occurs; the answer stays the same span of the text, to the character.

Invariant: contexts keep their length, so answers keep their places. Capitals are not among the habits: they never reach
a model (see `destila.data.reading_form`); small letters are what is left of them.
"""

import re
from dataclasses import replace

import numpy as np

from destila.core.records import Answer, Example
from destila.data.sentences import sentences

ACCENTS = str.maketrans("áéíóúüÁÉÍÓÚÜ", "aeiouuAEIOUU")  # ñ is a letter of its own, and people type it
# How often each habit shows in a question that is typed carelessly.
SMALL, UNACCENTED, NO_OPENING, NO_MARKS, SLIP, SHORTENED = 0.55, 0.55, 0.35, 0.35, 0.15, 0.08
LONG_QUESTION = 50  # characters: two slips instead of one
SHORT_FORMS = {
    "que": "q", "qué": "q", "por": "x", "para": "pa", "porque": "xq", "de": "d", "quién": "qn", "también": "tb",
    "dónde": "dnd", "cuándo": "cndo", "cuántos": "cuants", "está": "sta", "más": "+", "mucho": "mxo", "hace": "ace",
}  # fmt: skip
BEFORE_NAMES = re.compile(r"(?:(?:El|La|Los|Las|Un|Una|En|Al|A|Por|De)\s+)?\W*")  # may stand before an opening answer


def as_typed(question: str, generator: np.random.Generator) -> str:
    """The question with some of the habits; never an empty one."""
    typed = question
    if generator.random() < SMALL:
        typed = typed.lower()
    if generator.random() < UNACCENTED:
        typed = typed.translate(ACCENTS)
    marks = generator.random()
    if marks < NO_OPENING + NO_MARKS:
        typed = typed.lstrip("¿ ")
    if marks < NO_MARKS:
        typed = typed.rstrip("? ")
    if generator.random() < SLIP:
        typed = _with_slips(typed, generator)
    if generator.random() < SHORTENED:
        words = typed.split(" ")
        typed = " ".join(SHORT_FORMS.get(word, word) if generator.random() < 0.6 else word for word in words)
    return typed if typed.strip() else question


def _with_slips(text: str, generator: np.random.Generator) -> str:
    """One letter inside a word changes places with the one before it, is gone, or stands twice; two in a long text."""
    letters = list(text)
    inner = [place for place in range(1, len(text) - 1) if text[place - 1 : place + 2].isalpha()]
    count = min(len(inner), 2 if len(text) > LONG_QUESTION else 1)
    for place in generator.choice(inner, size=count, replace=False) if inner else ():
        kind = generator.integers(3)
        if kind == 0:
            letters[place - 1], letters[place] = letters[place], letters[place - 1]
        else:
            letters[place] = letters[place] * 2 if kind == 1 else ""
    return "".join(letters)


def with_plain_context(example: Example, generator: np.random.Generator) -> Example:
    """The example with its context in small letters or without accents."""
    context = example.context
    plain = context.translate(ACCENTS) if generator.random() < 0.5 else context.lower()
    if len(plain) != len(context):  # İ has a longer small letter: spans would move
        return example
    return replace(example, context=plain, answers=_moved(example.answers, plain, 0))


def opening_with_answer(example: Example) -> Example | None:
    """The example with the context cut so that it opens with an answer; None where no answer opens a sentence."""
    for answer in example.answers:
        for start, end in sentences(example.context):
            assert answer.start is not None
            inside = start <= answer.start < end
            if inside and BEFORE_NAMES.fullmatch(example.context[start : answer.start]):
                context = example.context[start:]
                kept = tuple(one for one in example.answers if one.start is not None and one.start >= start)
                return replace(example, context=context, answers=_moved(kept, context, start))
    return None


def _moved(answers: tuple[Answer, ...], context: str, by: int) -> tuple[Answer, ...]:
    """The answers at their places, less `by`, in another context."""
    return tuple(
        Answer.at(context, one.start - by, one.end - by)
        for one in answers
        if one.start is not None and one.end is not None
    )
