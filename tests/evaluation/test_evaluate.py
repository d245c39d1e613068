"""Reports: everything that a score needs beside it, for models and for answers given already."""

import json
import re

import pytest

from destila.core.records import Answer, Example
from destila.core.strict_json import dumps
from destila.evaluation.evaluate import (
    as_json,
    compare,
    compare_all,
    evaluate_reader,
    evaluate_texts,
    format_breakdowns,
    format_comparisons,
    format_everything,
    format_reports,
    make_report,
    signature,
    table,
)
from destila.evaluation.metrics import score
from tiny import predicted

CONTEXT = "Lima fue fundada por Francisco Pizarro en 1535."


def question(number: int, text: str, *golds: str, title: str, labeled: bool = True) -> Example:
    answers = tuple(Answer.at(CONTEXT, start := CONTEXT.index(gold), start + len(gold)) for gold in golds)
    return Example(f"q{number}", text, CONTEXT, answers, title=title, labeled=labeled)


EXAMPLES = [
    question(1, "¿Quién fundó Lima?", "Francisco Pizarro", "Pizarro", title="Lima"),
    question(2, "¿Cuándo?", "1535", "en 1535", title="Lima"),
    question(3, "¿Qué ciudad?", "Lima", title="Perú"),
    question(4, "¿Quién la destruyó?", title="Perú"),
    question(5, "¿Y esto?", title="Otro", labeled=False),
]
GOOD = {"q1": "Pizarro", "q2": "en 1535", "q3": "Lima", "q4": None}
BAD = {"q1": "por Pizarro", "q2": "1535", "q3": None, "q4": "Lima"}


class Parrot:
    """A reader that has a span ready for each question, and how sure it is of "no answer"."""

    def __init__(self, spans: dict[str, tuple[str, float]]) -> None:
        self.spans = spans

    def predict(self, examples):
        predictions = {}
        for example in examples:
            text, odds = self.spans.get(example.id, ("Lima", 0.0))
            best = Answer.at(example.context, start := example.context.index(text), start + len(text), 0.5)
            predictions[example.id] = predicted(best, best, odds)
        return predictions


def test_a_report_holds_percent_intervals_and_how_it_was_made() -> None:
    report = make_report(score(EXAMPLES, BAD, normalizer="squad"), EXAMPLES, model="m", data="d", seed=3, resamples=500)
    assert (report.n, report.em) == (4, 25)
    assert report.f1 == pytest.approx(100 * (2 / 3 + 1 + 0 + 0) / 4)
    assert report.f1_ci[0] <= report.f1 <= report.f1_ci[1]
    assert report.em_ci == (0, 50)  # the two articles have exact matches of 1/2 and 0
    assert report.details["has_answer"]["n"] == 3
    assert report.details["no_answer"] == {"n": 1, "f1": 0, "em": 0}
    assert report.details["unlabeled"] == 1
    assert report.details["breakdown"]["question_word"]["quién"]["n"] == 2
    pattern = r"normalizer:squad\|n:4\|ci:95%-bootstrap\|articles:2\|resamples:500\|seed:3\|version:\S+"
    assert re.fullmatch(pattern, signature(report))


def test_a_reader_gets_one_report_per_normalizer_and_its_predictions_back() -> None:
    reader = Parrot({"q1": ("Pizarro", -1), "q2": ("1535", -1), "q3": ("Lima", -1), "q4": ("Lima", 4)})
    reports, predictions = evaluate_reader(reader, EXAMPLES, model="m", data="d", resamples=100)
    assert [report.normalizer for report in reports] == ["squad", "mlqa-es"]
    assert [report.f1 for report in reports] == [75, 75]
    assert reports[0].details["ms_per_question"] > 0
    assert set(predictions) == {example.id for example in EXAMPLES}  # unlabeled ones are answered, not scored


