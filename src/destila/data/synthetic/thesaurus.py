"""What Spanish words have to do with each other, written down by hand: words of one meaning, and kinds of things.

Mental model: a question names what the text names otherwise: "¿Qué ciudad...?" for "Lugo", "creó" for "fundó". No small
amount of text teaches that, so two lists do. Families hold dictionary forms; `inflected` gives the forms that they may
take, and which of these are words is seen by looking them up in a text. A kind is what a question may call a thing.

Invariant: plain words in, plain words out; this module knows no tokens.
"""

import functools
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Generic, NamedTuple, TypeVar

from destila.core.characters import without_accents

T = TypeVar("T")

VERBS = ("ar", "er", "ir")
# Endings of regular verbs, without accents, that a question may have.
FIRST = (
    "ar a an o aron aba aban ara aran aria arian ando ado ada ados adas e en ase asen adora ador adores "
    "acion aciones amiento amientos"
)
SECOND = (
    "er ir e en io ieron ia ian era eran ira iran eria erian iria irian iendo ido ida idos idas a an iera ieran "
    "edor edora idor idora imiento imientos icion iciones"
)
ENDINGS = {"ar": tuple(FIRST.split()), "er": tuple(SECOND.split()), "ir": tuple(SECOND.split())}


def inflected(word: str) -> set[str]:
    """The plain forms that a word of the dictionary may take: a verb's, or gender and number; not all are words."""
    word = without_accents(word)
    if word[-2:] in VERBS and len(word) > 4:
        return {word[:-2] + ending for ending in ENDINGS[word[-2:]]}
    stems = {word, word[:-1] + "a"} if word.endswith("o") else {word, word + "a"} if word.endswith("or") else {word}
    return stems | {stem + ending for stem in stems for ending in ("s", "es")}


def _common_ending(left: str, right: str) -> int:
    """How many letters two words share at their ends."""
    count = 0
    while count < min(len(left), len(right)) and left[-1 - count] == right[-1 - count]:
        count += 1
    return count


class Synonyms(Generic[T]):
    """Words of one meaning, as far as a vocabulary has them.

    Args:
        words: of the vocabulary, each with what stands for it.
    """

    def __init__(self, words: Iterable[tuple[str, T]]) -> None:
        by_letters: dict[str, list[T]] = {}
        for word, value in words:
            by_letters.setdefault(without_accents(word), []).append(value)
        self._values = by_letters
        # For the letters of a form: its families, each as the forms of every word, and which of the words it is.
        self._families: dict[str, list[tuple[list[list[str]], int]]] = {}
        for family in families():
            forms = [sorted(inflected(word) & by_letters.keys()) for word in family]
            for place, own in enumerate(forms):
                for letters in own:
                    self._families.setdefault(letters, []).append((forms, place))

    def of(self, word: str) -> list[T]:
        """What stands for the other words of its families; of each the forms whose ending fits best."""
        letters = without_accents(word.lower())
        found: dict[str, None] = {}
        for family, own in self._families.get(letters, ()):
            for place, forms in enumerate(family):
                if place != own and forms:
                    fit = max(_common_ending(letters, form) for form in forms)
                    found |= {form: None for form in forms if _common_ending(letters, form) == fit and form != letters}
        return [value for form in found for value in self._values[form]]


class Kinds(NamedTuple):
    """What things are called."""

    of: Mapping[str, tuple[str, ...]]  # the nouns for a thing, by its words in small letters
    nouns: frozenset[str]  # all nouns that may stand before a name and say what it is


@functools.cache
def families() -> tuple[tuple[str, ...], ...]:
    """Words that say nearly the same, in dictionary forms."""
    return tuple(tuple(dict.fromkeys(line.split())) for line in _lines("synonyms.txt"))


@functools.cache
def kinds() -> Kinds:
    """What a question may call its answer."""
    of: dict[str, tuple[str, ...]] = {}
    nouns = set[str]()
    for line in _lines("kinds.txt"):
        names, _, members = line.partition(":")
        called = tuple(name.replace("_", " ") for name in names.split())
        nouns.update(called)
        for member in members.split():
            word = member.replace("_", " ")
            of[word] = tuple(dict.fromkeys((*of.get(word, ()), *called)))
    return Kinds(of, frozenset(nouns))


def _lines(name: str) -> list[str]:
    text = files("destila.data.synthetic.spanish").joinpath(name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]
