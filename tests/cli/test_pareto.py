"""bench --pareto on tiny readers: what is found, what is skipped, what is chosen, what is said when nothing fits."""

import json
import re
import xml.etree.ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from destila.cli import pareto
from destila.cli.main import dispatch
from destila.config import BenchSettings
from destila.config.loader import resolve
from destila.core.errors import UserError
from destila.core.progress import on_stderr
from destila.evaluation import benchmark, variants
from destila.reporting.svg import Dot, scatter_chart
from tiny import tiny_examples, tiny_reader

pytest.importorskip("torch")
WINDOW = {"window": {"length": 96, "stride": 8, "max_answer_tokens": 10}, "no_answer_threshold": None}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, an "export" beside one of them, and something that is none of its."""
    root = tmp_path_factory.mktemp("runs")
    tiny_reader(root / "large", hidden=64, metadata=WINDOW)
    tiny_reader(root / "small", metadata=WINDOW, seed=1)
    exported = {"format": "onnx", "precision": "int8"}
    for name, source in (("small-int8", root / "small"), ("other-int8", root / "elsewhere")):
        (root / name).mkdir()
        (root / name / "model.onnx").write_bytes(b"x" * 5000)
        (root / name / "destila.json").write_text(json.dumps({**exported, "source": {"model": str(source)}}))
    (root / "notes").mkdir()
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "dev.jsonl"
    lines = [
        {
            "id": example.id,
            "question": example.question,
            "context": example.context,
            "answers": [{"text": answer.text, "answer_start": answer.start} for answer in example.answers],
            "is_impossible": not example.answers,
        }
        for example in tiny_examples()
    ]
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    return path


def settings(runs: Path, questions: Path, **values: object) -> BenchSettings:
    base = {"pareto": True, "model": [str(runs / "large"), str(runs / "small")], "data": [str(questions)]}
    return resolve(BenchSettings, {**base, "lengths": [80], "rounds": 2, "threads": 1, "backend": "torch", **values})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Latencies that the test chooses, by the reader's name; the rest is real."""

    def set_times(**milliseconds: float) -> None:
        def latencies(readers, *, tokens, rounds, tick):  # type: ignore[no-untyped-def]
            return [[milliseconds[Path(reader.name).name]] * rounds for reader in readers]

        monkeypatch.setattr(benchmark, "latencies", latencies)

    return set_times


