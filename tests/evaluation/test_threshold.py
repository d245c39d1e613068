"""The fitted no-answer threshold: equal errors, the area, what is refused, and what the data must hold."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from destila.core.errors import UserError
from destila.core.records import Answer, Example, Prediction
from destila.data.negatives import paired
from destila.evaluation.threshold import area, equal_errors, fit_threshold, write_threshold
from destila.inference.reader import Reader
from tiny import predicted, tiny_examples, tiny_reader


def test_as_many_are_refused_with_an_answer_as_are_answered_without() -> None:
    generator = np.random.default_rng(0)
    answerable, absent = generator.normal(0, 1, 500), generator.normal(2, 1, 700)
    threshold = equal_errors(answerable, absent)
    assert threshold == pytest.approx(1.0, abs=0.15)
    assert (answerable > threshold).mean() == pytest.approx((absent <= threshold).mean(), abs=0.01)
    assert equal_errors(np.array([0.0, 1.0]), np.array([3.0, 4.0])) == 1.0
    assert equal_errors(np.array([0.0, 1.0]), np.array([math.inf, math.inf])) == 1.0
    assert equal_errors(np.array([math.inf]), np.array([math.inf])) == 0.0


def test_the_area_counts_pairs() -> None:
    generator = np.random.default_rng(1)
    left, right = generator.integers(0, 5, 30).astype(float), generator.integers(1, 7, 40).astype(float)
    pairs = np.mean([(b > a) + 0.5 * (b == a) for a in left for b in right])
    assert area(left, right) == pytest.approx(pairs)


class Sure:
    """A reader that is sure of "no answer" by as much as its table says."""

    def __init__(self, own: dict[str, float], others: float) -> None:
        self.own, self.others, self.asked = own, others, list[Example]()

    def predict(self, examples):  # type: ignore[no-untyped-def]
        self.asked += examples
        return {one.id: self.about(one, self.own.get(one.id, self.others)) for one in examples}

    def about(self, example: Example, odds: float) -> Prediction:
        best = example.answers[0] if example.answers else Answer.at(example.context, 0, 4, 0.5)
        return predicted(best, best, odds)


def test_off_topic_questions_are_answerable_ones_before_another_paragraph() -> None:
    examples = tiny_examples()
    answerable = [one for one in examples if one.answers]
    own = {one.id: float(number) for number, one in enumerate(answerable)} | {
        one.id: 1.0 for one in examples if not one.answers
    }
    reader = Sure(own, others=2.5)
    predictions = reader.predict(examples)
    fitted = fit_threshold(examples, predictions, criterion="equal-errors", ask=reader.predict, resamples=100)
    assert reader.asked[len(examples) :] == paired(answerable, paragraphs=1, seed=1)
    scores = np.array([own[one.id] for one in answerable])
    elsewhere = len(reader.asked) - len(examples)
    assert fitted.threshold == equal_errors(scores, np.full(elsewhere, 2.5))
    unanswerable = len(examples) - len(answerable)
    assert fitted.questions == {"answerable": len(answerable), "unanswerable": unanswerable, "off-topic": elsewhere}
    assert fitted.refused["answerable"] == (scores > fitted.threshold).mean()
    assert fitted.refused["off-topic"] == float(fitted.threshold < 2.5)
    assert fitted.area["off-topic"] == (scores < 2.5).mean()
    assert fitted.must_answer["em"] == 100
    only = fit_threshold(examples, predictions, criterion="f1", ask=reader.predict, resamples=100)
    assert set(only.questions) == {"answerable", "unanswerable"}


def test_a_real_reader_is_fitted_and_only_its_threshold_is_written(tmp_path: Path) -> None:
    metadata = {"window": {"length": 96, "stride": 16}, "no_answer_threshold": None, "kept": "as it is"}
    path = tiny_reader(tmp_path / "reader", seed=3, metadata=metadata)
    reader, examples = Reader.load(path), tiny_examples()
    fitted = fit_threshold(examples, reader.predict(examples), criterion="equal-errors", ask=reader.predict)
    assert 0 <= fitted.refused["answerable"] <= 1
    assert fitted.threshold == round(fitted.threshold, 2)
    write_threshold(path, fitted.threshold)
    written = json.loads((path / "destila.json").read_text())
    assert written == metadata | {"no_answer_threshold": fitted.threshold}


@pytest.mark.parametrize(
    ("chosen", "problem"),
    [
        ([one for one in tiny_examples() if not one.answers], "no question that has an answer"),
        ([one for one in tiny_examples() if one.answers][:1], "a single paragraph"),
    ],
)
def test_data_that_cannot_show_equal_errors_are_refused(chosen: list[Example], problem: str) -> None:
    reader = Sure({}, others=0.0)
    with pytest.raises(UserError, match=problem):
        fit_threshold(chosen, reader.predict(chosen), criterion="equal-errors", ask=reader.predict)
