"""How questions open: by the kind of the answer and the preposition before it, as Spanish has it."""

import pytest

from destila.data.synthetic.question_words import (
    PREPOSITIONS,
    Asked,
    all_openings,
    counting,
    kind_of_answer,
    openings,
)


@pytest.mark.parametrize(
    ("answer", "name", "expected"),
    [
        ("1932", False, Asked.YEAR),
        ("932", False, Asked.NUMBER),
        ("12.000", False, Asked.NUMBER),
        ("cuatro", False, Asked.NUMBER),
        ("14 de mayo", False, Asked.DATE),
        ("Mayo", True, Asked.DATE),
        ("Carmen Ledesma", True, Asked.NAME),
        ("aceite de girasol", False, Asked.OTHER),
    ],
)
def test_the_kind_of_an_answer_shows_in_its_words(answer: str, name: bool, expected: Asked) -> None:
    assert kind_of_answer(answer.encode().split(), name=name) == expected


def test_each_kind_is_asked_for_in_its_own_way() -> None:
    assert "¿Quién" in openings(Asked.NAME, "")
    assert "¿Dónde" in openings(Asked.NAME, "en")
    assert "¿En qué año" in openings(Asked.YEAR, "en")
    assert "¿Cuándo" in openings(Asked.DATE, "")
    assert "¿Cuántos" in openings(Asked.NUMBER, "")
    assert not set(openings(Asked.YEAR, "")) & set(openings(Asked.NAME, ""))


@pytest.mark.parametrize("preposition", sorted(set(PREPOSITIONS.values()) - {"en", "por", "para"}))
def test_a_preposition_goes_to_the_head_of_the_question(preposition: str) -> None:
    for asked in (Asked.NUMBER, Asked.NAME, Asked.OTHER):
        assert any(head.startswith(f"¿{preposition.capitalize()} ") for head in openings(asked, preposition))


def test_what_is_counted_agrees_with_the_interrogative() -> None:
    assert [counting(noun.encode()) for noun in ("plazas", "habitantes", "elecciones", "problemas", "ciudades")] == [
        "¿Cuántas", "¿Cuántos", "¿Cuántas", "¿Cuántos", "¿Cuántas"
    ]  # fmt: skip


def test_every_head_is_known_in_advance() -> None:
    for asked in Asked:
        for preposition in ("", *PREPOSITIONS.values()):
            assert set(openings(asked, preposition)) <= all_openings()
    assert all(head.startswith("¿") for head in all_openings())
