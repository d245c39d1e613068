"""How alike two people answer: figures worked out by hand from the definitions, and what holds for any two."""

import random

import pytest

from destila.evaluation.annotators import Difference, agreement_of
from tiny import example

TEXT = "Lima fue fundada por Francisco Pizarro en 1535."


def people(pairs, text=TEXT):
    """Two lists of examples with these answers; None: no answer."""
    return [
        [
            example(str(n), f"¿{n}?", text, *([pair[side]] if pair[side] else []), title=str(n % 7))
            for n, pair in enumerate(pairs)
        ]
        for side in (0, 1)
    ]


def test_kappa_of_a_known_table():
    """Both yes 20, yes and no 5, no and yes 10, both no 15: observed 0.7, by chance 0.5, so kappa is 0.4."""
    table = [("Lima", "Lima")] * 20 + [("Lima", None)] * 5 + [(None, "Lima")] * 10 + [(None, None)] * 15
    found = agreement_of(*people(table))
    assert (found.n, found.answerable, found.exact) == (50, 70.0, 70.0)
    assert found.kappa == pytest.approx(0.4)
    assert len(found.differing) == 15


def test_answers_are_compared_by_words_and_no_answer_is_one():
    pairs = [("Francisco Pizarro", "Pizarro"), ("Lima", "Lima"), ("1535", None), (None, None)]
    found = agreement_of(*people(pairs))
    assert (found.exact, found.f1) == (50.0, pytest.approx(100 * (2 / 3 + 1 + 0 + 1) / 4))
    assert found.differing == (
        Difference("0", "¿0?", "Francisco Pizarro", "Pizarro"),
        Difference("2", "¿2?", "1535", None),
    )
    low, high = found.f1_ci
    assert low <= found.f1 <= high


@pytest.mark.parametrize("seed", range(5))
def test_it_is_symmetric_and_full_with_oneself(seed):
    generator = random.Random(seed)
    words = [None, "Lima", "Francisco Pizarro", "Pizarro", "1535"]
    first, second = people([(generator.choice(words), generator.choice(words)) for _ in range(30)])
    there, back = agreement_of(first, second), agreement_of(second, first)
    for name in ("n", "exact", "f1", "answerable", "kappa"):
        assert getattr(there, name) == pytest.approx(getattr(back, name))
    same = agreement_of(first, first)
    assert (same.exact, same.f1, same.answerable, same.kappa, same.differing) == (100.0, 100.0, 100.0, 1.0, ())


def test_questions_are_paired_by_id_or_words_and_only_in_the_same_text():
    other = TEXT + " Fin."
    first = [example("a", "¿Quién?", TEXT, "Lima"), example("b", "¿Qué  ciudad?", TEXT, "Lima")]
    second = [
        example("a", "¿Quién la fundó?", TEXT, "Lima"),  # mended by the other person
        example("z", "¿QUÉ ciudad?", TEXT, "Lima"),  # both wrote it
        example("b", "¿Otra?", other, "Lima"),
    ]
    found = agreement_of(first, second)
    assert (found.n, found.only_first, found.only_second, found.exact) == (2, 0, 1, 100.0)
    assert found.kappa is None, "both always answer: nothing is agreed on by chance"
    assert agreement_of(first, second[2:]) is None
