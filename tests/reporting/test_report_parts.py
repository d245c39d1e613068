"""Parts, calibration and errors of a report, computed again from its raw files."""

import collections
import math
import statistics
from pathlib import Path

import pytest

from destila.reporting.facts import Facts
from report_case import CALIBRATION, PROMISES, THRESHOLD, Tables
from report_reference import (
    MODELS,
    Question,
    check_interval,
    ends,
    near,
    number,
    questions,
    raw,
    scored,
)


def length(words: int, bins: tuple[tuple[int, str], ...], rest: str) -> str:
    return next((name for most, name in bins if words <= most), rest)


KINDS = {
    "Words of the first right answer: F1 and EM": lambda one: (
        length(len(one.golds[0].split()), ((1, "1"), (3, "2-3"), (7, "4-7")), "8+") if one.golds else "none"
    ),
    "Words of the context: F1 and EM": lambda one: length(
        len(one.context.split()), ((99, "<100"), (199, "100-199"), (399, "200-399")), "400+"
    ),
    "Source of the article: F1 and EM": lambda one: one.source,
    "Variety of Spanish: F1 and EM": lambda one: one.country,
    "Question word: F1 and EM": lambda one: next(
        word
        for word, pattern in (
            ("por qué", "por qué"),
            ("quién", "quién"),
            ("cuándo", "cuándo"),
            ("dónde", "dónde"),
            ("cuánto", "cuánt"),
            ("cómo", "cómo"),
            ("cuál", "cuál"),
            ("qué", "qué"),
            ("otra", ""),
        )
        if pattern in one.text.lower()
    ),
}


@pytest.mark.parametrize("caption", KINDS)
def test_parts_are_those_of_the_raw_predictions(case: Path, tables: Tables, caption: str) -> None:
    rows = tables[caption][1:]
    groups = collections.defaultdict(list)
    for place, question in enumerate(questions()):
        groups[KINDS[caption](question)].append(place)
    assert sorted(row[0] for row in rows) == sorted(groups)
    titles = [question.title for question in questions()]
    for row in rows:
        places = groups[row[0]]
        assert row[1:3] == [str(len(places)), str(len({titles[place] for place in places}))]
        for column, name in enumerate(MODELS):
            pairs = [scored(case, name)[place] for place in places]
            assert number(row[3 + 2 * column]) == near(100 * statistics.mean(pair[0] for pair in pairs))
            assert number(row[4 + 2 * column]) == near(100 * statistics.mean(pair[1] for pair in pairs))
            low, high = ends(row[3 + 2 * column])
            assert low <= number(row[3 + 2 * column]) <= high
            assert row[3 + 2 * column].endswith("*") == (row[2] == "1")
            if row[2] == "20":
                values, articles = [pair[0] for pair in pairs], [titles[place] for place in places]
                check_interval(row[3 + 2 * column], values, articles)


def test_calibration_is_that_of_the_raw_scores(case: Path, tables: Tables) -> None:
    bins = collections.defaultdict(list)
    for name in MODELS:
        rows = raw(case, name)
        for question, (_, right) in zip(questions(), scored(case, name), strict=True):
            score = rows[question.id]["answer"]["score"]
            bins[name, min(9, math.floor(score * 10))].append((score, right))
    found = {(row[0], row[1]): row for row in tables["Bins of scores"][1:]}
    assert len(found) == len(bins)
    for (name, place), pairs in bins.items():
        row = found[name, f"{place / 10:.1f} to {(place + 1) / 10:.1f}"]
        means = [statistics.mean(pair[side] for pair in pairs) for side in (0, 1)]
        assert row[2] == str(len(pairs))
        assert [number(cell) for cell in row[3:]] == pytest.approx([100 * mean for mean in means], abs=0.0501)
    for row in tables["Calibration of all answers given"][1:]:
        own = {key: pairs for key, pairs in bins.items() if key[0] == row[0]}
        total = sum(map(len, own.values()))
        error = sum(abs(sum(right - score for score, right in pairs)) for pairs in own.values()) / total
        assert number(row[1]) == pytest.approx(error, abs=0.00006)
        everything = [pair for pairs in own.values() for pair in pairs]
        for column in (2, 3):
            mean = statistics.mean(pair[column - 2] for pair in everything)
            assert number(row[column]) == pytest.approx(100 * mean, abs=0.0501)


def at_threshold(case: Path, name: str, cut: float) -> list[float]:
    """Answered share and F1 of all, of those with an answer, and of those without, in percent."""
    rows, answered, parts = raw(case, name), 0, ([], [], [])
    for question in questions():
        given = rows[question.id]["no_answer_score"] <= cut
        answered += given
        f1 = question.scores(rows[question.id]["best"]["text"] if given else None)[0]
        parts[0].append(f1)
        parts[1 if question.golds else 2].append(f1)
    return [100 * answered / len(rows), *(100 * statistics.mean(part) for part in parts)]


