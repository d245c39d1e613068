"""What sentences gain by repeating the question, and that a reader whose settings say so lets them."""

import json
import math
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from destila import Reader
from destila.overlap import Overlap
from destila.stopwords import STOP_WORDS
from tiny import TEXTS, tiny_reader

CONTEXT = "El club se fundó en 1932. La sede está en Lugo.\nSus fundadores vivían allí. ¿Y el club?"
SENTENCES = [0, 26, 48, 76]


def by_hand(question: str, context: str) -> list[float]:
    """The shares of the sentences, written anew: all pairs of words are compared."""

    def start(word: str) -> str:
        letters = unicodedata.normalize("NFD", word.lower())
        return re.sub("[\u0300-\u036f]", "", letters)[:5]

    sentences = re.split(r"(?<=[.!?…])\s+|\s*\n\s*", context)
    asked = dict.fromkeys(start(word) for word in re.findall(r"[^\W_]+", question))
    plain = {start(word) for word in re.findall(r"[^\W_]+", question) if word.lower() not in STOP_WORDS}
    held = [{start(word) for word in re.findall(r"[^\W_]+", sentence)} for sentence in sentences]
    worth = {
        word: (1.0 if word in plain else 0.1)
        * math.log(1 + (len(held) + 1) / (sum(word in words for words in held) + 0.5))
        for word in asked
    }
    return [sum(worth[word] for word in asked if word in words) / sum(worth.values()) for words in held]


def gains(question: str, context: str, characters: list[int], weight: float = 1.0) -> list[float]:
    offsets = np.array([(place, place + 1) for place in characters])
    return Overlap(question, context, weight=weight).gains(offsets).tolist()


@pytest.mark.parametrize("question", ["¿En qué año se FUNDO el club?", "¿Dónde está la sede?", "¿Qué?", "Lugo"])
def test_gains_are_the_shares_of_the_question_that_sentences_hold(question: str) -> None:
    assert gains(question, CONTEXT, SENTENCES) == pytest.approx(by_hand(question, CONTEXT), abs=1e-6)


def test_the_sentence_that_repeats_the_question_gains_most_and_rare_words_count_more() -> None:
    first, second, third, _ = gains("¿En qué año se fundó el club?", CONTEXT, SENTENCES, weight=8.0)
    assert first > 2 * max(second, third)
    common, rare = gains("casa faro", "La casa es azul. El faro es alto. La casa es baja.", [0, 17])
    assert rare > common


@given(question=st.text(max_size=30), context=st.text(max_size=60), weight=st.floats(0, 10))
def test_gains_lie_between_nothing_and_the_weight_and_stay_in_their_sentence(
    question: str, context: str, weight: float
) -> None:
    found = gains(question, context, list(range(len(context) + 1)), weight)
    assert all(0 <= gain <= weight * 1.0001 for gain in found)
    for place in range(1, len(context)):
        if found[place] != found[place - 1]:
            assert context[place - 1].isspace()


def test_tokens_that_stand_for_no_character_gain_nothing() -> None:
    assert Overlap("club", CONTEXT, weight=5.0).gains(np.array([[3, 3], [3, 7]])).tolist()[0] == 0.0


def test_a_question_without_words_gains_nothing() -> None:
    assert gains("¿?", CONTEXT, SENTENCES) == [0.0] * 4
    assert gains("club", "", [0]) == [0.0]


def test_a_reader_whose_settings_say_so_prefers_the_sentence_that_repeats_the_question(tmp_path: Path) -> None:
    question, context = "¿Qué río cruza Mérida?", f"{TEXTS[0]} El río Guadiana cruza Mérida. {TEXTS[1]}"
    answers = {}
    for weight in (0.0, 100.0):
        window = {"length": 64, "stride": 16, "max_answer_tokens": 8, "overlap": weight}
        reader = Reader.load(tiny_reader(tmp_path / str(weight), seed=4, metadata={"window": window}))
        answers[weight] = reader.answers(question, context, top_k=3)
        shorter = Reader.load(tmp_path / str(weight), window_length=48)
        assert shorter.window.overlap == weight
    sentence = context.index("El río Guadiana"), context.index("Mérida. ") + 7
    assert all(sentence[0] <= answers[100.0][0].start < sentence[1] for _ in range(1))
    assert answers[0.0] != answers[100.0]


def test_a_weight_that_is_none_is_refused(tmp_path: Path) -> None:
    directory = tiny_reader(tmp_path / "reader", metadata={"window": {"overlap": -1}})
    with pytest.raises(Exception, match=r"overlap"):
        Reader.load(directory)
    assert json.loads((directory / "destila.json").read_text())["window"] == {"overlap": -1}
