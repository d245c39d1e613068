"""The parts of a report: kinds of error, marks in a text, layers, pictures, Markdown, and readers without torch."""

import json
import math
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from destila.cli.report import run
from destila.config import ReportSettings
from destila.core.calibration import Calibration, Promise
from destila.core.records import Answer, Example, Missing
from destila.data.squad import save
from destila.evaluation.calibration import Bin, no_answer_curve, reliability, risk_curve
from destila.evaluation.errors import KEPT, LONGEST_GAP, Segment, kind_of, segments
from destila.evaluation.predictions import read_raw, write_raw
from destila.reporting import collect, svg
from destila.reporting.markdown import escape, paragraph
from report_case import Page, markdown_tables, onnx_reader
from tiny import predicted, tiny_examples

TEXT = "Lima fue fundada por Francisco Pizarro en 1535."
HOSTILE = (
    '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>`|* [a](javascript:1) & "Lima" \u202e</style>'
)


def span(piece: str) -> Answer:
    return Answer.at(TEXT, start := TEXT.index(piece), start + len(piece))


# ---------------------------------------------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("said", "golds", "kind"),
    [
        (span("por Francisco Pizarro"), ["Francisco Pizarro"], "too long"),
        (span("Pizarro"), ["Francisco Pizarro"], "too short"),
        (span("Pizarro en"), ["Francisco Pizarro"], "shifted"),
        (span("Lima"), ["Francisco Pizarro"], "elsewhere"),
        (span("Francisco Pizarro en"), ["Lima", "Pizarro"], "too long"),
        (span("1535"), [], "invented"),
        (Answer.none(), ["1535"], "missed"),
    ],
)
def test_a_mistake_is_sorted_by_where_it_lies(said: Answer, golds: list[str], kind: str) -> None:
    assert kind_of(said, [span(gold) for gold in golds], right=False) == kind
    assert kind_of(said, [span(gold) for gold in golds], right=True) == "right"
    nowhere = [Answer("Cuzco", None, None)]  # as published: it places no error
    assert kind_of(said, [*nowhere, *map(span, golds)], right=False) == ("not placed" if kind == "invented" else kind)
    assert kind_of(said, [Answer("", None, None)], right=False) == ("missed" if said.text is None else "invented")


@st.composite
def marked(draw: st.DrawFn) -> tuple[str, dict[str, list[Answer]]]:
    context = draw(st.text(alphabet="ab 😀\n", min_size=1, max_size=40)) * draw(st.sampled_from([1, 100]))
    ends = st.integers(0, len(context))
    spans = st.tuples(ends, ends).filter(lambda two: two[0] != two[1]).map(sorted)
    owners = st.dictionaries(st.sampled_from(["gold", "model", "reference"]), st.lists(spans, max_size=3))
    chosen = {owner: [Answer.at(context, *two) for two in own] for owner, own in draw(owners).items()}
    return context, chosen


@given(marked())
def test_segments_are_the_whole_context_with_every_mark(case: tuple[str, dict[str, list[Answer]]]) -> None:
    context, owners = case
    place, covered = 0, {owner: set[int]() for owner in owners}
    for part in segments(context, owners):
        assert bool(part.text) != bool(part.skipped)
        assert not part.skipped or part.skipped > LONGEST_GAP - 2 * KEPT
        assert part.text == context[place : place + len(part.text)]
        for owner in part.owners:
            covered[owner] |= set(range(place, place + len(part.text)))
        place += len(part.text) + part.skipped
    assert place == len(context)
    for owner, answers in owners.items():
        assert covered[owner] == {at for one in answers for at in range(one.start or 0, one.end or 0)}


def test_a_long_text_without_marks_keeps_its_opening() -> None:
    assert list(segments("x" * 5000, {"gold": []})) == [Segment("x" * KEPT), Segment("", skipped=5000 - KEPT)]


# ---------------------------------------------------------------------------------------------------- calibration
def test_scores_that_are_probabilities_have_no_error() -> None:
    scores, right = np.repeat([0.25, 0.75], 4), np.array([1, 0, 0, 0, 1, 1, 1, 0.0])
    found = reliability(scores, right)
    assert found.bins == (Bin(0.2, 0.3, 4, 0.25, 0.25), Bin(0.7, 0.8, 4, 0.75, 0.75))
    assert found.error == 0
    assert reliability(np.array([1.0, 1.0]), np.array([0.0, 1.0])).error == 0.5
    assert reliability(np.array([1.0]), np.array([1.0])).bins == (Bin(0.9, 1.0, 1, 1.0, 1.0),)


