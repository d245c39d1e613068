"""The fitted probability: is it the true one, does it survive the file, does a reader keep its promise."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from destila.core.calibration import Calibration, Promise
from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata
from destila.core.records import Answer, Example, Prediction
from destila.data.squad import save
from destila.evaluation.calibrating import calibrate, fit
from destila.inference.places import SHIPPED
from destila.inference.ranking import Piece, answers_from
from destila.inference.reader import Reader
from half_right import half_right
from tiny import TEXTS

TRUE = Calibration(bias=0.4, margin=0.7, share=1.5)
WRITTEN = Calibration(-0.1, 0.3, 1.2, (Promise(0.2, 0.6, 0.9, 0.3, 0.15, 100),))


def drawn(count: int, truth: Calibration = TRUE) -> tuple[list[Example], dict[str, Prediction]]:
    """Questions that are right as often as the map says, ten of each article."""
    generator = np.random.default_rng(0)
    examples, predictions = list[Example](), dict[str, Prediction]()
    for number in range(count):
        best_logit, null_logit = generator.normal(0, 2), generator.normal(0, 2)
        best = Answer.at(TEXTS[0], 3, 9, 0.5)
        spans_logit = best_logit + generator.exponential()
        said = Prediction(best, best, best_logit, null_logit, spans_logit)
        is_right = generator.random() < truth.probability(said)
        gold = best if is_right else Answer.at(TEXTS[0], 40, 47)
        name = str(number)
        examples.append(Example(name, "¿Qué?", TEXTS[0], (gold,), title=f"artículo {number // 10}"))
        predictions[name] = said
    return examples, predictions


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled reader with a calibration and a promise."""
    directory = tmp_path_factory.mktemp("calibrated") / "reader"
    directory.mkdir()
    for path in SHIPPED.iterdir():
        if path.is_file() and path.suffix != ".py":
            (directory / path.name).symlink_to(path)
    about = ModelMetadata.read(SHIPPED).changed(calibration=WRITTEN.as_json())
    (directory / "destila.json").unlink()
    about.write(directory)
    return directory


def test_the_map_that_made_the_data_is_found() -> None:
    found = fit(*drawn(6000), max_errors=[0.2])
    fitted = found.calibration
    assert (fitted.bias, fitted.margin, fitted.share) == pytest.approx((TRUE.bias, TRUE.margin, TRUE.share), abs=0.2)
    assert found.after.error < 0.03 < found.before.error
    assert found.articles == 600
    (kept,) = found.promises
    assert kept.wrong < 0.2


def test_the_map_rises_even_where_the_data_fall() -> None:
    upside_down = Calibration(bias=0.0, margin=-1.0, share=1.0)
    fitted = fit(*drawn(2000, upside_down)).calibration
    assert fitted.margin == 0
    assert fitted.share > 0


def test_the_map_survives_odds_beyond_what_numbers_hold() -> None:
    best = Answer.at(TEXTS[0], 3, 9)
    for far, expected in ((1e6, 1.0), (-1e6, 0.0)):
        assert TRUE.probability(Prediction(best, best, far, 0.0, far)) == expected
    assert TRUE.probability(Prediction(Answer.none(), None, -math.inf, 0.0, -math.inf)) == 0.0


def test_data_that_teach_nothing_are_refused() -> None:
    examples, predictions = drawn(40)
    with pytest.raises(UserError, match="holds a single article"):
        fit(examples[:10], predictions)
    right = [example for example in examples if example.answers[0] == Answer.at(TEXTS[0], 3, 9, 0.5)]
    with pytest.raises(UserError, match="have no wrong answers"):
        fit(right, predictions)


def test_data_without_labels_are_refused_with_their_file(tmp_path: Path) -> None:
    save([Example("1", "¿Qué?", TEXTS[0], labeled=False)], tmp_path / "unlabeled.json")
    with pytest.raises(UserError, match=r"unlabeled\.json: holds no labeled example"):
        calibrate(data=tmp_path / "unlabeled.json")


