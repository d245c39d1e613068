"""Scores against cases made by hand and against a plain reference; the threshold against brute force."""

import itertools
import math
import sys
import unicodedata

import pytest
from hypothesis import example as also
from hypothesis import given, settings
from hypothesis import strategies as st

from destila.core.errors import UserError
from destila.core.records import Answer, Example, Prediction
from destila.evaluation.metrics import (
    NORMALIZERS,
    exact_match,
    f1,
    normalize_mlqa,
    normalize_squad,
    score,
    summary,
    with_threshold,
)
from destila.evaluation.threshold import best_f1
from tiny import predicted

# text, as SQuAD normalizes it, as MLQA normalizes it for Spanish
NORMALIZED = [
    ("", "", ""),
    ("   ", "", ""),
    ("Lima", "lima", "lima"),
    ("  Lima \t\n es ", "lima es", "lima es"),
    ("La Paz", "la paz", "paz"),
    ("el", "el", ""),
    ("EL RÍO", "el río", "río"),
    ("Él", "él", "él"),
    ("a Lima", "lima", "a lima"),
    ("The Beatles", "beatles", "the beatles"),
    ("un, una; unos y unas", "un una unos y unas", "y"),
    ("¿Quién?", "¿quién", "quién"),
    ("¡Viva!", "¡viva", "viva"),
    ("«El Quijote»", "«el quijote»", "quijote"),
    ("“El Quijote”", "“el quijote”", "quijote"),
    ("1936–1939", "1936–1939", "19361939"),
    ("1936-1939", "19361939", "19361939"),
    ("3,5 millones", "35 millones", "35 millones"),
    ("1.000 €", "1000 €", "1000 €"),
    ("l'a", "la", ""),
    ("elefante y lata", "elefante y lata", "elefante y lata"),
    ("unaña elí", "unaña elí", "unaña elí"),
    ("¿?", "¿", ""),
    ("...", "", ""),
    ("n.º 3", "nº 3", "nº 3"),
    ("la\u00a0casa", "la casa", "casa"),
    ("an «a» b", "« » b", "an a b"),
    ("—la—", "—la—", ""),
    ("EE. UU.", "ee uu", "ee uu"),
]


@pytest.mark.parametrize(("text", "squad", "mlqa"), NORMALIZED)
def test_normalizers_on_cases_made_by_hand(text: str, squad: str, mlqa: str) -> None:
    assert normalize_squad(text) == squad
    assert normalize_mlqa(text) == mlqa


# prediction, gold answers, rules, exact match, F1
SCORED = [
    ("Lima", ["Lima"], "squad", 1, 1),
    ("lima.", ["Lima"], "squad", 1, 1),
    ("en Lima", ["Lima"], "squad", 0, 2 / 3),
    ("la Paz", ["Paz"], "squad", 0, 2 / 3),
    ("la Paz", ["Paz"], "mlqa-es", 1, 1),
    ("«Lima»", ["Lima"], "squad", 0, 0),
    ("«Lima»", ["Lima"], "mlqa-es", 1, 1),
    ("Quito", ["Lima"], "squad", 0, 0),
    ("Quito", ["Lima", "Quito"], "squad", 1, 1),
    ("en Lima", ["Cusco", "en Lima, Perú"], "squad", 0, 0.8),
    ("rey de reyes", ["rey de rey"], "squad", 0, 2 / 3),
    ("rey rey rey", ["rey"], "squad", 0, 0.5),
    ("uno dos", ["dos uno"], "squad", 0, 1),
    ("", ["Lima"], "squad", 0, 0),
    (None, ["Lima"], "mlqa-es", 0, 0),
    (None, [], "squad", 1, 1),
    ("", [], "mlqa-es", 1, 1),
    ("Lima", [], "squad", 0, 0),
    ("...", [], "squad", 1, 1),
    ("¿?", [], "squad", 0, 0),
    ("¿?", [], "mlqa-es", 1, 1),
    ("la", ["el"], "mlqa-es", 1, 1),
    ("la", ["el"], "squad", 0, 0),
    ("", ["la", "Lima"], "mlqa-es", 0, 0),
    ("1.936", ["1936"], "squad", 1, 1),
    ("1936–1939", ["1936-1939"], "mlqa-es", 1, 1),
    ("Peru", ["Perú"], "mlqa-es", 0, 0),
]


@pytest.mark.parametrize(("prediction", "golds", "normalizer", "em", "overlap"), SCORED)
def test_scores_on_cases_made_by_hand(prediction, golds, normalizer, em, overlap) -> None:
    assert exact_match(prediction, golds, normalizer=normalizer) == em
    assert f1(prediction, golds, normalizer=normalizer) == pytest.approx(overlap)


