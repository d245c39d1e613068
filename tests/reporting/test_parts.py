"""The parts of a report: kinds of error, marks in a text, layers, pictures, Markdown, and readers without torch."""

import itertools
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
from destila.core.records import Answer, Example, Missing
from destila.data.squad import save
from destila.evaluation.calibration import Bin, no_answer_curve, reliability
from destila.evaluation.errors import KEPT, LONGEST_GAP, Segment, kind_of, segments
from destila.reporting import collect, layer_similarity, rawfiles, svg
from destila.reporting.facts import LayerAgreement
from destila.reporting.markdown import escape, paragraph
from destila.reporting.provenance import trace
from report_case import Page, markdown_tables, onnx_reader
from tiny import predicted, tiny_examples, tiny_reader

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


def test_raw_predictions_come_back_as_they_were(tmp_path: Path) -> None:
    made = {
        "línea\u2028rara": predicted(Answer.at(TEXT, 0, 4, 0.5), Answer.at(TEXT, 0, 4, 0.5), -1.25),
        "nada": predicted(Answer.none(0.75), None, math.inf),
    }
    rawfiles.write(made, tmp_path / "a.jsonl")
    assert rawfiles.read(tmp_path / "a.jsonl") == made
    assert json.loads((tmp_path / "a.json").read_text()) == {"línea\u2028rara": "Lima", "nada": None}


# ---------------------------------------------------------------------------------------------------- layers
@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("family")
    return {
        "teacher": tiny_reader(directory / "teacher", seed=0, layers=4, hidden=32),
        "student": tiny_reader(directory / "student", seed=1, layers=2),
        "bert": tiny_reader(directory / "bert", "bert"),
    }


def compared(family: dict[str, Path], student: str, teacher: str, **options: int) -> LayerAgreement | Missing:
    pairs = [(name, trace(str(family[name]))) for name in (student, teacher)]
    return layer_similarity.compare_layers(*pairs, tiny_examples(), **{"windows": 4, **options})


def test_layers_agree_as_by_hand(family: dict[str, Path]) -> None:
    import transformers

    found = compared(family, "student", "teacher")
    assert isinstance(found, LayerAgreement)
    assert (found.windows, found.mapping, found.trained) == (4, (0, 2, 4), False)
    states, maps = [], []
    for name in ("student", "teacher"):
        model = transformers.AutoModelForQuestionAnswering.from_pretrained(family[name], attn_implementation="eager")
        reader = inside_windows(family)
        rows = [model.eval()(input_ids=ids, output_hidden_states=True, output_attentions=True) for ids in reader]
        layers = range(len(rows[0].hidden_states))
        states.append([np.concatenate([row.hidden_states[n][0].detach().numpy() for row in rows]) for n in layers])
        maps.append([[row.attentions[n - 1][0].mean(0).detach().numpy() for row in rows] for n in layers[1:]])
    for (i, x), (j, y) in itertools.product(enumerate(states[0]), enumerate(states[1])):
        grams = [side - side.mean(axis=0) for side in (x.astype(float), y.astype(float))]
        left, right = (side @ side.T for side in grams)  # CKA from the (N, N) Gram matrices: the other formula
        assert found.hidden[i][j] == pytest.approx(
            np.sum(left * right) / np.sqrt(np.sum(left**2) * np.sum(right**2)), abs=1e-4
        )
    for (i, ours), (j, theirs) in itertools.product(enumerate(maps[0]), enumerate(maps[1])):
        values = [1 - shannon(p, q) for a, b in zip(ours, theirs, strict=True) for p, q in zip(a, b, strict=True)]
        assert found.attention[i][j] == pytest.approx(np.mean(values), abs=1e-4)
    assert found.tokens == len(states[0][0])


