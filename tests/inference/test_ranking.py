"""Answers of several texts on one scale: by hand, and against one softmax over the logits of all spans."""

import math
from dataclasses import replace

import numpy as np
import pytest

from destila.config import WindowSettings
from destila.core.records import Answer, Example, Prediction
from destila.inference.ranking import Piece, Reading, answers_from, ranked_together
from destila.inference.reader import Reader
from tiny import TEXTS, tiny_tokenizer


def reading(source, start, spans, null, *, unseen=()):
    """A piece whose spans have the given logits; `unseen`: logits of spans that are not among its answers."""
    logits = [logit for *_, logit in spans] + list(unseen)
    everything = math.log(sum(map(math.exp, logits)))
    total = math.log(math.exp(everything) + math.exp(null))
    answers = [Answer(f"{source} {a}", a, b, math.exp(logit - total)) for a, b, logit in spans]
    prediction = Prediction(answers[0], answers[0], spans[0][-1], null, everything)
    return Reading(Piece(source, start, "x" * 100), prediction, answers)


def test_answers_of_all_pieces_stand_on_one_scale():
    first = reading("a", 0, [(0, 2, 6.0), (4, 6, 5.2)], 0.0)
    second = reading("b", 10, [(1, 3, 7.0), (5, 6, 5.0)], 2.0, unseen=[3.0])
    again = reading("a", 0, [(1, 5, 5.9)], 3.0)  # overlaps what "a" said better
    ranked = ranked_together([first, second, again], None)
    assert [(path, answer.start, answer.end) for path, answer in ranked] == [
        ("b", 11, 13),
        ("a", 0, 2),
        ("a", 4, 6),
        ("b", 15, 16),
    ]
    logits = [6.0, 5.2, 7.0, 5.0, 3.0, 5.9, 0.0]  # all spans, and the lowest "no answer"
    total = sum(map(math.exp, logits))
    assert [answer.score for _, answer in ranked] == pytest.approx([math.exp(x) / total for x in (7, 6, 5.2, 5)])


def test_what_is_improbable_beside_the_best_or_said_already_is_not_shown():
    best, far = reading("a", 0, [(0, 2, 7.0), (5, 7, 4.0)], 0.0), reading("b", 0, [(0, 2, 4.0), (3, 4, 6.0)], 0.0)
    assert [(path, answer.start) for path, answer in ranked_together([best, far], None)] == [("a", 0), ("b", 3)]
    again = reading("c", 0, [(0, 2, 6.5), (4, 6, 6.4)], 0.0)
    same = Reading(again.piece, again.prediction, [replace(again.answers[0], text="A  0"), again.answers[1]])
    assert [answer.text for _, answer in ranked_together([best, same], None)] == ["a 0", "c 4"]


def test_no_answer_wins_only_where_every_piece_says_so():
    sure = reading("a", 0, [(0, 2, 8.0)], 1.0)
    loud = reading("b", 0, [(0, 2, 9.0)], 12.0)
    assert [path for path, _ in ranked_together([sure, loud], 0.0)] == ["a", "b"]
    assert [path for path, _ in ranked_together([sure, loud], None)] == ["b", "a"]
    none, (path, _) = ranked_together([loud], 0.0)
    assert (none[0], none[1].text, path) == (None, None, "b")
    assert ranked_together([], None) == [(None, Answer.none(1.0))]


def test_a_text_that_is_sure_of_a_bad_answer_does_not_win():
    """By themselves both give their best nearly all they have; side by side the logits decide."""
    weak, strong = reading("weak", 0, [(0, 2, -8.0)], -30.0), reading("strong", 0, [(0, 2, 6.0)], 1.0)
    assert weak.answers[0].score > strong.answers[0].score
    ((first, best),) = ranked_together([weak, strong], None)
    assert (first, best.score > 0.99) == ("strong", True)


class ByToken:
    """Logits that are functions of a token's id, whatever stands around it."""

    def logits(self, input_ids, attention_mask):
        values = np.sin(input_ids * 12.9898).astype(np.float32) * 4
        return values, np.cos(input_ids * 78.233).astype(np.float32) * 4


@pytest.mark.parametrize("threshold", [None, -100.0])
def test_the_scores_of_real_readings_are_one_softmax_over_all_texts(threshold):
    window = WindowSettings(length=64, stride=16, max_answer_tokens=4)
    reader = Reader(ByToken(), tiny_tokenizer(), window=window, pad_id=1, no_answer_threshold=threshold)
    pieces = [Piece(number, 0, text) for number, text in enumerate(TEXTS)]
    found = answers_from(reader, "¿Quién?", pieces, top_k=4)
    spans, nulls = [], []
    for text in TEXTS:
        windows = reader.builder.build([Example("x", "¿Quién?", text)])
        best = {}
        for window, start, end in zip(windows, *reader.logits(windows), strict=True):
            nulls.append(float(start[0] + end[0]))
            for i in range(window.context_start, window.context_end):
                for j in range(i, min(i + 4, window.context_end)):
                    place = window.first_token + i - window.context_start, j - i
                    best[place] = max(best.get(place, -math.inf), float(start[i] + end[j]))
        spans += best.values()
    total = sum(math.exp(logit) for logit in [*spans, min(nulls)])
    if threshold is not None:
        assert found[0] == (None, Answer.none(pytest.approx(math.exp(min(nulls)) / total, rel=1e-4)))
        found = found[1:]
    assert found[0][1].score == pytest.approx(math.exp(max(spans)) / total, rel=1e-4)
    assert all(TEXTS[number][answer.start : answer.end] == answer.text for number, answer in found)


def test_a_piece_that_is_utterly_sure_of_no_answer_harms_nothing():
    nothing = Answer("u", 0, 1, 0.0)  # its probability is smaller than any number
    sure = Reading(Piece("a", 0, "u"), Prediction(Answer.none(), nothing, 3.0, 9e4, 3.0), [nothing])
    ((source, best),) = ranked_together([sure, reading("b", 0, [(0, 2, 9.0)], 0.0)], None)
    assert (source, best.score > 0.99) == ("b", True)
