"""Provenance: what the files of runs and readers say, followed from a model to all that it was made of."""

import ast
import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from destila.config import (
    CALL_SETTINGS,
    DataSettings,
    DistillSettings,
    FinetuneSettings,
    ModelSettings,
    PretrainSettings,
    TeacherSettings,
    TextSettings,
    UnlabeledSettings,
)
from destila.config.flags import parse_arguments
from destila.config.loader import read_toml, to_toml
from destila.core.errors import UserError
from destila.core.runs import Run
from destila.data.licenses import DataSet, DataSource, describe_data
from destila.data.squad import save
from destila.reporting.energy import estimate_energy
from destila.reporting.lineage_file import Record, recorded, write_lineage
from destila.reporting.provenance import (
    _data,
    all_data,
    all_licenses,
    lineage,
    read_metrics,
    record_of,
    trace,
)
from destila.reporting.repeat import reader_snippet, repeat_commands
from tiny import tiny_examples


def write_run(path: Path, settings: object, **fields: object) -> Path:
    run = Run.create(path, settings_text=to_toml(settings, without=CALL_SETTINGS), seed=3)
    run.update(**{"status": "finished", "device": "cpu", **fields})
    return path


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """encoder -> teacher -> student -> export, as directories without weights."""
    save(tiny_examples(), tmp_path / "mine.json")
    write_run(tmp_path / "encoder", PretrainSettings(text=TextSettings(files=["texts"])))
    teacher = FinetuneSettings(
        model=ModelSettings(name=str(tmp_path / "encoder")), data=DataSettings(train=["squad-es-v1.1/train"])
    )
    write_run(tmp_path / "teacher", teacher)
    data = DataSettings(train=[str(tmp_path / "mine.json"), "sqac/train"], dev=["data/nativa/dev.json"])
    write_run(tmp_path / "student", DistillSettings(teacher=TeacherSettings(name=str(tmp_path / "teacher")), data=data))
    source = {"command": "distill", "teacher": str(tmp_path / "teacher"), "data": data.train}
    (tmp_path / "student" / "destila.json").write_text(json.dumps({"source": source}))
    (tmp_path / "export").mkdir()
    exported = {"source": {"model": str(tmp_path / "student"), "source": source}, "format": "onnx", "precision": "int8"}
    (tmp_path / "export" / "destila.json").write_text(json.dumps(exported))
    return tmp_path


def test_a_model_is_followed_to_everything_that_it_was_made_of(family: Path) -> None:
    found = lineage(trace(str(family / "export")))
    assert [Path(one.name).name for one in found] == ["encoder", "teacher", "student", "export"]
    assert [one.role for one in found] == ["starting point", "teacher", "exported from", ""]
    assert [one.verb for one in found] == ["pretrain", "finetune", "distill", "distill"]
    assert [one.has_run for one in found] == [True, True, True, False]
    assert {one.seed for one in found[:3]} == {3}
    assert found[0].environment["cores"] >= 1


def test_commands_repeat_the_model_from_resolved_settings(family: Path) -> None:
    commands = repeat_commands(trace(str(family / "export")))
    assert [command.split()[1] for command in commands] == ["pretrain", "finetune", "distill", "export"]
    verb, *arguments = commands[2].split()[1:]
    again = parse_arguments(DistillSettings, arguments, command=f"destila {verb}")
    assert again.teacher.name == str(family / "teacher-again")  # made by the command before
    assert again.data.train == [str(family / "mine.json"), "sqac/train"]
    assert again.output == str(family / "student-again")
    assert commands[1].endswith(f"--model.name {family / 'encoder-again'}")
    assert commands[3].split()[2:4] == ["--model", str(family / "student-again")]
    assert commands[3].endswith("--format onnx --precision int8")


def test_data_carry_their_licenses_and_what_nobody_says_stays_empty(family: Path) -> None:
    model = trace(str(family / "student"))
    assert [(Path(item.name).name, item.use) for item in all_data(model)] == [
        ("texts", "text"),
        ("train", "train"),
        ("mine.json", "train"),
        ("train", "train"),
        ("dev.json", "dev"),
    ]
    licenses = {license: [source.name for source in sources] for license, sources in all_licenses(model).items()}
    assert licenses == {
        "": ["texts", "mine.json"],
        "CC BY 4.0": ["squad-es-v1.1", "nativa"],
        "CC BY-SA 4.0": ["sqac"],
    }
    sources = [source for group in all_licenses(model).values() for source in group]
    assert all(source.attribution for source in sources if source.license)


