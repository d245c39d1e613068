"""What questions ask for, and scores by kind of question."""

from dataclasses import replace

import pytest

from destila.core.records import Answer, Example
from destila.evaluation.metrics import (
    agreement,
    breakdown,
    question_word,
    score,
)


def make(
    number: int, golds: list[str] | None, *, title: str = "", question: str = "¿Qué?", context: str = ""
) -> Example:
    answers = tuple(Answer(gold, 0, len(gold)) for gold in golds or [])
    return Example(
        f"q{number}", question, context or f"context {number}", answers, title=title, labeled=golds is not None
    )


QUESTION_WORDS = [
    ("¿Quién escribió el Quijote?", "quién"),
    ("¿A quién derrotó Bolívar?", "quién"),
    ("¿Quiénes fundaron Lima?", "quién"),
    ("quien fundo lima", "quién"),
    ("¿QUIÉN FUE?", "quién"),
    ("¿En qué año nació?", "qué"),
    ("En que año nacio", "qué"),
    ("¿Cuál es la capital?", "cuál"),
    ("¿Cuáles son?", "cuál"),
    ("cuando murio", "cuándo"),
    ("¿Adónde fue?", "dónde"),
    ("¿De dónde viene?", "dónde"),
    ("¿Cuántas islas hay?", "cuánto"),
    ("Cuantos años", "cuánto"),
    ("¿Cómo se llama?", "cómo"),
    ("¿Por qué cayó Roma?", "por qué"),
    ("Por  que cayo Roma?", "por qué"),
    ("¿Porqué cayó?", "por qué"),
    ("Cuando murió el rey, ¿quién le sucedió?", "quién"),
    ("Cuando murio el rey, ¿quien le sucedio?", "quién"),
    ("El libro que escribió, ¿dónde está?", "dónde"),
    ("Nombre del río más largo", "otra"),
    ("¿Es Lima la capital?", "otra"),
    ("Queso y quienquiera", "otra"),
    ("¿Que\u0301 es?", "qué"),
    ("", "otra"),
]


@pytest.mark.parametrize(("question", "word"), QUESTION_WORDS)
def test_question_words(question: str, word: str) -> None:
    assert question_word(question) == word


def test_breakdown_counts_every_question_once_per_kind() -> None:
    examples = [
        replace(make(1, ["uno"], question="¿Quién?", context="a " * 99), source="sqac"),
        replace(make(2, ["uno dos tres"], question="¿Dónde?", context="a " * 100), source="sqac"),
        make(3, ["a b c d e f g"], question="¿Quién?", context="a " * 399),
        make(4, ["a b c d e f g h"], question="Di", context="a " * 400),
        make(5, [], question="¿Qué?", context="a " * 400),
    ]
    texts = {"q1": "uno", "q2": "nada", "q3": None, "q4": None, "q5": None}
    scores = score(examples, texts, normalizer="squad")
    parts = breakdown(scores, examples)
    assert {kind: {name: part["n"] for name, part in groups.items()} for kind, groups in parts.items()} == {
        "question_word": {"quién": 2, "dónde": 1, "qué": 1, "otra": 1},
        "answer_words": {"1": 1, "2-3": 1, "4-7": 1, "8+": 1, "none": 1},
        "context_words": {"<100": 1, "100-199": 1, "200-399": 1, "400+": 2},
        "source": {"": 3, "sqac": 2},
    }
    assert parts["question_word"]["quién"] == {"n": 2, "f1": 50, "em": 50}
    assert parts["answer_words"]["none"]["f1"] == 100


def test_agreement_ignores_gold_answers() -> None:
    left = {"q1": "Lima", "q2": None, "q3": "el rey", "q4": "en Lima"}
    right = {"q1": "lima.", "q2": "", "q3": "Quito", "q4": "Lima"}
    found = agreement(left, right, normalizer="squad")
    assert found == {"identical": 0.5, "f1": pytest.approx((1 + 1 + 0 + 2 / 3) / 4)}
    assert agreement(right, left, normalizer="squad") == found