def test_the_no_answer_curve_is_that_of_the_raw_scores(case: Path, tables: Tables) -> None:
    rows = {(row[0], row[1].split(":")[0]): row for row in tables["No-answer thresholds"][1:]}
    assert rows["teacher", "its own"][1] == "its own: none: it always answers"
    assert rows["student", "its own"][1] == f"its own: {THRESHOLD:.3f}"
    for name, cut in (("teacher", math.inf), ("student", THRESHOLD)):
        expected = at_threshold(case, name, cut)
        assert [number(cell) for cell in rows[name, "its own"][2:]] == pytest.approx(expected, abs=0.0501)
        cuts = sorted(row["no_answer_score"] for row in raw(case, name).values())
        best = max(at_threshold(case, name, cut)[1] for cut in [cuts[0] - 1, *cuts])
        assert number(rows[name, "best here"][3]) == near(best)
    curve = tables["Every few points of the curve of student"][1:]
    assert len(curve) > 8
    cuts = sorted(row["no_answer_score"] for row in raw(case, "student").values())
    for row in curve:
        cut = min([cuts[0] - 1, *cuts], key=lambda value: abs(value - float(row[0])))
        assert [number(cell) for cell in row[1:]] == pytest.approx(at_threshold(case, "student", cut), abs=0.0501)


def test_what_misleads_is_that_of_the_raw_logits(case: Path, tables: Tables) -> None:
    sure = []
    for question in questions():
        row = raw(case, "student")[question.id]
        odds = CALIBRATION["bias"] - CALIBRATION["margin"] * row["no_answer_score"]
        odds += CALIBRATION["share"] * (row["best_logit"] - row["spans_logit"])
        wrong = not question.golds or question.scores(row["best"]["text"], "mlqa-es")[0] < 0.5
        sure.append((1 / (1 + math.exp(-odds)), wrong))
    rows = tables["What was promised, and what is found here"][1:]
    assert [row[0] for row in rows] == ["student"] * len(PROMISES)
    for row, (most, least) in zip(rows, PROMISES.items(), strict=True):
        given = [wrong for probability, wrong in sure if probability >= least]
        assert 0 < len(given) < len(sure)
        assert (number(row[2]), row[1]) == (least, f"at most {100 * most:.1f} %")
        expected = [100 * len(given) / len(sure), 100 * statistics.mean(given)]
        assert [number(cell) for cell in row[3:]] == pytest.approx(expected, abs=0.0501)
    text = (case / "report" / "report.md").read_text(encoding="utf-8")
    everything = 100 * statistics.mean(wrong for _, wrong in sure)
    assert f"mislead, of all {everything:.1f} %." in text
    assert "How many answers of teacher mislead: there are no probabilities: destila calibrate makes them." in text


def kind_of(question: Question, answer: dict, right: float) -> str:
    if right:
        return "right"
    if answer["text"] is None:
        return "missed"
    if not question.golds:
        return "invented"
    said = set(range(answer["start"], answer["end"]))
    golds = [set(range(*span)) for span in question.spans]
    golds = [gold for gold in golds if gold & said]
    if not golds:
        return "elsewhere"
    if any(said >= gold for gold in golds):
        return "too long"
    return "too short" if any(said <= gold for gold in golds) else "shifted"


def test_errors_are_counted_and_listed_in_the_order_of_the_data(
    case: Path, tables: Tables, facts: Facts, text: str
) -> None:
    rows = {name: raw(case, name) for name in MODELS}
    right = {name: [pair[1] for pair in scored(case, name)] for name in MODELS}
    kinds, versus, listed = collections.Counter(), collections.Counter(), []
    for place, question in enumerate(questions()):
        ours, theirs = right["student"][place], right["teacher"][place]
        if ours and theirs:
            continue
        kinds[kind_of(question, rows["student"][question.id]["answer"], ours)] += 1
        versus[
            "both are wrong"
            if not ours and not theirs
            else "the model alone is wrong"
            if theirs
            else "the reference alone is wrong"
        ] += 1
        listed.append(question.id)
    found = {row[0].split(":")[0]: int(row[1]) for row in tables["Kinds of error"][1:]}
    assert found == dict(kinds)
    assert len(found) == 7  # every kind there is
    for row in tables["Kinds of error"][1:]:
        assert row[2] == f"{100 * int(row[1]) / 171:.1f} %"
    who = {row[0]: int(row[1]) for row in tables["student (the model) and teacher (the reference)"][1:]}
    assert who == dict(versus)
    assert [mistake.id for mistake in facts.mistakes.shown] == listed[:60]
    assert f"{len(listed)} of 171 questions on which student or teacher is not exactly right" in text
    assert f"The first 25 of {len(listed)}" in text
    wrong = sum(number for kind, number in kinds.items() if kind != "right")
    errors = dict(collections.Counter({kind: kinds[kind] for kind in kinds if kind != "right"}).most_common(3))
    names = {"elsewhere": "point to another place", "missed": 'say "no answer" where there is one'}
    assert f"{wrong} of 171 answers are not exactly right: " in text
    for kind, does in names.items():
        assert (f"{kinds[kind]} {does}" in text) == (kind in errors)