def test_a_file_is_known_by_what_its_articles_say(tmp_path: Path) -> None:
    path = tmp_path / "mixed.json"
    articles = [{"title": "a", "source": "sqac"}, {"title": "b", "source": "mine"}, {"title": "c", "source": "sqac"}]
    path.write_text(json.dumps({"data": articles}), encoding="utf-8")
    found = describe_data(str(path), use="dev")
    assert [(source.name, source.license) for source in found.sources] == [("sqac", "CC BY-SA 4.0"), ("mine", "")]
    lines = tmp_path / "mixed.jsonl"
    lines.write_text('{"source": "nativa"}\nbroken\n{}\n', encoding="utf-8")
    assert [source.license for source in describe_data(str(lines), use="dev").sources] == ["CC BY 4.0"]
    assert [source.name for source in describe_data("gone/away.json", use="dev").sources] == ["away.json"]


@pytest.mark.parametrize("key", ["ensemble", "others"])
def test_teachers_that_were_averaged_are_ancestors_under_either_name(tmp_path: Path, key: str) -> None:
    teacher = TeacherSettings(name="one", ensemble=["two", "three"])
    run = write_run(tmp_path / "run", DistillSettings(teacher=teacher))
    file = run / "settings.toml"
    file.write_text(file.read_text(encoding="utf-8").replace("ensemble =", f"{key} ="), encoding="utf-8")
    found = [(parent.role, parent.name) for parent in trace(str(run)).parents]
    assert found == [("teacher", "one"), ("other teacher", "two"), ("other teacher", "three")]


def test_what_is_not_here_is_known_by_name_alone_and_circles_end(tmp_path: Path) -> None:
    assert trace("owner/model").is_local is False
    settings = DistillSettings(teacher=TeacherSettings(name=str(tmp_path / "run")))
    write_run(tmp_path / "run", settings)
    model = trace(str(tmp_path / "run"))
    assert [(one.role, one.is_local) for one in model.parents] == [("teacher", False)]
    assert repeat_commands(trace("owner/model")) == []


def test_time_counts_all_calls_and_a_killed_run_has_a_clock_with_pauses(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", FinetuneSettings())
    run = Run.create(path, settings_text=(path / "settings.toml").read_text(), seed=3, resume=True)
    run.record["seconds"] = 100.0
    again = Run(path, run.record)
    again.update(status="finished")
    assert 100 <= trace(str(path)).seconds < 101  # type: ignore[operator]
    assert not trace(str(path)).paused
    again.update(status="running", started=run.record["started"] - 50)
    assert trace(str(path)).seconds is None  # nothing was logged yet
    again.log({"step": 1, "loss": 2.0})
    killed = trace(str(path))
    assert killed.paused
    assert 50 <= killed.seconds < 60  # type: ignore[operator]


@pytest.mark.parametrize(
    ("device", "watts", "expected"),
    [
        ("cpu", 0, 12 * 2 * 3600 / 3.6e6),
        ("NVIDIA H100 80GB HBM3", 0, 0.7),
        ("NVIDIA L4", 0, 0.072),
        ("NVIDIA L40S", 0, 0.35),
        ("Unheard-of 9000", 0, None),
        ("Unheard-of 9000", 200, 0.2),
    ],
)
def test_energy_is_time_times_a_stated_power(tmp_path: Path, device: str, watts: float, expected: float | None) -> None:
    path = write_run(tmp_path / "run", FinetuneSettings(), device=device)
    record = json.loads((path / "run.json").read_text())
    record |= {"seconds": 3600.0, "environment": {"cores": 2}}
    (path / "run.json").write_text(json.dumps(record))
    found = estimate_energy(trace(str(path)), watts=watts)
    assert (found.kilowatt_hours if found else None) == (pytest.approx(expected) if expected else None)
    assert found is None or " W" in found.assumption


def test_metrics_survive_a_torn_last_line(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo', encoding="utf-8")
    assert read_metrics(tmp_path) == [{"step": 1, "loss": 2.0}]
    assert read_metrics(tmp_path / "nowhere") == []


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", FinetuneSettings())
    (path / "settings.toml").write_text("= broken")
    with pytest.raises(UserError, match=r"settings\.toml: cannot be read"):
        trace(str(path))
    (path / "settings.toml").write_text("")
    (path / "destila.json").write_text("[]")
    with pytest.raises(UserError, match="is not a JSON object"):
        trace(str(path))


def test_the_snippet_is_python_whatever_the_name() -> None:
    name = 'a "strange"\\name\nñ'
    written = {node.value for node in ast.walk(ast.parse(reader_snippet(name))) if isinstance(node, ast.Constant)}
    assert name in written


SQAC = DataSource("sqac", "CC BY-SA 4.0", "SQAC")
E5 = DataSource("e5", "MIT", "its authors")


def kept_records(directory: Path) -> list[Record]:
    """Of a hand-made encoder without a run, a teacher that began as it, and a student of both."""
    teacher = write_run(directory / "t", FinetuneSettings(data=DataSettings(train=["gone.json"])))
    student = write_run(directory / "s", DistillSettings(teacher=TeacherSettings(name="models/teacher")))
    base = Record("e5", source={"stated": "made by hand"}, data=(DataSet("e5", "weights", (E5,)),))
    data = (DataSet("gone.json", "train", (SQAC,)),)
    taught = replace(record_of(trace(str(teacher))), name="teacher", made_of=(("starting point", "e5"),), data=data)
    parents = (("starting point", "e5"), ("teacher", "teacher"))
    return [base, taught, replace(record_of(trace(str(student))), name="student", made_of=parents, data=data)]


def test_a_lineage_stands_for_runs_that_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    records = kept_records(tmp_path)
    model = tmp_path / "kept" / "models" / "student"
    model.mkdir(parents=True)
    write_lineage(model, records)
    for name in ("e5", "teacher"):  # models of these names in the working directory are others
        write_run(tmp_path / name, FinetuneSettings())
    found = lineage(trace(str(model)))
    assert [(one.name, one.is_local, one.verb, one.has_run) for one in found] == [
        ("e5", False, "", False),
        ("teacher", False, "finetune", True),
        (str(model), True, "distill", True),
    ]
    assert [one.role for one in found] == ["starting point", "teacher", ""]
    assert all_licenses(found[-1]) == {"CC BY-SA 4.0": [SQAC], "MIT": [E5]}
    assert (found[1].seed, found[1].device, found[1].settings["data"]["train"]) == (3, "cpu", ["gone.json"])
    assert [record_of(one) for one in found[:2]] == records[:2]
    (model.parent / "teacher").mkdir()
    (model.parent / "teacher" / "destila.json").write_text('{"version": "here"}')
    here = lineage(trace(str(model)))[1]
    assert (Path(here.name).resolve(), here.is_local) == (model.parent / "teacher", True)
    assert (here.metadata, here.status) == ({"version": "here"}, "finished")


def test_commands_take_the_settings_out_of_a_lineage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "models" / "student"
    model.mkdir(parents=True)
    write_lineage(model, kept_records(tmp_path))
    finetune, distill = repeat_commands(trace("models/student"))
    assert finetune == "destila finetune --config models/student/lineage.json:teacher --output runs/teacher-again"
    assert distill.endswith("--output models/student-again --teacher.name runs/teacher-again")
    settings = parse_arguments(DistillSettings, distill.split()[2:], command="destila distill")
    assert (settings.teacher.name, settings.output) == ("runs/teacher-again", "models/student-again")
    with pytest.raises(UserError, match=r"no settings of a run 'e5'.*teacher, student"):
        read_toml("models/student/lineage.json:e5")
    with pytest.raises(UserError, match="does not exist"):
        read_toml("models/nobody/lineage.json:teacher")


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"names_from": "..", "runs": []}', '{"names_from": "..", "runs": [{"name": "a"}]}']
)
def test_a_damaged_lineage_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "lineage.json").write_text(content)
    with pytest.raises(UserError, match=r"lineage\.json"):
        trace(str(tmp_path))


