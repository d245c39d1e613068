"""Questions as people type them: another spelling, the same answer at the same place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from destila.core.records import Answer, Example
from destila.data.synthetic.typing_habits import ACCENTS, as_typed, opening_with_answer, with_plain_context

QUESTION = "¿Quién fundó la ciudad de Lima y por qué la llamó así en el año 1535?"


def seen(question: str, draws: int = 400) -> set[str]:
    generator = np.random.default_rng(3)
    return {as_typed(question, generator) for _ in range(draws)}


def test_each_habit_occurs() -> None:
    typed = seen(QUESTION)
    assert QUESTION in typed
    assert QUESTION.lower() in typed
    assert QUESTION.translate(ACCENTS) in typed
    assert QUESTION[1:] in typed
    assert QUESTION.lower().translate(ACCENTS).strip("¿?") in typed
    assert any(" x " in one or " q " in one for one in typed)
    assert any("fudnó" in one or "fundóo" in one or len(one) < len(QUESTION) - 3 for one in typed)


def test_the_letter_ñ_stays() -> None:
    assert "Mañana, pingüino: ¿él?".translate(ACCENTS) == "Mañana, pinguino: ¿el?"


@given(st.text(max_size=60), st.integers(0, 2**32))
def test_a_question_never_becomes_empty(text: str, seed: int) -> None:
    typed = as_typed(text, np.random.default_rng(seed))
    assert bool(typed.strip()) or not text.strip()


def example(context: str, *answers: str) -> Example:
    spans = [(context.index(answer), context.index(answer) + len(answer)) for answer in answers]
    return Example("1", "¿Qué?", context, tuple(Answer.at(context, *span) for span in spans))


@pytest.mark.parametrize(
    ("context", "answers", "opening"),
    [
        ("Llovía. Carmen Ledesma dirige el coro.", ["Carmen Ledesma"], "Carmen Ledesma dirige el coro."),
        (
            "Llovía. El embalse de Valdecañas está seco.",
            ["embalse de Valdecañas"],
            "El embalse de Valdecañas está seco.",
        ),
        ("Uno. «Lima» es la capital. Fue fundada.", ["Lima"], "«Lima» es la capital. Fue fundada."),
        ("Lo dirige Carmen Ledesma. Nadie más.", ["Carmen Ledesma"], None),
        ("Nadie lo sabe.", [], None),
        ("Hay dos. Ana y Eva cantan. Ana manda.", ["Ana", "Eva"], "Ana y Eva cantan. Ana manda."),
    ],
)
def test_a_context_is_cut_to_open_with_the_answer(context: str, answers: list[str], opening: str | None) -> None:
    cut = opening_with_answer(example(context, *answers))
    if opening is None:
        assert cut is None
        return
    assert cut is not None
    assert cut.context == opening
    assert [one.text for one in cut.answers] == answers
    assert all(one.text == cut.context[one.start : one.end] for one in cut.answers)


def test_a_plain_context_keeps_its_answers_in_place() -> None:
    one = example("Tomás Urrutia cantó en ESPAÑA. İzmir no.", "Tomás Urrutia", "ESPAÑA")
    generator = np.random.default_rng(1)
    made = {with_plain_context(one, generator) for _ in range(40)}
    texts = {two.context for two in made}
    assert "Tomas Urrutia canto en ESPAÑA. İzmir no." in texts
    assert one.context in texts  # İ would grow: then it stays as it was
    assert all(answer.text == two.context[answer.start : answer.end] for two in made for answer in two.answers)
    small = {with_plain_context(example("Sé Él. Ñu.", "Él"), np.random.default_rng(seed)).context for seed in range(9)}
    assert small == {"sé él. ñu.", "Se El. Ñu."}