def test_a_fitted_threshold_is_used_and_reported() -> None:
    reader = Parrot({"q1": ("Pizarro", -1), "q2": ("1535", -1), "q3": ("Lima", 2), "q4": ("Lima", 4)})
    reports, predictions = evaluate_reader(
        reader, EXAMPLES, model="m", data="d", normalizers=["squad"], resamples=100, fit_by="f1"
    )
    assert reports[0].details["no_answer_threshold"] == 2
    assert reports[0].f1 == 100
    assert predictions["q4"].answer.text is None
    text = format_reports(reports)
    assert "threshold 2.000, fitted on these questions" in text
    assert "  answerable: 3 questions, 0.0% get no answer\n" in text
    assert "  unanswerable: 1 questions, 100.0% get no answer, area under the curve 1.000\n" in text
    assert "  answerable, if all must be answered: F1 100.00 [100.00, 100.00], EM 100.00" in text


def test_comparison_names_loss_agreement_and_retention() -> None:
    found = compare(EXAMPLES, ("big", GOOD), ("small", BAD), normalizer="squad", resamples=200)
    assert (found["first"], found["second"], found["n"]) == ("big", "small", 4)
    assert found["f1"]["difference"] == pytest.approx(-100 * (1 - (2 / 3 + 1) / 4))
    assert found["em"]["difference"] == -75
    assert found["f1"]["ci"][0] <= found["f1"]["difference"] <= found["f1"]["ci"][1] <= 0
    assert 0.4 < found["f1"]["p"] <= 1  # two articles can never show more
    assert found["retention"] == pytest.approx((2 / 3 + 1) / 4)
    assert found["retention_ci"][0] <= found["retention"] <= found["retention_ci"][1]
    assert found["agreement"]["identical"] == 0
    backwards = compare(EXAMPLES, ("small", BAD), ("big", GOOD), normalizer="squad", resamples=200)
    assert backwards["f1"]["difference"] == -found["f1"]["difference"]
    assert backwards["f1"]["p"] == found["f1"]["p"]


def test_retention_of_nothing_is_unknown() -> None:
    nothing = {"q1": "x", "q2": "x", "q3": "x", "q4": "x"}
    found = compare(EXAMPLES, ("none", nothing), ("good", GOOD), normalizer="squad", resamples=100)
    assert found["retention"] is found["retention_ci"] is None
    assert format_comparisons([found]).splitlines()[-1].endswith(" -")


def test_everything_is_printed_and_is_json() -> None:
    reports = [
        report
        for name, texts in (("big", GOOD), ("small", BAD))
        for report in evaluate_texts(texts, EXAMPLES, model=name, data="d", resamples=100)
    ]
    comparisons = compare_all(EXAMPLES, [("big", GOOD), ("small", BAD)], resamples=100)
    assert [(item["second"], item["normalizer"]) for item in comparisons] == [("small", "squad"), ("small", "mlqa-es")]
    text = format_everything(reports, comparisons)
    for part in ("HasAns F1", "retention", "question word", "answer words", "1 unlabeled questions are left out."):
        assert part in text
    parsed = json.loads(dumps(as_json(reports, comparisons)))
    assert [item["normalizer"] for item in parsed["reports"]] == ["squad", "mlqa-es"] * 2
    assert {"model", "data", "n", "f1", "em", "f1_ci", "em_ci", "seed", "version", "command", "details"} <= set(
        parsed["reports"][0]
    )


def test_one_article_is_confessed() -> None:
    examples = [question(1, "¿Quién?", "Pizarro", title="Lima"), question(2, "¿Cuándo?", "1535", title="Lima")]
    reports = evaluate_texts({"q1": "Pizarro", "q2": None}, examples, model="m", data="d", resamples=100)
    assert "|questions:2|" in signature(reports[0])
    assert "All questions belong to one article" in format_reports(reports)
    assert reports[0].details["no_answer"]["f1"] is None


def test_columns_line_up() -> None:
    assert table(["a", "bb"], [["long name", "1"], ["x", "22222"]]).splitlines() == [
        "a             bb",
        "---------  -----",
        "long name      1",
        "x          22222",
    ]


def test_breakdowns_stand_side_by_side() -> None:
    reports = evaluate_texts(BAD, EXAMPLES, model="m", data="d", resamples=100)
    first = format_breakdowns(reports).split("\n\n")[0].splitlines()
    assert first[0].split("  ")[0] == "question word"
    assert len(first) == 2 + 3  # quién, cuándo, qué
    assert first[2].split()[-3:] == ["33.33", "/", "0.00"]