def test_a_question_without_any_span_is_never_answered() -> None:
    examples = [Example("a", "¿?", "Lima", (Answer.at("Lima", 0, 4),)), Example("b", "¿?", " ")]
    predictions = {
        "a": predicted(Answer.at("Lima", 0, 4), Answer.at("Lima", 0, 4), -1.0),
        "b": predicted(Answer.none(), None, math.inf),
    }
    found = no_answer_curve(examples, predictions, threshold=None, normalizer="squad")
    assert not isinstance(found, Missing)
    assert (found.used.answered, found.used.f1, found.best.f1) == (0.5, 100, 100)
    assert [point.f1 for point in found.points] == [50, 100]


def test_risk_goes_from_the_surest_answer_to_all() -> None:
    golds = [Answer.at("Lima", 0, 4), Answer.at("Lima", 0, 4), Answer.none()]
    examples = [Example(str(place), "¿?", "Lima", (gold,) if gold.text else ()) for place, gold in enumerate(golds)]
    made = {str(place): predicted(span, span, place - 1.0) for place, span in enumerate([Answer.at("Lima", 0, 4)] * 3)}
    calibration = Calibration(0.0, 1.0, 0.0, (Promise(0.4, 1 / (1 + math.exp(-1.0)), 0.9, 1.0, 0.0, 9),))
    found = risk_curve(examples, made, calibration)
    assert not isinstance(found, Missing)
    assert [(point.answered, point.wrong) for point in found.points] == [(1 / 3, 0), (2 / 3, 0), (1, 1 / 3)]
    assert [(most, point.answered) for most, point in found.promises] == [(0.4, 1 / 3)]
    assert isinstance(risk_curve(examples, made, None), Missing)


def test_raw_predictions_come_back_as_they_were(tmp_path: Path) -> None:
    made = {
        "línea\u2028rara": predicted(Answer.at(TEXT, 0, 4, 0.5), Answer.at(TEXT, 0, 4, 0.5), -1.25),
        "nada": predicted(Answer.none(0.75), None, math.inf),
    }
    write_raw(made, tmp_path / "a.jsonl")
    assert read_raw(tmp_path / "a.jsonl") == made
    assert json.loads((tmp_path / "a.json").read_text()) == {"línea\u2028rara": "Lima", "nada": None}


# ---------------------------------------------------------------------------------------------------- drawing
def test_curves_keep_first_last_and_extremes() -> None:
    lines = [{"step": step, "epoch": 0.1, "loss": math.sin(step), "dev_n": 3} for step in range(1, 5001)]
    (curve,) = collect.curves_of([*lines, {"step": 5000, "dev_f1": 3.0}])[:1]
    assert (curve.points[0][0], curve.points[-1][0], curve.count) == (1, 5000, 5000)
    assert len(curve.points) == collect.POINTS
    assert curve.low[1] == min(line["loss"] for line in lines)
    assert [one.kind for one in collect.curves_of([{"step": 1, "learning_rate": 1, "dev_f1": 2, "soft": 3}])] == [
        "loss",
        "dev",
        "other",
    ]


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0], [0.0, 0.0, 0.0], [1e-9, 5e-9], [-3.0, 1e6], [1e300, -1e300]])
def test_any_curve_can_be_drawn_inside_of_its_picture(values: list[float]) -> None:
    drawn = svg.curves([(HOSTILE, list(enumerate(values)))], title=HOSTILE, description=HOSTILE, across="step")
    root = ElementTree.fromstring(drawn.svg)
    assert root.attrib["role"] == "img"
    assert (root.find("title").text, root.find("desc").text) == (HOSTILE, HOSTILE)  # type: ignore[union-attr]
    points = next(element for element in root.iter() if element.tag == "polyline").attrib["points"]
    for x, y in (map(float, point.split(",")) for point in points.split()):
        assert svg.LEFT - 0.1 <= x <= svg.WIDTH
        assert 0 <= y <= svg.HEIGHT - svg.BOTTOM + 0.1
    assert {element.tag for element in root.iter()} <= {
        "svg",
        "g",
        "title",
        "desc",
        "line",
        "polyline",
        "circle",
        "text",
    }


@given(st.text(max_size=60))
def test_markdown_shows_any_text_on_one_line(text: str) -> None:
    shown = paragraph(text)
    assert "\n" not in shown
    for mark in ("<", "|", "`", "[", "*", "_"):
        assert shown.count(mark) == shown.count(f"\\{mark}") == text.count(mark)
    assert not shown.startswith(("#", "- ", "+ ", "> ", "=", "1. ", "1) "))


