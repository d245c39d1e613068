"""Trackers for real, on this disk: the numbers arrive, a resumed run goes on in its run, and none stops training."""

import json
import shutil
import threading
import time
from pathlib import Path

import pytest

from destila.cli.main import dispatch
from destila.core.errors import UserError
from destila.training import trackers
from destila.training.trackers import Boards, require_trackers

pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    (path / "settings.toml").write_text('seed = 1\n[data]\ntrain = ["a", "b"]\n[training]\nsteps = 4\n')
    return path


def show(run: Path, *trackers: str, steps: range) -> None:
    boards = Boards(run, trackers)
    for step in steps:
        boards.log({"loss": 1 / step, "note": "no number"}, step=step)
    boards.close()


def test_mlflow_gets_the_numbers_and_the_settings_and_a_resumed_run_goes_on(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    show(run, "mlflow", steps=range(1, 3))
    show(run, "mlflow", steps=range(3, 5))
    client = mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("destila")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == "run"
    assert found.info.run_id == (run / "trackers" / "mlflow").read_text().strip()
    assert found.data.params == {"seed": "1", "data.train": "['a', 'b']", "training.steps": "4"}
    history = client.get_metric_history(found.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(step, 1 / step) for step in range(1, 5)]
    assert set(found.data.metrics) == {"loss"}


def test_wandb_works_offline_and_goes_on_in_the_same_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    show(run, "wandb", steps=range(1, 3))
    assert "loss 0.5" in capfd.readouterr().err, "its own summary of what it has got"
    name = (run / "trackers" / "wandb").read_text().strip()
    show(run, "wandb", steps=range(3, 5))
    assert "loss 0.25" in capfd.readouterr().err
    assert len(list((tmp_path / "wandb").glob(f"offline-run-*-{name}/run-{name}.wandb"))) == 2


def test_trackio_keeps_the_settings_and_goes_on_in_its_own_run_of_that_name(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trackio = pytest.importorskip("trackio")
    from trackio import sqlite_storage

    monkeypatch.setattr(sqlite_storage, "TRACKIO_DIR", tmp_path / "trackio")
    monkeypatch.setattr("trackio.utils.TRACKIO_DIR", tmp_path / "trackio")
    other = tmp_path / "elsewhere" / "run"  # a run of the same name
    shutil.copytree(run, other)
    show(run, "trackio", steps=range(1, 3))
    show(other, "trackio", steps=range(1, 2))
    show(run, "trackio", steps=range(3, 5))
    names = [(path / "trackers" / "trackio").read_text().strip() for path in (run, other)]
    assert all(name.startswith("run-") for name in names)
    found = {one.name: one for one in trackio.Api().runs("destila")}
    assert sorted(found) == sorted(names)
    for name, steps in zip(names, (4, 1), strict=True):
        config = {key: value for key, value in found[name].config.items() if not key.startswith("_")}
        assert config == {"seed": 1, "data.train": "['a', 'b']", "training.steps": 4}
        logged = sqlite_storage.SQLiteStorage.get_logs("destila", name)
        assert [(row["step"], row["loss"]) for row in logged] == [(step, 1 / step) for step in range(1, steps + 1)]


def test_training_shows_its_numbers_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    path = tmp_path / "reader"
    flags = ["--training.steps", "2", "--output", str(path), "--trackers", "mlflow"]
    dispatch(["finetune", "--config", "configs/tiny/finetune.toml", *flags])
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    client = mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
    (found,) = client.search_runs([client.get_experiment_by_name("destila").experiment_id])
    for name in ("loss", "dev_f1"):
        history = client.get_metric_history(found.info.run_id, name)
        assert [point.value for point in history] == [line[name] for line in lines if name in line]
    assert any((path / "tensorboard").iterdir())
    assert "trackers" not in (path / "settings.toml").read_text(), "a run may be resumed with others"


class Failing:
    """A tracker that breaks at the second number, as a server does that goes away."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def log(self, _: object, *, step: int) -> None:
        if self.taken:
            raise ConnectionError("gone")
        self.taken.append(step)

    def finish(self) -> None:
        raise AssertionError("it has failed already")


@pytest.mark.usefixtures("messages_on_stderr")
def test_a_tracker_that_fails_is_named_once_and_left_out(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = Failing()
    monkeypatch.setitem(trackers._START, "mlflow", lambda *_: (tracker, "id"))
    monkeypatch.setitem(trackers._START, "wandb", lambda *_: 1 / 0)
    show(run, "mlflow", "wandb", steps=range(1, 9))
    said = capsys.readouterr().err
    assert said.count("mlflow fails and is left out (gone)") == 1
    assert said.count("wandb fails and is left out (division by zero)") == 1
    assert tracker.taken == [1]
    assert not (run / "trackers" / "wandb").exists()
    assert any((run / "tensorboard").iterdir())


@pytest.mark.usefixtures("messages_on_stderr")
def test_a_tracker_that_hangs_holds_nobody_up(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forever, begun = threading.Event(), list[threading.Thread]()

    def hang(*_: object) -> None:
        begun.append(threading.current_thread())
        forever.wait(20)
        raise ConnectionError("gone")

    monkeypatch.setitem(trackers._START, "mlflow", hang)
    monkeypatch.setattr(trackers, "FINISH_SECONDS", 0.2)
    started = time.monotonic()
    show(run, "mlflow", steps=range(1, 5))
    assert time.monotonic() - started < 10
    assert "mlflow has not taken everything" in capsys.readouterr().err
    forever.set()
    begun[0].join(10)  # what it says now belongs to this test, and not into the log of another
    assert not begun[0].is_alive()
    assert "mlflow fails and is left out" in capsys.readouterr().err


def test_a_tracker_that_is_not_installed_is_an_error_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"trackio is not installed. .*pip install 'destila\[trackio\]'"):
        require_trackers(["trackio"])
    flags = ["--trackers", "mlflow", "--trackers", "wandb", "--output", str(tmp_path / "run")]
    with pytest.raises(UserError, match=r"(?s)mlflow is not.*wandb is not.*destila\[mlflow,wandb\]"):
        dispatch(["finetune", "--config", "configs/tiny/finetune.toml", *flags])
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="trackers"):
        dispatch(["finetune", "--config", "configs/tiny/finetune.toml", "--trackers", "excel"])