def test_exports_beside_a_model_take_part_and_strangers_do_not(
    runs: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = variants.variants(settings(runs, data, backend="auto"))
    assert [variant.name for variant in found] == ["large, torch fp32", "small, torch fp32", "small-int8, onnx int8"]
    assert found[2].megabytes() == pytest.approx((5000 + (runs / "small-int8" / "destila.json").stat().st_size) / 1e6)
    monkeypatch.setattr(variants, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with on_stderr():
        found = variants.variants(settings(runs, data, backend="auto"))
    assert [variant.backend for variant in found] == ["torch", "torch"]
    assert "small-int8: onnx is not installed, so it is left out" in capsys.readouterr().err


def test_the_choice_is_named_drawn_and_explained(
    runs: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "frontier.svg"
    models = [flag for name in ("large", "small") for flag in ("--model", str(runs / name))]
    rest = ["--backend", "torch", "--lengths", "80", "--rounds", "2", "--threads", "1"]
    command = ["bench", "--pareto", *models, *rest, "--data", str(data), "--plot", str(plot)]
    dispatch([*command, "--json"])
    found = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in found["rows"]}
    assert set(rows) == {"large, torch fp32", "small, torch fp32"}
    best = max(rows.values(), key=lambda row: (row["f1"], -row["p50_ms"]))
    assert found["choice"] == best["name"]
    assert best["verdict"] == "chosen"
    dispatch(command)
    assert re.search(r"\n\nTake (large|small), torch fp32 \(", capsys.readouterr().out)
    for row in rows.values():
        assert row["p50_ms"] > 0
        assert row["f1_ci"][0] <= row["f1"] <= row["f1_ci"][1]
        assert "n:7" in row["signature"]
    assert rows["large, torch fp32"]["megabytes"] > rows["small, torch fp32"]["megabytes"]
    texts = [node.text for node in xml.etree.ElementTree.parse(plot).iter() if node.tag.endswith("text")]
    assert set(rows) <= set(texts)


def test_what_breaks_a_cheap_limit_is_asked_nothing(
    runs: Path, data: Path, clock: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    clock(large=50.0, small=10.0)
    found = pareto.run(settings(runs, data, max_ms=20))
    large, small = found["rows"]
    assert large["verdict"] == "not asked: breaks --max-ms"
    assert large["f1"] is None
    assert small["verdict"] == "chosen"
    assert "not asked: breaks --max-ms" in capsys.readouterr().out, "the table says so, too"
    size = small["megabytes"]
    found = pareto.run(settings(runs, data, max_mb=size + 0.001))
    assert [row["verdict"] for row in found["rows"]] == ["not asked: breaks --max-mb", "chosen"]


def test_with_a_limit_of_quality_the_fastest_that_reaches_it_is_taken(
    runs: Path, data: Path, clock: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    clock(large=20.0, small=10.0)
    whole = {row["name"]: row["f1"] for row in pareto.run(settings(runs, data))["rows"]}
    assert whole["small, torch fp32"] > whole["large, torch fp32"], "random readers, but always the same ones"
    limit = whole["small, torch fp32"] - 0.01
    found = pareto.run(settings(runs, data, min_f1=limit))
    assert found["choice"] == "small, torch fp32"
    assert found["rows"][0]["verdict"] == "not asked: slower than small, torch fp32, which is good enough"
    assert f"the fastest that keeps --min-f1 {limit:g}" in found["why"]
    clock(large=10.0, small=20.0)
    found = pareto.run(settings(runs, data, min_f1=limit))
    assert found["choice"] == "small, torch fp32", "the large one is faster and was asked, but is not good enough"
    assert found["rows"][0]["verdict"] != "chosen"


def test_when_nothing_fits_it_says_which_limit_fails_and_leaves_with_1(
    runs: Path, data: Path, clock: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    clock(large=50.0, small=10.0)
    with pytest.raises(SystemExit) as left:
        pareto.run(settings(runs, data, max_ms=4, json=True))
    assert left.value.code == 1
    said = capsys.readouterr()
    assert "--max-ms 4: the fastest, small, torch fp32, takes 10.0 ms." in said.err
    assert "The nearest is small, torch fp32" in said.err
    assert "--max-ms by 150%" in said.err
    assert json.loads(said.out)["choice"] is None
    with pytest.raises(SystemExit):
        pareto.run(settings(runs, data, min_f1=100))
    assert "--min-f1 100: none of the 2 within the other limits reaches it." in capsys.readouterr().err


def test_mistakes_are_told(runs: Path, data: Path) -> None:
    with pytest.raises(UserError, match="needs --data"):
        pareto.run(settings(runs, data, data=[]))
    with pytest.raises(UserError, match=r"--max-ms: is for --pareto"):
        dispatch(["bench", "--model", str(runs / "small"), "--max-ms", "3"])
    with pytest.raises(UserError, match="nothing that can be run"):
        pareto.run(settings(runs, data, backend="openvino"))


def test_dots_stand_where_their_numbers_say() -> None:
    dots = [
        Dot("a & b", 1.0, 50.0, 4.0, on_line=True),
        Dot("c", 10.0, 60.0, 1.0, on_line=True, chosen=True),
        Dot("d", 100.0, 40.0, 1.0),
    ]
    root = xml.etree.ElementTree.fromstring(
        scatter_chart(dots, title="t", x_axis="ms", y_axis="F1", x_limit=20.0, y_limit=45.0)
    )
    circles = [node for node in root if node.tag.endswith("circle")]
    places = {node[0].text.split(":")[0]: (float(node.get("cx")), float(node.get("cy"))) for node in circles}
    radii = {node[0].text.split(":")[0]: float(node.get("r")) for node in circles}
    assert places["c"][0] - places["a & b"][0] == pytest.approx(places["d"][0] - places["c"][0], abs=0.2)
    assert places["a & b"][1] - places["c"][1] == pytest.approx(places["d"][1] - places["a & b"][1], abs=0.2)
    assert radii["a & b"] == pytest.approx(2 * radii["c"], abs=0.1), "areas, not radii"
    (line,) = [node for node in root if node.tag.endswith("polyline")]
    corners = np.array([pair.split(",") for pair in line.get("points").split()], float)
    np.testing.assert_allclose(corners, [places["a & b"], places["c"]])
    assert len([node for node in root if node.tag.endswith("line") and node.get("stroke-dasharray")]) == 2
