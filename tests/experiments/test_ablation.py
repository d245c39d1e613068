"""The ablation: cells train once and go on after a stop, and the table says what the cells say."""

import json
import tomllib
import xml.etree.ElementTree
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import AutoModel

import spanish
from destila.config import DistillSettings
from destila.core.errors import UserError
from destila.data.sources import load_examples
from destila.data.squad import save
from destila.reporting.svg import Bar, bar_chart
from scripts import load_script
from tiny import example, tiny_examples, tiny_reader

ROOT = Path(__file__).parents[2]
CHAIN = ["alone", "paper", "born", "terms", "scale", "stages", "inputs", "general", "vocabulary"]
ROWS = [*CHAIN, "labels", "answers", "states", "own"]


@pytest.fixture(scope="module")
def ablation() -> ModuleType:
    return load_script("experiments/ablation.py")


@pytest.fixture(scope="module")
def gathering(ablation: ModuleType) -> ModuleType:
    return load_script("experiments/ablation_table.py")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    teacher = tiny_reader(tmp_path / "teacher", layers=4, hidden=32)
    examples = tiny_examples(unanswerable=False)
    save(examples, tmp_path / "train.json")
    save(examples[:4], tmp_path / "dev.json")
    (tmp_path / "actas.txt").write_text(spanish.text(1, documents=4), encoding="utf-8")
    return {
        "TEACHER": str(teacher),
        "TRAIN": str(tmp_path / "train.json"),
        "DEV": str(tmp_path / "dev.json"),
        "TEXT": str(tmp_path / "actas.txt"),
        "OUT": str(tmp_path / "out"),
        "SHAPE": "layers = 2\nheads = 2\nhidden = 16\nfeed_forward = 32",
        "STEPS": "4",
        "SEEDS": "1",
        "BATCH": "4",
        "LENGTH": "96",
        "QUESTIONS": "4",
        "RELATION_HEADS": "4",
        "EVALUATIONS": "2",
        "CURVE": "2",
        "ENCODER": str(tiny_reader(tmp_path / "encoder", seed=5)),
        "ANSWERABLE": "1",
    }


def test_every_row_has_what_the_row_above_has(ablation: ModuleType, environment: dict[str, str]) -> None:
    plan = ablation.Plan.from_environment(environment)
    assert [row for row, _ in plan.cells] == ROWS == list(ablation.LABELS)
    made: dict[str, DistillSettings] = {row: ablation.settings_of(plan, row, 1) for row in ROWS}
    alone, paper, born, terms, scale, stages, inputs, general, last, labels, answers, states, own = made.values()
    assert (alone.loss.task, alone.loss.soft, alone.loss.hidden, alone.loss.attention) == (1, 0, 0, 0)
    assert paper.loss == DistillSettings().loss
    assert replace(born, output="", student=paper.student) == replace(paper, output="")
    assert replace(terms, output="", loss=born.loss) == replace(born, output="")
    assert terms.loss.relations == 1
    assert replace(scale, output="", loss=terms.loss) == replace(terms, output="")
    assert replace(stages, output="", stages=[]) == replace(scale, output="")
    assert [stage.name for stage in inputs.stages] == ["inside", "answers"]
    assert all(stage.unlabeled == {"questions": 4} for stage in inputs.stages)
    assert [stage.name for stage in general.stages] == ["general", "inside", "answers"]
    assert replace(last, output="", student=general.student) == replace(general, output="")
    assert {row.student.initial for row in (labels, answers, states)} == {"teacher"}
    assert labels.loss == alone.loss
    assert replace(answers.loss, hidden=states.loss.hidden) == states.loss
    inside = tomllib.loads((ROOT / "configs" / "reader" / "inside.toml").read_text())["loss"]
    assert {name: getattr(states.loss, name) for name in inside} == inside, "as the bundled reader learned"
    assert (own.student.name, own.loss.hidden, own.loss.attention) == (environment["ENCODER"], 0, 0)
    for settings in made.values():  # the same budget of steps
        steps = [stage.training["steps"] for stage in settings.stages] or [settings.training.steps]
        assert sum(steps) == 4
        assert settings.training == replace(paper.training)
    without = ablation.Plan.from_environment(
        {**environment, "TEXT": "", "ENCODER": "", "SEEDS": "3 4", "ROWS": "paper general own"}
    )
    assert without.cells == [("paper", 3), ("paper", 4)]


def test_only_questions_with_an_answer_are_scored_where_all_must_be_answered(
    ablation: ModuleType, environment: dict[str, str], tmp_path: Path
) -> None:
    save(tiny_examples(unanswerable=True), tmp_path / "dev.json")
    counts = [
        len(ablation.Plan.from_environment({**environment, "ANSWERABLE": value}).examples()) for value in ("1", "0")
    ]
    assert counts[0] < counts[1]
    strict = tiny_reader(tmp_path / "strict", metadata={"window": {"length": 96}, "no_answer_threshold": -1000.0})
    examples = ablation.Plan.from_environment(environment).examples()
    for always in (True, False):
        ablation.answer(strict, examples, tmp_path / "out.json", always=always)
        assert all(json.loads((tmp_path / "out.json").read_text()).values()) == always


def test_curves_of_no_questions_are_refused(ablation: ModuleType, environment: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"CURVE: is 0"):
        ablation.Plan.from_environment({**environment, "CURVE": "0"})