def test_what_looks_like_markdown_is_escaped() -> None:
    assert paragraph("1. uno") == "1\\. uno"
    assert paragraph("- uno") == "\\- uno"
    assert escape("a | b <b> & *c*\n d") == "a \\| b \\<b\\> &amp; \\*c\\* d"


# ---------------------------------------------------------------------------------------------------- without torch
@pytest.fixture
def hostile(tmp_path: Path) -> str:
    context = f"{HOSTILE} Pizarro fundó Lima. " + "y más " * 300
    gold = Answer.at(context, start := context.index("Pizarro"), start + 7)
    examples = [
        Example(
            f"{HOSTILE}{number}", f"<b>¿{number}?</b>", context, (gold,) * (number > 1), title=HOSTILE, source=HOSTILE
        )
        for number in range(4)
    ]
    save(examples, tmp_path / "hostile.json")
    return str(tmp_path / "hostile.json")


def test_an_exported_reader_is_reported_without_torch(tmp_path: Path) -> None:
    save(tiny_examples(), tmp_path / "dev.json")
    reader, other = onnx_reader(tmp_path / "small"), onnx_reader(tmp_path / "large", seed=1)
    arguments = ["report", str(reader), "--reference", str(other), "--data", str(tmp_path / "dev.json")]
    arguments += ["--output", str(tmp_path / "report"), "--resamples", "100", "--json"]
    code = (
        "import sys; from destila.cli.main import dispatch\n"
        f"dispatch({arguments!r})\n"
        "assert not {'torch', 'transformers', 'pyarrow'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout)
    assert set(last["scores"]) == {"small", "large"}
    assert last["n"] == 7
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "the weights that torch needs are not here for small and large" in text
    assert "Nothing here says which data" in text
    assert "No training run is here" in text
    page = Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert page.tables == markdown_tables(text)
    assert len(page.tables) >= 12


def test_one_reader_alone_is_reported_on_data_that_are_all_answerable(tmp_path: Path) -> None:
    save(tiny_examples(unanswerable=False), tmp_path / "dev.json")
    facts = run(
        ReportSettings(
            runs=[str(onnx_reader(tmp_path / "only"))],
            data=[str(tmp_path / "dev.json")],
            output=str(tmp_path / "report"),
            resamples=100,
            max_examples=4,
        )
    )
    assert facts.reference is None
    assert facts.comparisons == ()
    assert isinstance(facts.agreement, Missing)
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    for said in ("nothing to compare", "every question of these data has an answer", "On the first 4 questions"):
        assert said in text
    assert "destila evaluate" not in text  # a part of the data cannot be scored by the command alone
    groups = facts.models[0].groups
    kinds = {group.kind: sum(other.kind == group.kind for other in groups) for group in groups}
    assert 1 in kinds.values()
    assert text.count(" is best at ") == sum(number > 1 for number in kinds.values()), "one has no best and no worst"


def test_no_text_of_the_data_becomes_markup(tmp_path: Path, hostile: str) -> None:
    reader = onnx_reader(tmp_path / "a & <b>")
    run(ReportSettings(runs=[str(reader)], data=[hostile], output=str(tmp_path / "report"), resamples=100))
    html = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.tags.count("script") == page.tags.count("style") == 1
    assert not {"img", "iframe", "link", "object", "base"} & set(page.tags)
    assert all(address.startswith("#") for address in page.addresses)
    assert "http://" not in html
    assert "https://" not in html
    assert 'lang="es"' in html
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    prose = "".join(part for place, part in enumerate(text.split("```")) if place % 2 == 0)
    assert prose.count("<") == prose.count("\\<") > 0


def test_answers_taken_again_follow_the_threshold_of_now(tmp_path: Path) -> None:
    save(tiny_examples(), tmp_path / "dev.json")
    reader = onnx_reader(tmp_path / "reader")
    settings = {"runs": [str(reader)], "data": [str(tmp_path / "dev.json")], "output": str(tmp_path / "report")}
    before = run(ReportSettings(**settings, resamples=100))
    metadata = json.loads((reader / "destila.json").read_text())
    (reader / "destila.json").write_text(json.dumps({**metadata, "no_answer_threshold": -1000.0}))
    after = run(ReportSettings(**settings, resamples=100, reuse=True))
    assert before.models[0].no_answer.used.answered == 1  # type: ignore[union-attr]
    assert after.models[0].no_answer.used.answered == 0  # type: ignore[union-attr]
    assert after.models[0].reports[0].f1 == pytest.approx(100 / 7)  # only the one without an answer
    assert {one.answer.text for one in read_raw(tmp_path / "report" / "predictions" / "reader.jsonl").values()} == {
        None
    }