def test_an_export_says_where_its_names_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    export, reader = tmp_path / "kept" / "package" / "shipped", tmp_path / "kept" / "models" / "reader"
    export.mkdir(parents=True)
    data = recorded((DataSet("gone.json", "train", (SQAC,)),))
    about = {"source": {"model": "models/reader"}, "format": "onnx", "names_from": "../..", "data": data}
    (export / "destila.json").write_text(json.dumps(about))
    write_run(tmp_path / "models" / "reader", FinetuneSettings())  # another one
    assert [(one.name, one.is_local) for one in trace(str(export)).parents] == [("models/reader", False)]
    assert all_licenses(trace(str(export))) == {"CC BY-SA 4.0": [SQAC]}
    write_run(reader, FinetuneSettings())
    (found,) = trace(str(export)).parents
    assert Path(found.name).resolve() == reader


def test_the_text_that_a_teacher_was_asked_about_is_data() -> None:
    settings = tomllib.loads(to_toml(DistillSettings(unlabeled=UnlabeledSettings(files=["novels"]))))
    assert [(item.name, item.use) for item in _data(settings, {})] == [("novels", "text")]


def test_raw_text_says_its_sources_itself(tmp_path: Path) -> None:
    for name in ("leyes-00", "leyes-01", "actas-00"):
        (tmp_path / f"{name}.txt").write_text("Un texto.\n", encoding="utf-8")
    assert [source.license for source in describe_data(str(tmp_path), use="text").sources] == [""]
    stated = {"leyes": {"license": "public domain", "attribution": "the State"}, "cartas": {"license": "none"}}
    (tmp_path / "sources.json").write_text(json.dumps(stated), encoding="utf-8")
    found = [(item.name, item.license, item.attribution) for item in describe_data(str(tmp_path), use="text").sources]
    assert found == [("actas", "", ""), ("leyes", "public domain", "the State")]