# ------------------------------------------------------------------------ a reference without regular expressions
def reference_tokens(text: str, rules: str) -> list[str]:
    """Tokens by scanning letters: a word is a maximal run of letters, digits and underscores."""
    ascii_punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
    kept = []
    for letter in text.lower():
        symbol = unicodedata.category(letter).startswith("P") if rules == "mlqa-es" else False
        if letter not in ascii_punctuation and not symbol:
            kept.append(letter)
    articles = {"squad": "a an the", "mlqa-es": "un una unos unas el la los las"}[rules].split()
    pieces = ["".join(run) for _, run in itertools.groupby(kept, key=lambda letter: letter.isalnum())]
    return "".join(" " if piece in articles else piece for piece in pieces).split()


def reference_f1(prediction: str, golds: list[str], rules: str) -> float:
    predicted = reference_tokens(prediction, rules)
    targets = [tokens for tokens in (reference_tokens(gold, rules) for gold in golds) if tokens] or [[]]
    best = 0.0
    for target in targets:
        if not target or not predicted:
            best = max(best, float(target == predicted))
            continue
        left = list(target)
        shared = 0
        for token in predicted:
            if token in left:
                left.remove(token)
                shared += 1
        if shared:
            precision, recall = shared / len(predicted), shared / len(target)
            best = max(best, 2 * precision * recall / (precision + recall))
    return best


SPANISH = st.text(alphabet="aelnostu ñíÉ¿?¡!«»–.,-'_12\u00a0\u0301", max_size=12)
VOCABULARY = ["el", "la", "los", "Lima", "río,", "«Paz»", "the", "a", "1936", "rey", "¿", "un."]
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=5).map(" ".join)
TEXTS = st.one_of(SPANISH, WORDS, st.text(max_size=8))


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.lists(TEXTS, max_size=3), st.sampled_from(sorted(NORMALIZERS)))
@also("a\u0301a", ["á"], "squad")
def test_scores_equal_a_reference_written_without_regular_expressions(prediction, golds, rules) -> None:
    predicted = reference_tokens(prediction, rules)
    targets = [tokens for tokens in (reference_tokens(gold, rules) for gold in golds) if tokens] or [[]]
    assert NORMALIZERS[rules](prediction) == " ".join(predicted)
    assert exact_match(prediction, golds, normalizer=rules) == float(predicted in targets)
    assert f1(prediction, golds, normalizer=rules) == pytest.approx(reference_f1(prediction, golds, rules))


def test_every_punctuation_character_is_known_to_the_spanish_rules() -> None:
    punctuation = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == "P"]
    assert len(punctuation) > 700
    assert normalize_mlqa("".join(punctuation)) == ""
    assert normalize_mlqa("°€½ñ") == "°€½ñ"  # symbols are not punctuation


# ---------------------------------------------------------------------------------------------------- data sets
def make(
    number: int, golds: list[str] | None, *, title: str = "", question: str = "¿Qué?", context: str = ""
) -> Example:
    answers = tuple(Answer(gold, 0, len(gold)) for gold in golds or [])
    return Example(
        f"q{number}", question, context or f"context {number}", answers, title=title, labeled=golds is not None
    )


def test_score_keeps_order_splits_and_articles() -> None:
    examples = [make(1, ["Lima"], title="Perú"), make(2, None), make(3, []), make(4, ["Quito"], title="Perú")]
    scores = score(examples, {"q4": "en Quito", "q3": None, "q1": "Lima"}, normalizer="squad")
    assert scores.ids == ("q1", "q3", "q4")
    assert scores.f1.tolist() == pytest.approx([1, 1, 2 / 3])
    assert scores.em.tolist() == [1, 1, 0]
    assert scores.has_answer.tolist() == [True, False, True]
    assert scores.clusters[0] == scores.clusters[2] != scores.clusters[1]
    assert scores.unlabeled == 1
    assert summary(scores, scores.has_answer) == {"n": 2, "f1": pytest.approx(250 / 3), "em": 50}
    assert summary(scores, scores.has_answer & ~scores.has_answer) == {"n": 0, "f1": None, "em": None}