def test_cells_are_trained_once_and_make_a_table(
    ablation: ModuleType,
    gathering: ModuleType,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out, plan = Path(environment["OUT"]), ablation.Plan.from_environment(environment)
    ablation.train(plan, 1, 2)  # the second of two shares
    assert sorted(path.name for path in out.glob("*-1")) == sorted(f"{row}-1" for row in ROWS[1::2])
    ablation.train(plan)
    changed = {path: path.stat().st_mtime_ns for path in out.glob("*-1/predictions.json")}
    assert len(changed) == len(ROWS)
    capsys.readouterr()
    ablation.train(plan)
    assert capsys.readouterr().err == ""
    assert {path: path.stat().st_mtime_ns for path in changed} == changed
    gathering.main()
    table, line = capsys.readouterr().out.strip().split("\n")[:-1], json.loads((out / "ablation.json").read_text())
    assert sum(row.startswith("| ") for row in table) == len(ROWS) + 2  # with the head and its rule
    assert [row["row"] for row in line["rows"]] == ROWS
    assert all([step for step, _ in row["curves"][0]][-1] == 4 for row in line["rows"])
    assert line["teacher"]["questions"] == 4  # the curves are of every second one
    assert [example.id for example in load_examples([str(out / "curve-2.json")])] == [
        example.id for example in plan.examples()[::2]
    ]
    assert xml.etree.ElementTree.parse(out / "ablation.svg").getroot() is not None
    assert len(list((out / "cache").glob("importance-*"))) == 4  # questions, more of them, text, text in fewer tokens


def cell(plan: Any, row: str, seed: int, texts: list[str], points: list[tuple[int, float]]) -> None:
    path = plan.cell(row, seed)
    for number, part in enumerate((points[:1], points[1:])):
        run = path / f"run{'-first' * (number == 0)}"
        run.mkdir(parents=True)
        (run / "run.json").write_text(json.dumps({"started": number, "seconds": 10.0, "status": "finished"}))
        lines = [{"step": step, "loss": 1.0} for step, _ in part] + [{"step": step, "dev_f1": f1} for step, f1 in part]
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    answers = {f"q{number}": text for number, text in enumerate(texts)}
    (path / "predictions.json").write_text(json.dumps(answers))


def test_the_table_says_what_the_cells_say(ablation: ModuleType, gathering: ModuleType, tmp_path: Path) -> None:
    context = "Ana vive en Lima y Luis en Quito."
    examples = [example(f"q{n}", "¿Dónde?", context, "Lima" if n % 2 else "Quito", title=f"t{n}") for n in range(8)]
    save(examples, tmp_path / "dev.json")
    plan = ablation.Plan("teacher", [], [str(tmp_path / "dev.json")], out=tmp_path / "out", steps=40, seeds=(1, 2))
    right = ["Quito", "Lima"] * 4
    none, half = ["Ana"] * 8, ["Quito"] * 8
    for seed in (1, 2):
        cell(plan, "paper", seed, half if seed == 1 else none, [(20, 0.0), (20, 25.0)])
    cell(plan, "born", 1, right, [(10, 30.0), (30, 100.0)])
    cell(plan, "born", 2, half, [(10, 20.0), (30, 20.0)])
    result = gathering.gather(plan)
    paper, born = result["rows"]
    assert (paper["f1"], paper["f1_seeds"], born["f1"]) == (25.0, [50.0, 0.0], 75.0)
    assert born["over_paper"] == born["over_row_above"]
    assert born["over_paper"]["f1"] == pytest.approx(50.0)
    assert "over_row_above" not in paper
    assert paper["steps_to_paper"] == [40, 40]  # stages one after the other
    assert born["steps_to_paper"] == [10, None]
    assert born["seconds"] == 20.0
    table = gathering.markdown(result)
    assert "| + born from the teacher | 75.0 [" in table
    assert "| 10 (0.25, 1 of 2 seeds) |" in table
    assert "+50.0 [" in table


def test_bars_on_a_plain_axis_are_as_long_as_their_values() -> None:
    bars = [Bar("a", 10.0, 12.0, "10"), Bar("b", 40.0, 47.0, "40")]
    root = xml.etree.ElementTree.fromstring(bar_chart(bars, title="t", axis="F1", logarithmic=False))
    _paper, *drawn = root.iter("{http://www.w3.org/2000/svg}rect")
    lengths = [float(bar.get("width", 0)) for bar in drawn]
    assert lengths[1] == pytest.approx(4 * lengths[0], rel=0.01)
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[1:7] == ["0", "10", "20", "30", "40", "50"]


def test_the_lowest_layers_of_an_encoder_are_one_themselves(tmp_path: Path) -> None:
    whole = tiny_reader(tmp_path / "whole", layers=4)
    load_script("experiments/lower_layers.py").cut(whole, 2, tmp_path / "lower")
    ids = torch.arange(5, 25)[None]
    models = [AutoModel.from_pretrained(tmp_path / name).eval() for name in ("whole", "lower")]
    states, cut = (model(input_ids=ids, output_hidden_states=True).hidden_states for model in models)
    assert len(cut) == 3
    assert torch.equal(cut[2], states[2])
    assert {path.name for path in (tmp_path / "lower").iterdir()} == {path.name for path in whole.iterdir()}
