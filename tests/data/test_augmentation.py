"""Variations of labeled questions: the answer stays where it was, names change everywhere at once."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spanish
from destila.config import VariationSettings
from destila.core.records import Answer, Example
from destila.data.synthetic.augmentation import Augmenter, variations

STILL = VariationSettings(
    names=0, numbers=0, synonyms=0, moved=0, left_out=0, distractors=0, typed=0, plain=0, opening=0
)
TEXTS = [
    "En 1987 abrió en Villarreal la biblioteca que dirige Carmen Ledesma. "
    "Carmen Ledesma nació en Montalbán. Tiene 42 libros.",
    "Según Tomás Urrutia, el mercado de Valdehoz cerró en 1932. "
    "Hoy lo visitan en Aranjuez 800 personas. Todos llegan a Tarancón.",
    "El puente que proyectó Elvira Sandoval está en Miraflores. "
    "Cuando vino Elvira, el río Arlo llevaba 12 metros de agua.",
]


def example(text: str, answer: str | None, *, question: str = "¿Quién dirige la biblioteca?") -> Example:
    answers = (Answer.at(text, text.index(answer), text.index(answer) + len(answer)),) if answer else ()
    return Example("1", question, text, answers, title="uno", source="hecha a mano")


EXAMPLES = [
    example(TEXTS[0], "Carmen Ledesma", question="¿Quién dirige la biblioteca que abrió en Villarreal en 1987?"),
    replace(example(TEXTS[1], "1932", question="¿Cuándo cerró el mercado de Valdehoz?"), id="2"),
    replace(example(TEXTS[2], None, question="¿Cuánto costó el puente de Elvira Sandoval?"), id="3"),
]


def test_without_changes_a_variation_is_the_example() -> None:
    for one in EXAMPLES:
        made = Augmenter(EXAMPLES, STILL).variation(one, np.random.default_rng(1))
        assert made == one


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), paragraph=st.integers(0, 96), place=st.floats(0, 1), size=st.integers(1, 40))
def test_answers_stay_exact(seed: int, paragraph: int, place: float, size: int) -> None:
    text = spanish.text(paragraph, documents=1)
    start = int(place * (len(text) - 1))
    one = Example("1", "¿Qué?", text, (Answer.at(text, start, min(len(text), start + size)),))
    made = Augmenter([one, *EXAMPLES], VariationSettings()).variation(one, np.random.default_rng(seed))
    if made is not None:
        (answer,) = made.answers
        assert answer.start is not None
        assert answer.end is not None
        assert answer.text == made.context[answer.start : answer.end] != ""


def test_names_and_numbers_are_the_same_in_question_and_context() -> None:
    settings = replace(STILL, names=1.0, numbers=1.0)
    augmenter = Augmenter(EXAMPLES * 3, settings)
    changed = 0
    for seed in range(30):
        made = augmenter.variation(EXAMPLES[0], np.random.default_rng(seed))
        assert made is not None
        found = re.fullmatch(
            r"En (\d{4}) abrió en (\w+) la biblioteca que dirige (\w+ \w+)\. "
            r"(\w+ \w+) nació en \w+\. Tiene \d\d libros\.",
            made.context,
        )
        assert found
        year, town, director, again = found.groups()
        assert director == again == made.answers[0].text
        assert made.question == f"¿Quién dirige la biblioteca que abrió en {town} en {year}?"
        assert year.startswith("19")
        changed += (town != "Villarreal") + (director != "Carmen Ledesma") + (year != "1987")
    assert changed > 45


def test_places_stay_places_where_the_word_before_tells() -> None:
    augmenter = Augmenter(EXAMPLES, replace(STILL, names=1.0))
    towns = {"Villarreal", "Montalbán", "Aranjuez", "Miraflores", "Valdehoz", "Tarancón"}
    places = [f"Está en {town}. Vive en {town}." for town in ("Villarreal", "Aranjuez", "Montalbán")]
    augmenter = Augmenter([*EXAMPLES, *(example(text, None) for text in places)], replace(STILL, names=1.0))
    for seed in range(20):
        made = augmenter.variation(EXAMPLES[0], np.random.default_rng(seed))
        assert made is not None
        assert re.findall(r"nació en (\w+)", made.context)[0] in towns


def test_sentences_move_and_go_and_strangers_come() -> None:
    moved = replace(STILL, moved=1.0, left_out=1.0, distractors=1.0)
    augmenter, contexts = Augmenter(EXAMPLES, moved), set[str]()
    for seed in range(40):
        made = augmenter.variation(EXAMPLES[1], np.random.default_rng(seed))
        assert made is not None
        assert "Según Tomás Urrutia, el mercado de Valdehoz cerró en 1932." in made.context
        assert made.answers[0].text == "1932"
        contexts.add(made.context)
    assert len(contexts) > 30
    assert any("Hoy lo visitan" not in text for text in contexts)
    assert any(text.index("Hoy lo") < text.index("Según") for text in contexts if "Hoy lo" in text)
    assert any("Carmen" in text for text in contexts)


def test_a_question_gets_synonyms() -> None:
    one = example(TEXTS[0], "Carmen Ledesma", question="¿Quién dirige la biblioteca?")
    other = replace(example(TEXTS[1], None, question="¿Quién encabeza el grupo?"), id="2")
    augmenter = Augmenter([one, other], replace(STILL, synonyms=1.0))
    made = augmenter.variation(one, np.random.default_rng(1))
    assert made is not None
    assert made.question == "¿Quién encabeza la biblioteca?"
    assert made.context == one.context


def test_the_seed_decides_and_ids_are_unique() -> None:
    first, again = (variations(EXAMPLES, VariationSettings(copies=4)) for _ in range(2))
    other = variations(EXAMPLES, VariationSettings(copies=4, seed=2))
    assert first == again
    assert {made.context for made in first} != {made.context for made in other}
    assert len({made.id for made in (*EXAMPLES, *first, *other)}) == len(EXAMPLES) + len(first) + len(other)
    assert {made.title for made in first} == {"uno"}  # intervals stay clustered by article


@pytest.mark.parametrize("answers", [(), (Answer.none(),)])
def test_unanswerable_questions_stay_so(answers: tuple[Answer, ...]) -> None:
    one = replace(EXAMPLES[0], answers=answers)
    made = variations([one, *EXAMPLES[1:]], VariationSettings(copies=5))
    assert all(other.answers == () for other in made if other.id.startswith("1-"))
