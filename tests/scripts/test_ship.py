"""A chain of runs is shipped, its runs and data vanish, and what ships still says all that a reader wants to know."""

import json
import re
import shutil
from pathlib import Path

import pytest

import forked
import spanish
from destila.cli.main import dispatch
from destila.config import DistillSettings
from destila.config.loader import read_toml, resolve
from destila.reporting.card_metadata import card_problems
from destila.reporting.provenance import all_data, all_licenses, lineage, trace
from destila.reporting.repeat import repeat_commands
from few_questions import few_questions
from report_case import markdown_tables

pytest.importorskip("onnxscript", reason="the export extra is not installed")
ROOT = Path(__file__).parents[2]
BEHIND = ["encoder", "small-encoder", "teacher", "reader"]
STATED = {"cuentos": {"license": "public domain", "attribution": "nobody"}}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory like the project's, into which a chain was shipped whose runs and data are gone."""
    top = tmp_path_factory.mktemp("project")
    outside = tmp_path_factory.mktemp("elsewhere")
    (outside / "texts").mkdir()
    (outside / "texts" / "cuentos.txt").write_text(spanish.text(1), encoding="utf-8")
    (outside / "texts" / "sources.json").write_text(json.dumps(STATED))
    few_questions(top, each=12, test=8)
    shutil.copy(ROOT / "data" / "nativa" / "README.md", top / "data" / "nativa")
    document = json.loads((top / "data" / "nativa" / "train.json").read_text(encoding="utf-8"))
    for article in document["data"][::2]:
        article["source"] = "sqac"
    (outside / "mixed.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(top)
        train(outside)
        arguments = ["--teacher", "work/teacher", "--student", "work/student", "--export", "work/export"]
        done = forked.script(ROOT / "scripts" / "ship.py", *arguments, "--project", top)
        assert done.returncode == 0, done.stderr
    shutil.rmtree(top / "work")
    shutil.rmtree(outside)
    return top


def train(outside: Path) -> None:
    """Two encoders, a teacher, a student and its export, in work/, from text and questions that lie elsewhere."""
    tiny = ROOT / "configs" / "tiny"
    steps = ["--training.steps", "2", "--training.evaluate_every", "2"]
    text = ["--text.files", str(outside / "texts"), "--text.store", str(outside / "store"), "--dev-rows", "4"]
    data = ["--data.train", str(outside / "mixed.json"), "--data.dev", str(Path("data/nativa/dev.json").resolve())]
    for name in ("encoder", "small-encoder"):
        dispatch(["pretrain", "--config", str(tiny / "pretrain.toml"), *text, *steps, "--output", f"work/{name}"])
    flags = [*data, *steps, "--output", "work/teacher", "--model.name", "work/encoder"]
    dispatch(["finetune", "--config", str(tiny / "finetune.toml"), *flags])
    flags = [*data, *steps, "--output", "work/student", "--teacher.name", "work/teacher"]
    flags += ["--student.name", str(Path("work/small-encoder").resolve()), "--teacher.cache", str(outside / "cache")]
    dispatch(["distill", "--config", str(tiny / "distill.toml"), *flags])
    dispatch(["card", "work/student", "--data", "data/nativa/test.json", "--overwrite"])
    dispatch(["export", "--model", "work/student", "--output", "work/export", "--precision", "int8", "--skip-accuracy"])


def test_the_reader_that_ships_is_followed_to_the_encoders_from_anywhere(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (project, tmp_path):
        monkeypatch.chdir(place)
        found = lineage(trace(str(project / "src/destila/inference/shipped")))
        assert sorted(Path(one.name).name for one in found[:-1]) == sorted(BEHIND)
        assert {one.name for one in found if not one.is_local} == {"encoder", "small-encoder"}
        assert Path(found[-2].name).resolve() == project / "models/reader"
        assert sorted(one.verb for one in found[:-1]) == ["distill", "finetune", "pretrain", "pretrain"]
        assert all(one.status == "finished" and one.seconds and one.settings for one in found[:-1])


def test_licenses_stand_in_the_records_and_in_the_export_alone(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "src/destila/inference/shipped", tmp_path / "installed")
    shutil.copytree(project / "models" / "teacher", tmp_path / "teacher")
    licenses = {"CC BY 4.0", "CC BY-SA 4.0", "public domain"}
    for model in (project / "src/destila/inference/shipped", project / "models/reader", tmp_path / "installed"):
        found = trace(str(model))
        assert set(all_licenses(found)) == licenses, model
        uses = {(item.name, item.use) for item in all_data(found)}
        assert uses == {("texts", "text"), ("mixed.json", "train"), ("data/nativa/dev.json", "dev")}
    assert set(all_licenses(trace(str(tmp_path / "teacher")))) == licenses, "it knows its encoder's data, too"


def test_nothing_that_ships_names_a_place_of_this_machine(project: Path) -> None:
    assert sorted(path.name for path in (project / "models").iterdir()) == ["reader", "teacher"]
    places = ("models/teacher", "models/reader", "src/destila/inference/shipped")
    files = [path for name in places for path in (project / name).iterdir()]
    names = {path.name for path in files}
    assert names >= {"lineage.json", "scores.json", "destila.json"}
    assert not names & {"run.json", "settings.toml", "metrics.jsonl"}
    for path in files:
        content = path.read_bytes()
        for place in (project, project.parent, Path.home(), ROOT):
            assert str(place).encode() not in content, f"{path} names {place}"
    shipped = json.loads((project / "src/destila/inference/shipped/destila.json").read_text())
    assert {path.name for path in (project / "src/destila/inference/shipped").iterdir()} == {
        *shipped["files"],
        "destila.json",
    }


def test_settings_still_make_the_model_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    settings = resolve(DistillSettings, read_toml("models/reader/lineage.json:reader"))
    assert (settings.teacher.name, settings.student.name) == ("models/teacher", "small-encoder")
    assert settings.data.train == ["mixed.json"]
    assert settings.data.dev == ["data/nativa/dev.json"]
    commands = repeat_commands(trace("src/destila/inference/shipped"))
    assert [command.split()[1] for command in commands] == ["pretrain", "pretrain", "finetune", "distill", "export"]
    assert "--teacher.name models/teacher-again" in commands[3]
    assert "--student.name runs/small-encoder-again" in commands[3]
    assert commands[4].split()[3:6] == ["models/reader-again", "--output", "src/destila/inference/shipped-again"]


def test_the_cards_carry_the_new_names_and_the_scores(project: Path) -> None:
    text = (project / "models/reader/README.md").read_text(encoding="utf-8")
    assert card_problems(text) == []
    assert "\n# reader\n" in text
    assert "teacher `teacher`" in text
    assert "| test.json (nativa) | squad | 8 |" in text
    assert "license: cc-by-sa-4.0" in text
    assert re.search(r"\| made of \| small-encoder \(pretrain\): \d+ s, about [\d.e-]+ kWh; encoder \(pretrain\)", text)
    assert "teacher (finetune): " in text
    assert "| cuentos | public domain | nobody |" in text


def test_the_report_of_what_ships_says_license_cost_data_and_commands(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    flags = [
        "--data",
        "data/nativa/test.json",
        "--resamples",
        "100",
        "--layer-windows",
        "2",
        "--max-errors",
        "5",
        "--max-examples",
        "30",
    ]
    dispatch(["report", "src/destila/inference/shipped", *flags, "--output", "report"])
    text = (project / "report" / "report.md").read_text(encoding="utf-8")
    tables = markdown_tables(text)
    rows = tables["Time, and an estimate of energy"][1:]
    assert [row[:3] for row in rows[:4]] == [
        ["encoder", "pretrain", "finished"],
        ["teacher", "finetune", "finished"],
        ["small-encoder", "pretrain", "finished"],
        ["reader", "distill", "finished"],
    ]
    assert all(re.fullmatch(r"[\d.e-]+ kWh", row[-1]) for row in rows)
    data = {(row[0], row[1], row[2], row[3]) for row in tables["Data"][1:]}
    assert ("texts", "text", "cuentos", "public domain") in data
    assert ("mixed.json", "train", "sqac", "CC BY-SA 4.0") in data
    assert "not stated" not in str(tables["Data"])
    assert "destila distill --config models/reader/lineage.json:reader" in text
    assert "Agreement with the teacher, layer by layer" in tables, "by the weights of models/reader"
    assert "nstated" not in text
    assert str(project) not in text


def test_an_export_of_another_model_is_refused_before_anything_is_written(project: Path, tmp_path: Path) -> None:
    """The kept models serve as the ones that are to be shipped, for another project."""
    shutil.copytree(project / "src/destila/inference/shipped", tmp_path / "export")
    told = json.loads((tmp_path / "export" / "destila.json").read_text())
    told["source"]["model"] = "models/teacher"
    (tmp_path / "export" / "destila.json").write_text(json.dumps(told))
    flags = ["--teacher", project / "models/teacher", "--student", project / "models/reader"]
    flags += ["--export", tmp_path / "export", "--project", tmp_path]
    done = forked.script(ROOT / "scripts/ship.py", *flags, cwd=project)
    assert done.returncode == 1
    assert "and not from the student" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export"]
