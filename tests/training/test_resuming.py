"""`resume` with the name of a run: its own settings, nothing else; what differs is named; what has finished grows."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import destila
from destila import Reader, UserError
from destila.cli.main import dispatch, main
from destila.config import FinetuneSettings
from destila.config.loader import to_toml
from destila.core.language import say_error, speak
from destila.data.squad import save
from pretraining import write_sources
from tiny import tiny_examples, tiny_reader

SHAPE = {"layers": 1, "heads": 2, "hidden": 16, "feed_forward": 16}
TRAINING = {"steps": 4, "checkpoint_every": 1, "log_every": 1, "batch_size": 4, "device": "cpu", "learning_rate": 1e-3}
COMMON = {"data": {"train": ["data.json"], "dev": ["data.json"]}, "window": {"length": 64, "stride": 16}}
FINETUNE = {**COMMON, "model": {"shape": SHAPE, "vocabulary_size": 300}, "training": TRAINING}
LOGITS = {"hidden": 0.0, "attention": 0.0}
DISTILL = {**COMMON, "teacher": "teacher", "student": {"shape": SHAPE}, "training": TRAINING, "loss": LOGITS}
STAGES = [{"name": "one", "training": {"steps": 3}}, {"name": "two", "loss": {"task": 0.0}}]
NOW = 1e-6  # seconds: a call ends after its first step


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save(tiny_examples(), Path("data.json"))
    tiny_reader(Path("teacher"))
    return tmp_path


def weights(run: str) -> bytes:
    return Path(run, "model.safetensors").read_bytes()


def metrics(run: str, name: str) -> dict[int, float]:
    lines = [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[name] for line in lines if name in line}


def status(run: str) -> str:
    return str(json.loads(Path(run, "run.json").read_text())["status"])


@pytest.mark.parametrize("verb", ["finetune", "distill"])
def test_the_name_of_a_run_is_enough_and_the_weights_are_those_of_one_that_never_stopped(verb: str) -> None:
    train, settings = (destila.finetune, FINETUNE) if verb == "finetune" else (destila.distill, DISTILL)
    train(settings, output="whole")
    assert not train(settings, output="cut", stop_after_seconds=NOW).finished
    assert not train(resume="cut", stop_after_seconds=NOW).finished
    assert train(resume=Path("cut")).steps == 4
    assert weights("cut") == weights("whole")
    again = train(resume="cut")
    assert (again.finished, again.steps) == (True, 4)
    assert weights("cut") == weights("whole")


def test_pretraining_goes_on_by_name(place: Path) -> None:
    (place / "texts").mkdir()
    write_sources(place / "texts")
    text = {"files": ["texts"], "store": "store", "vocabulary_size": 400}
    settings = {"text": text, "model": {"shape": SHAPE, "length": 64}, "training": {**TRAINING, "steps": 3}}
    settings |= {"dev_rows": 4}
    destila.pretrain(settings, output="whole")
    assert not destila.pretrain(settings, output="cut", stop_after_seconds=NOW).finished
    assert destila.pretrain(resume="cut").finished
    assert weights("cut") == weights("whole")
    assert destila.pretrain(resume="cut", tokens=5 * 4 * 64).steps == 5
    with pytest.raises(UserError, match=r"tokens: 1024 is given, and the run has finished with 1280"):
        destila.pretrain(resume="cut", tokens=1024)


# ---------------------------------------------------------------------------------------------------- differences
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"training": {"batch_size": 3}}, "training.batch_size: 3 is given, and the run has 4"),
        ({"training": {"learning_rate": "2e-3"}}, "training.learning_rate: 0.002 is given, and the run has 0.001"),
        (
            {"data": {"train": ["other.json"]}},
            r"data.train: \['other.json'\] is given, and the run has \['data.json'\]",
        ),
        ({"model": {"shape": {"layers": 2}}}, "model.shape.layers: 2 is given, and the run has 1"),
        (
            {"window": {"length": 96}, "training": {"seed": 2}},
            r"2 problems:\n  - training.seed: 2(.|\n)*window.length: 96",
        ),
        ({"training": {"steps": 8}}, "training.steps: 8 is given, and the run has 4.*Only a finished run"),
    ],
)
def test_what_differs_is_named_with_both_values(changes: dict[str, Any], told: str) -> None:
    destila.finetune(FINETUNE, output="run", stop_after_seconds=NOW)
    before = Path("run/settings.toml").read_bytes(), Path("run/run.json").read_bytes()
    for call in ({"resume": "run"}, {"settings": FINETUNE, "output": "run", "resume": True}):
        with pytest.raises(UserError, match=told) as caught:
            destila.finetune(**call, **changes)
        assert caught.value.where == "run"
    assert (Path("run/settings.toml").read_bytes(), Path("run/run.json").read_bytes()) == before


def test_what_says_the_same_is_no_difference(place: Path) -> None:
    destila.finetune(FINETUNE, output="run", stop_after_seconds=NOW)
    same = {"training": {"steps": "4", "learning_rate": 0.001}, "output": str(place / "run"), "trackers": []}
    assert destila.finetune(FINETUNE, resume="run", **same).finished


def test_flags_are_named_as_they_were_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    destila.finetune(FINETUNE, output="run", stop_after_seconds=NOW)
    capsys.readouterr()
    flags = ["--training.batch-size", "3", "--training.learning_rate=1"]
    monkeypatch.setattr(sys, "argv", ["destila", "finetune", "--resume", "run", *flags])
    with pytest.raises(SystemExit, match="2"):
        main()
    told = capsys.readouterr().err
    assert "  - --training.batch-size: 3 is given, and the run has 4\n" in told
    assert "  - --training.learning_rate: 1.0 is given, and the run has 0.001" in told


def test_an_object_gives_what_is_not_as_by_default() -> None:
    destila.finetune(FINETUNE, output="run", stop_after_seconds=NOW)
    with pytest.raises(UserError, match=r"training.epochs"):
        destila.finetune(FinetuneSettings(resume="run"), training={"epochs": 5})
    assert destila.finetune(FinetuneSettings(resume="run")).finished


@pytest.mark.parametrize(
    ("verb", "call", "told"),
    [
        ("finetune", {"resume": "rum"}, r"rum: there is no run to resume here; did you mean run\?"),
        ("finetune", {"resume": "teacher"}, "teacher: there is no run to resume here"),
        ("finetune", {"resume": "nothing/like/it"}, "there is no run to resume here"),
        ("finetune", {"resume": "run", "output": "other"}, "run: is to be resumed, and output is other"),
        ("distill", {"resume": "run"}, "run: is a run of destila finetune. Go on: destila finetune --resume run"),
        ("finetune", {"resume": True, "output": "other"}, "other: there is no run to resume here"),
    ],
)
def test_what_cannot_be_resumed(verb: str, call: dict[str, Any], told: str) -> None:
    destila.finetune(FINETUNE, output="run", stop_after_seconds=NOW)
    with pytest.raises(UserError, match=told):
        getattr(destila, verb)(FINETUNE if call["resume"] is True else None, **call)
    assert not Path("other").exists()


# ---------------------------------------------------------------------------------------------------- longer
def test_a_finished_run_goes_on_under_a_larger_budget(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    destila.finetune(FINETUNE, output="run")
    destila.finetune(FINETUNE, output="eight", training={"steps": 8})
    first = metrics("run", "loss")
    result = destila.finetune(resume="run", training={"steps": 8})
    assert (result.steps, status("run")) == (8, "finished")
    assert "run had finished after 4 steps and goes on to 8 steps" in caplog.text
    rates, whole = metrics("run", "learning_rate"), metrics("eight", "learning_rate")
    assert list(rates) == list(range(1, 9))
    assert rates[4] < 0.4 * whole[4], "it had nearly fallen to zero"
    assert [rates[step] for step in range(5, 9)] == [whole[step] for step in range(5, 9)]
    assert f"goes on at {whole[5]:.3g}" in caplog.text
    assert {step: loss for step, loss in metrics("run", "loss").items() if step <= 4} == first
    assert "steps = 8\n" in Path("run/settings.toml").read_text()
    assert Reader.load("run").answer("¿Quién?", "Lo hizo Carmen.").score > 0


def test_budgets_of_another_kind(caplog: pytest.LogCaptureFixture) -> None:
    destila.finetune(FINETUNE, output="run")  # 4 steps are an epoch
    assert destila.finetune(resume="run", training={"epochs": 2.0}).steps == 8
    assert "steps = 0\n" in Path("run/settings.toml").read_text()
    assert destila.finetune(resume="run", training={"steps": 9}).steps == 9
    caplog.set_level("INFO")
    assert destila.finetune(resume="run", training={"epochs": 1.0}).steps == 9, "fewer than are done"
    assert "run has finished after 9 steps: nothing is left to do" in caplog.text
    assert "steps = 9\n" in Path("run/settings.toml").read_text()
    for fewer in (8, 3):
        with pytest.raises(UserError, match=rf"training.steps: {fewer} is given, and the run has finished with 9"):
            destila.finetune(resume="run", training={"steps": fewer})
    with pytest.raises(
        UserError, match=r"2 problems(.|\n)*training.steps: 12 is given(.|\n)*training.seed: 3 is given"
    ):
        destila.finetune(resume="run", training={"steps": 12, "seed": 3})


def test_a_longer_run_that_was_cut_goes_on_by_name_and_its_card_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.toml").write_text(to_toml(FinetuneSettings()))
    Path("run.json").write_text("{}")
    dispatch(["finetune", "--config", write_toml(FINETUNE), "--output", "run"])
    card = Path("run/README.md").read_text()
    with pytest.raises(SystemExit, match="75"):
        dispatch(["finetune", "--resume", "run", "--training.steps", "8", "--stop-after-seconds", str(NOW)])
    assert "continue with --resume run\n" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"training.steps: 9 is given, and the run has 8"):
        dispatch(["finetune", "--resume", "run", "--training.steps", "9"])
    capsys.readouterr()
    dispatch(["finetune", "--resume", "run", "--json"])  # how it is called, not what it is
    assert json.loads(capsys.readouterr().out)["steps"] == 8
    assert Path("run/README.md").read_text() != card
    Path("run/README.md").write_text("Mine.")
    dispatch(["finetune", "--resume", "run", "--training.steps", "9"])
    assert Path("run/README.md").read_text() == "Mine."


def write_toml(settings: dict[str, Any]) -> str:
    from destila.config.loader import resolve

    Path("settings.toml").write_text(to_toml(resolve(FinetuneSettings, settings), without=("output", "resume")))
    return "settings.toml"


def test_a_finished_run_without_checkpoints_is_not_trained_from_nothing() -> None:
    destila.finetune(FINETUNE, output="run")
    before = weights("run")
    shutil.rmtree("run/checkpoints")
    for more in ({}, {"training": {"steps": 8}}):
        with pytest.raises(UserError, match="has finished, and its checkpoints are gone"):
            destila.finetune(resume="run", **more)
    assert (weights("run"), status("run")) == (before, "finished")


# ---------------------------------------------------------------------------------------------------- stages
@pytest.mark.parametrize("named", ["runs/it", "runs/it-one", "./runs/it/"])
def test_the_directory_of_any_stage_is_enough(named: str) -> None:
    destila.distill(DISTILL, output="whole", stages=STAGES)
    destila.distill(DISTILL, output="runs/it", stages=STAGES, stop_after_seconds=NOW)
    assert status("runs/it-one") == "interrupted"
    assert not Path("runs/it").exists()
    steps = [(one.path.name, one.steps) for one in destila.distill(resume=named).earlier]
    assert steps == [("it-one", 3)]
    assert weights("runs/it") == weights("whole")
    with pytest.raises(UserError, match=r"training.learning_rate: 0.5 is given, and the run has 0.001"):
        destila.distill(resume=named, training={"learning_rate": 0.5})


def test_stages_that_have_moved_go_on_and_the_last_grows() -> None:
    destila.distill(DISTILL, output="runs/it", stages=STAGES, stop_after_seconds=NOW)
    while not Path("runs/it").exists():
        destila.distill(resume="runs/it", stop_after_seconds=NOW)
    shutil.move("runs", "elsewhere")
    assert destila.distill(resume="elsewhere/it").finished
    assert not Path("runs/it").exists()
    shutil.rmtree("runs")
    shutil.move("elsewhere", "runs")
    assert destila.distill(resume="runs/it", training={"steps": 6}, stop_after_seconds=NOW).steps == 5
    assert destila.distill(resume="runs/it").steps == 6


# ---------------------------------------------------------------------------------------------------- as a model
def test_an_unfinished_run_is_no_model_and_says_so(tmp_path: Path) -> None:
    destila.finetune(FINETUNE, output="run", stop_after_seconds=NOW)
    told = r"run: is a run that has not finished \(interrupted; saved at step 1 of 4\)\. Finish it: .*--resume run"
    for use in (
        lambda: Reader.load("run"),
        lambda: destila.evaluate("run", "data.json"),
        lambda: destila.distill(DISTILL, teacher="run", output="student"),
        lambda: destila.export("run", "out"),
        lambda: destila.finetune(FINETUNE, model="run", output="second"),
    ):
        with pytest.raises(UserError, match=told):
            use()
    assert not {path.name for path in tmp_path.iterdir()} & {"student", "out", "second"}


def test_in_spanish_too() -> None:
    destila.finetune(FINETUNE, output="run", stop_after_seconds=NOW)
    speak("es")
    try:
        with pytest.raises(UserError) as caught:
            Reader.load("run")
        assert say_error(caught.value) == (
            "run: es una ejecución sin terminar (interrupted; guardada en el paso 1 de 4). "
            "Termínala: destila finetune --resume run."
        )
        with pytest.raises(UserError) as caught:
            dispatch(["finetune", "--resume", "run", "--training.batch-size", "3", "--training.seed", "9"])
        assert "\n  - --training.batch-size: se indica 3, y la ejecución tiene 4\n" in say_error(caught.value)
    finally:
        speak("en")