def test_examples_without_title_are_grouped_by_context() -> None:
    examples = [make(1, ["a"], context="uno"), make(2, ["a"], context="dos"), make(3, ["a"], context="uno")]
    assert score(examples, dict.fromkeys(["q1", "q2", "q3"]), normalizer="squad").clusters.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [
        ({"q1": "a"}, r"answers\.json: no prediction for 1 ids \('q2'\) of 2"),
        ({"q1": "a", "q2": "b", "q9": "c"}, r"answers\.json: 1 ids \('q9'\) are not in the data"),
    ],
)
def test_ids_that_do_not_fit_are_named(predictions, expected) -> None:
    with pytest.raises(UserError, match=expected):
        score([make(1, ["a"]), make(2, ["b"])], predictions, normalizer="squad", where="answers.json")


def test_many_missing_ids_are_counted_and_the_first_ten_shown() -> None:
    examples = [make(number, ["a"]) for number in range(25)]
    with pytest.raises(UserError, match=r"no prediction for 24 ids \('q1', .*'q10', \.\.\.\) of 25"):
        score(examples, {"q0": "a"}, normalizer="squad")


def test_nothing_labeled_and_repeated_ids_are_refused() -> None:
    with pytest.raises(UserError, match="none of the 1 examples is labeled"):
        score([make(1, None)], {"q1": "a"}, normalizer="squad")
    with pytest.raises(UserError, match=r"1 ids \('q1'\) appear more than once"):
        score([make(1, ["a"]), make(1, ["a"])], {"q1": "a"}, normalizer="squad")


# ---------------------------------------------------------------------------------------------------- threshold
def predict(text: str | None, odds: float) -> Prediction:
    best = None if text is None else Answer(text, 0, len(text), 0.5)
    return predicted(best or Answer.none(), best, odds)


def mean_f1_under(examples, predictions, threshold) -> float:
    """The mean F1 of a threshold, question by question."""
    total = 0.0
    for item in examples:
        prediction = predictions[item.id]
        refused = prediction.best is None or prediction.no_answer_score > threshold
        total += reference_f1("" if refused else prediction.best.text, [gold.text for gold in item.answers], "squad")
    return total / len(examples)


QUESTIONS = st.lists(
    st.tuples(
        st.sampled_from([[], ["Lima"], ["Lima", "rey de Lima"], ["."]]),
        st.sampled_from(["Lima", "rey", "en Lima", "...", None]),
        st.one_of(st.integers(-3, 3).map(float), st.floats(-20, 20)),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(QUESTIONS)
def test_the_fitted_threshold_is_the_lowest_of_the_best(rows) -> None:
    examples = [make(0, []), *(make(number, golds) for number, (golds, _, _) in enumerate(rows, start=1))]
    predictions = {"q0": predict("Quito", 1.5)}
    for number, (_, text, odds) in enumerate(rows, start=1):
        predictions[f"q{number}"] = predict(text, math.inf if text is None else odds)
    threshold, value = best_f1(examples, predictions)
    odds = [item.no_answer_score for item in predictions.values() if math.isfinite(item.no_answer_score)]
    tried = {cut: mean_f1_under(examples, predictions, cut) for cut in [min(odds) - 1.0, *odds]}
    assert value == pytest.approx(max(tried.values()))
    assert threshold == min(cut for cut, reached in tried.items() if reached > max(tried.values()) - 1e-9)
    answered = {name: item.answer.text for name, item in with_threshold(predictions, threshold).items()}
    assert score(examples, answered, normalizer="squad").f1.mean() == pytest.approx(value)


def test_questions_of_equal_score_are_taken_together() -> None:
    """evaluate-v2.0.py would stop between the two and promise an F1 of 1 that no threshold gives."""
    examples = [make(1, ["Lima"]), make(2, [])]
    predictions = {"q1": predict("Lima", 0.0), "q2": predict("Lima", 0.0)}
    assert best_f1(examples, predictions) == (-1.0, 0.5)


def test_without_any_legal_span_the_threshold_stays_finite() -> None:
    assert best_f1([make(1, [])], {"q1": predict(None, math.inf)}) == (0.0, 1.0)


def test_a_threshold_needs_unanswerable_questions() -> None:
    with pytest.raises(UserError, match="no question is unanswerable"):
        best_f1([make(1, ["Lima"])], {"q1": predict("Lima", 0.0)})


def test_another_threshold_changes_answers_and_gives_the_probability_of_none() -> None:
    predictions = {"q1": predicted(Answer.none(0.6), Answer("Lima", 0, 4, 0.3), math.log(2))}
    assert with_threshold(predictions, None)["q1"].answer.text == "Lima"
    assert with_threshold(predictions, math.log(2))["q1"].answer.text == "Lima"
    refused = with_threshold(predictions, 0.0)["q1"].answer
    assert refused.text is None
    assert refused.score == pytest.approx(0.6)
