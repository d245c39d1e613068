"""The project's own data set is what its card says."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from data_card import check_counts
from destila.data.squad import read
from destila.evaluation.metrics import question_word

DIRECTORY = Path(__file__).parents[2] / "data" / "nativa"
NAMES = ("train", "train-2", "train-3", "dev", "test")
BALANCED = ("train", "dev", "test")  # in the words that their questions begin with
QUESTION_WORDS = {"quién", "qué", "cuál", "cuándo", "dónde", "cuánto", "cómo", "por qué"}


def paragraphs(name: str) -> list[dict[str, Any]]:
    data = json.loads((DIRECTORY / f"{name}.json").read_text(encoding="utf-8"))["data"]
    return [paragraph for article in data for paragraph in article["paragraphs"]]


def counts(name: str) -> list[int]:
    found = paragraphs(name)
    questions = [question for paragraph in found for question in paragraph["qas"]]
    return [
        len(found),
        sum(len(paragraph["context"].split()) > 800 for paragraph in found),
        len(questions),
        sum(question["is_impossible"] for question in questions),
        sum(len(question["answers"]) > 1 for question in questions),
    ]


def test_the_card_states_the_counts() -> None:
    card = (DIRECTORY / "README.md").read_text(encoding="utf-8")
    total = check_counts(card, {name: counts(name) for name in NAMES})
    assert total[0] >= 80
    assert total[2] >= 500
    assert 0.12 < total[3] / total[2] < 0.18


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_is_a_clean_span(name: str) -> None:
    examples, _ = read(DIRECTORY / f"{name}.json", repair=False)
    assert len(examples) == counts(name)[2]
    for example in examples:
        for answer in example.answers:
            assert answer.text == example.context[answer.start : answer.end]


def test_no_context_or_question_stands_in_two_files() -> None:
    contexts = {name: {paragraph["context"] for paragraph in paragraphs(name)} for name in NAMES}
    ids = {name: {q["id"] for paragraph in paragraphs(name) for q in paragraph["qas"]} for name in NAMES}
    for left, right in combinations(NAMES, 2):
        assert not contexts[left] & contexts[right]
        assert not ids[left] & ids[right]


@pytest.mark.parametrize("name", BALANCED)
def test_every_kind_of_question_is_there(name: str) -> None:
    questions = [question["question"] for paragraph in paragraphs(name) for question in paragraph["qas"]]
    for word in QUESTION_WORDS:
        assert sum(question_word(question) == word for question in questions) >= len(questions) / 20, word