def test_what_is_written_is_read_and_everything_else_stays(calibrated: Path, tmp_path: Path) -> None:
    data = half_right(None)
    before = json.loads((calibrated / "destila.json").read_text(encoding="utf-8"))
    found = calibrate(calibrated, data, max_error=[0.01, 0.95], write=True)
    after = ModelMetadata.read(calibrated)
    assert after.calibration == found.calibration
    assert {**after, "calibration": 0} == {**before, "calibration": 0}
    assert set(found.smallest) | {one.max_error for one in found.promises} == {0.01, 0.95}
    assert 0.01 in found.smallest, "24 questions promise no such thing"
    ModelMetadata.read(calibrated).changed(calibration=WRITTEN.as_json()).write(calibrated)


def test_only_the_best_span_has_a_probability_and_a_guess_keeps_it(calibrated: Path) -> None:
    reader = Reader.load(calibrated, no_answer_threshold=-1e9)
    ((prediction, answers),) = reader.read([Example("a", "¿Quién fundó Lima?", TEXTS[0])], top_k=5)
    assert prediction.guess
    assert prediction.guess.probability == WRITTEN.probability(prediction)
    assert [answer.probability for answer in answers[2:]] == [None] * len(answers[2:])
    assert answers[0] == prediction.no_answer
    assert prediction.no_answer.probability is None
    assert Reader.load(SHIPPED).calibration or not Reader.load(SHIPPED).answer("¿Quién?", TEXTS[0]).probability


def test_a_reader_with_a_promise_refuses_below_its_probability(calibrated: Path) -> None:
    free, bound = Reader.load(calibrated, must_answer=True), Reader.load(calibrated, max_error=0.2)
    pairs = [("¿Quién fundó Lima?", TEXTS[0]), ("¿Cuánto llovió?", TEXTS[5]), ("¿Quién ganó el mundial?", TEXTS[4])]
    refused = 0
    for pair in pairs:
        best = free.answer(*pair)
        assert best.probability is not None
        refused += best.probability < 0.6
        assert bound.answer(*pair) == best if best.probability >= 0.6 else bound.answer(*pair).text is None
        assert bound.answer(*pair, must_answer=True) == best, "who wants an answer in any case gets it"
    assert 0 < refused < len(pairs)


def test_what_was_not_promised_is_refused(calibrated: Path) -> None:
    with pytest.raises(UserError, match=r"at most 0.05 was promised; these were: 0.2"):
        Reader.load(calibrated, max_error=0.05)
    with pytest.raises(UserError, match="so does another setting"):
        Reader.load(calibrated, max_error=0.2, must_answer=True)
    reader = Reader.load(calibrated, max_error=0.2)
    with pytest.raises(UserError, match="not of the best of several"):
        answers_from(reader, "¿Quién fundó Lima?", [Piece("a", 0, TEXTS[0])], top_k=1)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"margin": -1.0}, "margin of calibration is -1.0"),
        ({"bias": math.nan}, "bias of calibration is nan"),
        ({"share": "1"}, "share of calibration is '1'"),
        ({"promises": 3}, "promises of calibration are no list"),
        ({"promises": [{}]}, "a promise of calibration has the keys"),
        ({"more": 1}, "calibration has the keys"),
    ],
)
def test_a_damaged_calibration_is_refused(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        ModelMetadata({"calibration": WRITTEN.as_json() | changes})
    with pytest.raises(UserError, match="is 4 and not a JSON object"):
        ModelMetadata({"calibration": 4})


def test_a_promise_that_is_asked_twice_and_a_model_that_cannot_be_written_are_refused() -> None:
    with pytest.raises(UserError, match=r"(?s)stands twice.*the bundled model is not named as a local directory"):
        calibrate(data=["x.json"], max_error=[0.1, 0.1], write=True)