def test_models_with_other_tokenizers_are_compared_by_words(family: dict[str, Path]) -> None:
    found = compared(family, "bert", "teacher")
    assert isinstance(found, LayerAgreement)
    examples = tiny_examples()
    chosen = [examples[place * len(examples) // 4] for place in range(4)]
    assert (found.unit, found.windows) == ("words", 4)
    assert found.tokens == sum(len(one.context.split()) + 2 for one in chosen)
    ours, theirs = (by_words(family[name], chosen) for name in ("bert", "teacher"))
    for (i, x), (j, y) in itertools.product(enumerate(ours[0]), enumerate(theirs[0])):
        x, y = (side - side.mean(axis=0) for side in (x, y))
        left, right = x @ x.T, y @ y.T
        expected = np.sum(left * right) / np.sqrt(np.sum(left**2) * np.sum(right**2))
        assert found.hidden[i][j] == pytest.approx(expected, abs=1e-4)
    for (i, p), (j, q) in itertools.product(enumerate(ours[1]), enumerate(theirs[1])):
        values = [1 - shannon(*rows) for maps in zip(p, q, strict=True) for rows in zip(*maps, strict=True)]
        assert found.attention[i][j] == pytest.approx(np.mean(values), abs=1e-4)


def by_words(directory: Path, examples: list[Example]) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """Hidden states (N, D) of each layer, and attention (words, words) of each layer and example, in plain loops."""
    import torch
    import transformers
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(directory, attn_implementation="eager").eval()
    states, maps = [], []
    for one in examples:
        encoded = tokenizer.encode(one.question, one.context)
        places = [(one.context + "x").index(one.context[start:end].strip(), start) for start, end in encoded.offsets]
        units, last = [], len(one.context.split()) + 1
        for part, place in zip(encoded.sequence_ids, places, strict=True):
            before = len((one.context[:place] + "x").split())
            units.append(before if part == 1 else last if units and units[-1] else 0)
        row = model(
            input_ids=torch.tensor([encoded.ids]),
            token_type_ids=torch.tensor([encoded.type_ids]) if model.config.model_type == "bert" else None,
            output_hidden_states=True,
            output_attentions=True,
        )
        groups = [[token for token, unit in enumerate(units) if unit == number] for number in range(last + 1)]
        states.append([[layer[0, own].mean(0).detach().numpy() for own in groups] for layer in row.hidden_states])
        means = [[layer[0].mean(0)[own].mean(0).detach().numpy() for own in groups] for layer in row.attentions]
        maps.append([np.array([[line[own].sum() for own in groups] for line in layer]) for layer in means])
    joined = [np.concatenate([np.array(one[layer], float) for one in states]) for layer in range(len(states[0]))]
    return joined, [[one[layer] for one in maps] for layer in range(len(maps[0]))]


def inside_windows(family: dict[str, Path]) -> list:
    import torch

    from destila.models.files import load_reader

    loaded = load_reader(str(family["student"]))
    pairs = layer_similarity.same_windows(loaded, loaded, tiny_examples(), 4)
    return [torch.tensor(left.window.input_ids[None].astype(np.int64)) for left, _ in pairs]


def shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence in bits, as the mean of two Kullback-Leibler divergences to the middle."""
    middle = (p + q) / 2
    parts = [np.sum(side[side > 0] * np.log2(side[side > 0] / middle[side > 0])) for side in (p, q)]
    return float(sum(parts) / 2)


def test_a_model_agrees_with_itself(family: dict[str, Path]) -> None:
    found = compared(family, "student", "student")
    assert isinstance(found, LayerAgreement)
    assert [found.hidden[n][n] for n in range(3)] == pytest.approx([1, 1, 1])
    assert [found.attention[n][n] for n in range(2)] == pytest.approx([1, 1])


def test_why_layers_are_not_compared_is_said(
    family: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "switched off" in compared(family, "student", "teacher", windows=0).reason  # type: ignore[union-attr]
    monkeypatch.setattr(layer_similarity, "same_words", lambda *_: [])
    assert "other words" in compared(family, "bert", "teacher").reason  # type: ignore[union-attr]
    export = onnx_reader(tmp_path / "export")
    gone = compared({**family, "export": export}, "export", "teacher")
    assert "weights that torch needs are not here for export" in gone.reason  # type: ignore[union-attr]
    torn = tmp_path / "torn"
    torn.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (torn / name).write_bytes((family["student"] / name).read_bytes())
    (torn / "model.safetensors").write_bytes(b"torn")
    assert "cannot be loaded" in compared({**family, "torn": torn}, "torn", "teacher").reason  # type: ignore[union-attr]


def test_an_export_is_compared_by_what_it_was_exported_from(family: dict[str, Path], tmp_path: Path) -> None:
    export = onnx_reader(tmp_path / "export", source={"model": str(family["student"])})
    found = compared({**family, "export": export}, "export", "teacher")
    direct = compared(family, "student", "teacher")
    assert isinstance(found, LayerAgreement)
    assert found.hidden == direct.hidden  # type: ignore[union-attr]


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
    arguments += ["--output", str(tmp_path / "report"), "--resamples", "100"]
    code = (
        "import sys; from destila.cli.main import dispatch\n"
        f"dispatch({arguments!r})\n"
        "assert not {'torch', 'transformers', 'pyarrow'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
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
    assert {
        one.answer.text for one in rawfiles.read(tmp_path / "report" / "predictions" / "reader.jsonl").values()
    } == {None}
