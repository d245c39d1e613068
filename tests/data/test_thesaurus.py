"""The lists of Spanish words: well-formed, and what is made of them."""

import re

import pytest

from destila.core.characters import without_accents
from destila.data.synthetic.thesaurus import Synonyms, families, inflected, kinds


def test_the_lists_hold_words_and_nothing_else() -> None:
    word = re.compile(r"[a-záéíóúüñã]+")
    assert len(families()) > 400
    assert all(len(family) > 1 and all(word.fullmatch(text) for text in family) for family in families())
    assert all(word.fullmatch(part) for noun in kinds().nouns for part in noun.split())
    assert all(word.fullmatch(part) for member in kinds().of for part in member.split())


@pytest.mark.parametrize(
    ("word", "forms"),
    [
        ("fundar", {"fundo", "fundaron", "fundada", "fundacion"}),
        ("establecer", {"establecio", "establecieron", "establecida", "establecimiento"}),
        ("médico", {"medico", "medicas"}),
        ("autor", {"autora", "autores", "autoras"}),
        ("mar", {"mar", "mares"}),
    ],
)
def test_words_take_the_forms_of_their_kind(word: str, forms: set[str]) -> None:
    assert forms <= inflected(word)


def test_a_synonym_has_the_ending_of_the_word_it_replaces() -> None:
    vocabulary = ["fundó", "creó", "crearon", "establecieron", "estableció", "creación", "club"]
    synonyms = Synonyms((word, word) for word in vocabulary)
    assert set(synonyms.of("fundó")) == {"creó", "estableció", "creación"}
    assert set(synonyms.of("Fundaron")) == set()  # no form that the vocabulary has
    assert set(synonyms.of("crearon")) == {"establecieron", "fundó", "creación"}  # the best that there is of each
    assert synonyms.of("club") == []  # none of its family is in the vocabulary


def test_a_synonym_is_never_the_word_itself() -> None:
    vocabulary = sorted({form for family in families() for word in family for form in inflected(word)})
    synonyms = Synonyms((word, word) for word in vocabulary)
    assert all(without_accents(word) not in synonyms.of(word) for word in vocabulary)


def test_what_is_known_of_kinds() -> None:
    assert set(kinds().of["lima"]) == {"ciudad", "localidad"}
    assert "nación" in kinds().of["estados unidos"]
    assert set(kinds().of["mercurio"]) >= {"planeta", "elemento"}  # both of its kinds
    assert "batalla" in kinds().nouns
