"""finetune and distill from end to end at tiny size: files, baselines, kills, two processes, mistakes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import forked
from destila import Reader
from destila.cli.main import dispatch
from destila.core.errors import UserError
from destila.data.squad import save
from destila.data.windows import Window
from destila.training.recipe import without_some_negatives
from tiny import TEXTS, example, tiny_model, tiny_reader

ROOT = Path(__file__).parents[2]
FINETUNE = ["finetune", "--config", "configs/tiny/finetune.toml"]
DISTILL = ["distill", "--config", "configs/tiny/distill.toml"]


@pytest.fixture(scope="module", autouse=True)
def in_the_project() -> None:
    os.chdir(ROOT)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "teacher"
    dispatch([*FINETUNE, "--output", str(path)])
    return path


def test_finetune_leaves_a_whole_run(teacher: Path) -> None:
    names = {path.name for path in teacher.iterdir()}
    assert {"run.json", "settings.toml", "metrics.jsonl", "tensorboard", "checkpoints"} <= names
    assert {"config.json", "model.safetensors", "tokenizer.json", "destila.json"} <= names
    metadata = json.loads((teacher / "destila.json").read_text())
    assert metadata["window"] == {"length": 96, "stride": 32, "max_answer_tokens": 30}
    assert isinstance(metadata["no_answer_threshold"], float)
    answer = Reader.load(str(teacher)).answer("¿Quién?", "Lo hizo Carmen Ledesma.")
    assert answer.text is None or answer.text in "Lo hizo Carmen Ledesma."


def test_finetune_goes_on_from_a_reader_that_it_has_grown(teacher: Path, tmp_path: Path) -> None:
    config = json.loads((teacher / "config.json").read_text())
    larger = [config["num_hidden_layers"] + 1, config["num_attention_heads"], 2 * config["hidden_size"]]
    names = ("layers", "heads", "hidden", "feed_forward")
    shape = [
        f"--model.shape.{name}={value}"
        for name, value in zip(names, [*larger, config["intermediate_size"]], strict=True)
    ]
    path = tmp_path / "larger"
    start = ["--model.name", str(teacher), "--model.grow", "true", *shape]
    dispatch([*FINETUNE, *start, "--training.steps", "2", "--output", str(path)])
    grown = json.loads((path / "config.json").read_text())
    assert [grown[key] for key in ("num_hidden_layers", "num_attention_heads", "hidden_size")] == larger
    with pytest.raises(UserError, match="nothing to grow"):
        dispatch([*FINETUNE, "--model.grow", "true", "--output", str(tmp_path / "nothing")])
    with pytest.raises(UserError, match="hidden is 33, no multiple"):
        dispatch([*FINETUNE, *start, "--model.shape.hidden=33", "--model.shape.heads=1", "--output", str(path) + "2"])
    assert [each.name for each in tmp_path.iterdir()] == ["larger"]


def test_distill_trains_a_student_and_the_baseline(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*DISTILL, "--teacher.name", str(teacher)]
    capsys.readouterr()
    dispatch([*command, "--output", str(tmp_path / "student"), "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["steps"] == 6
    lines = [json.loads(line) for line in (tmp_path / "student" / "metrics.jsonl").read_text().splitlines()]
    assert {"task", "soft", "hidden", "attention", "loss"} <= set(lines[0])
    total = sum(lines[0][term] for term in ("task", "soft", "hidden", "attention"))
    assert lines[0]["loss"] == pytest.approx(total, rel=1e-4)  # all weights are one
    dispatch(
        [*command, "--config", "configs/baselines/student-alone.toml", "--output", str(tmp_path / "alone")],
    )
    alone = [json.loads(line) for line in (tmp_path / "alone" / "metrics.jsonl").read_text().splitlines()]
    assert "soft" not in alone[0]
    assert alone[0]["task"] == pytest.approx(lines[0]["task"], rel=1e-4)  # the same student, the same rows
    sizes = [
        sum(t.numel() for t in load_file(tmp_path / n / "model.safetensors").values()) for n in ("student", "alone")
    ]
    assert sizes[0] == sizes[1]


def long_answers(path: Path, answers: dict[str, str]) -> Path:
    """A file of one text of 300 words, about which is asked once for each answer; "" for a question without one."""
    words = " ".join(f"palabra{number}" for number in range(300))
    questions = [
        {
            "id": name,
            "question": "¿Qué?",
            "answers": [{"text": text, "answer_start": words.index(text)}] if text else [],
        }
        | {"is_impossible": not text}
        for name, text in answers.items()
    ]
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": words, "qas": questions}]}]}), encoding="utf-8")
    return path


@pytest.mark.parametrize("verb", ["finetune", "distill"])
def test_answers_that_fit_into_no_window_are_counted(
    teacher: Path, tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"palabra{number}" for number in range(300)]
    short = {"corta": "palabra7", "nada": ""}
    long = {"larga": " ".join(words[:80]), "otra": " ".join(words[90:190])}
    start = [*DISTILL, "--teacher.name", str(teacher)] if verb == "distill" else FINETUNE
    for name, answers in (("some", short | long), ("none", short)):
        data = long_answers(tmp_path / f"{name}.json", answers)
        files = ["--data.train", str(data), "--data.dev", str(data), "--output", str(tmp_path / f"{name}-{verb}")]
        dispatch([*start, *files, "--training.steps", "1"])
        lines = [line for line in capsys.readouterr().err.splitlines() if "answerable" in line]
        assert len(lines) == (name == "some")
        for line in lines:
            assert line.startswith('2 of 3 answerable questions are trained as "no answer"')
            assert "first: id larga. Raise window.length (96) or window.stride (32)." in line


def wait_for_steps(path: Path, steps: int, process: forked.Running) -> None:
    deadline = time.monotonic() + 120
    metrics = path / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text().count('"loss"') >= steps):
        assert process.poll() is None, "the process ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_kill_9_and_resume_gives_the_same_weights(teacher: Path, tmp_path: Path) -> None:
    command = [*DISTILL, "--teacher.name", str(teacher), "--training.steps", "18", "--training.evaluate_every", "5"]
    forked.finish(*command, "--output", tmp_path / "whole")
    killed = [*command, "--output", str(tmp_path / "killed")]
    for kill_after, resume in ((4, []), (11, ["--resume"])):
        process = forked.start(*killed, *resume)
        wait_for_steps(tmp_path / "killed", kill_after, process)
        process.send_signal(signal.SIGKILL)
        assert process.wait().returncode == -signal.SIGKILL
        assert not (tmp_path / "killed" / "config.json").exists()
    forked.finish(*killed, "--resume")
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "killed")]
    assert lines[0] == lines[1]


@pytest.mark.slow
def test_sigterm_saves_and_leaves_with_its_number(teacher: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    command = [*DISTILL, "--teacher.name", str(teacher), "--training.steps", "500", "--output", str(path)]
    process = forked.start(*command)
    wait_for_steps(path, 3, process)
    process.send_signal(signal.SIGTERM)
    left = process.wait(60)
    assert left.returncode == 128 + signal.SIGTERM
    assert "--resume" in left.stderr
    assert left.stdout == ""
    done = int(re.search(r"stopped at step (\d+)", left.stderr).group(1))  # type: ignore[union-attr]
    assert (path / "checkpoints" / f"step-{done:08d}" / "state.pt").exists()


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(teacher: Path, tmp_path: Path) -> None:
    plain = ["--student.dropout", "0", "--training.evaluate_every", "100", "--training.keep_best", "false"]
    command = [*DISTILL, "--teacher.name", str(teacher), *plain]
    forked.finish(*command, "--output", tmp_path / "one")
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "-m", "destila"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    two = [*launch, *command, "--output", str(tmp_path / "two")]
    result = subprocess.run(two, env=environment, capture_output=True, timeout=240, check=False)
    assert result.returncode == 0, result.stderr.decode()[-2000:]
    one, both = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(both[name], value, rtol=1e-3, atol=2e-5, msg=name)
    lines = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    for single, double in zip(*lines, strict=True):
        assert double["step"] == single["step"]
        if "loss" in single:
            assert double["loss"] == pytest.approx(single["loss"], rel=1e-4)


def test_training_needs_data(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.train"):
        dispatch(["finetune", "--output", str(tmp_path / "run")])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data.train", "missing.json"], "missing.json"),
        (["--window.length", "600"], "window.length"),
        (["--teacher.name", "nowhere/at-all"], "nowhere/at-all"),
        (["--teacher.name", "configs"], "configs"),
        (["--teacher.name", ""], "teacher.name"),
        (["--student.shape.heads", "4"], "heads"),
        (["--loss.layer_map", "[1, 9]"], "layer_map"),
        (["--loss.task", "0", "--loss.soft", "0", "--loss.hidden", "0", "--loss.attention", "0"], "loss"),
        (["--student.initial", "layers"], "initial"),
        (["--training.seed", "9" * 23], "--training.seed = .*less than or equal to 4294967295"),
    ],
)
def test_a_mistake_is_named_and_leaves_no_run(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], message: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # spares the time of trying in vain
    path = tmp_path / "run"
    with pytest.raises(UserError, match=message):
        dispatch([*DISTILL, "--teacher.name", str(teacher), *flags, "--output", str(path)])
    assert not path.exists()


def test_dev_data_without_labels_are_refused_before_a_run_is_opened(tmp_path: Path) -> None:
    save([example("1", "¿Qué es Lima?", TEXTS[0], labeled=False)], tmp_path / "unlabeled.json")
    flags = ["--data.dev", str(tmp_path / "unlabeled.json"), "--output", str(tmp_path / "run")]
    with pytest.raises(UserError, match=r"data\.dev \(.*/unlabeled\.json\): holds no labeled example"):
        dispatch([*FINETUNE, *flags])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("asked", [["--loss.soft", "1"], ["--loss.soft", "0", "--loss.gold_discount", "0.5"]])
def test_a_teacher_without_a_head_is_not_asked(tmp_path: Path, asked: list[str]) -> None:
    teacher = tiny_reader(tmp_path / "teacher")
    tiny_model().base_model.save_pretrained(teacher)
    flags = [*DISTILL, "--teacher.name", str(teacher), "--output", str(tmp_path / "run"), "--training.steps", "1"]
    with pytest.raises(UserError, match="teacher: has no question answering head, so it cannot answer"):
        dispatch([*flags, *asked])
    assert not (tmp_path / "run").exists()
    dispatch([*flags, "--loss.soft", "0"])
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_a_run_is_not_overwritten_unless_asked(teacher: Path) -> None:
    before = (teacher / "model.safetensors").read_bytes()
    with pytest.raises(UserError, match="--overwrite"):
        dispatch([*FINETUNE, "--output", str(teacher)])
    assert (teacher / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("at", ["", "inner"])
def test_a_run_that_is_made_of_what_it_would_replace_is_refused(teacher: Path, tmp_path: Path, at: str) -> None:
    path = tmp_path / "run"
    shutil.copytree(teacher, path)
    shutil.copytree(teacher, path / "inner")
    flags = ["--teacher.name", str(path / at), "--output", str(path), "--overwrite"]
    with pytest.raises(UserError, match=r"teacher\.name = .* lies there, and --overwrite would delete it"):
        dispatch([*DISTILL, *flags])
    assert (path / "model.safetensors").read_bytes() == (teacher / "model.safetensors").read_bytes()


def test_a_mistake_leaves_with_2_and_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "destila", "finetune", "--training.epoch", "3", "--output", str(tmp_path / "run")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "did you mean --training.epochs?" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_share_of_the_windows_without_an_answer_is_trained_on() -> None:
    offsets = np.zeros((0, 2), np.int32)
    plain = {"input_ids": np.arange(4, dtype=np.int32), "context_start": 1, "context_end": 3, "offsets": offsets}
    windows = [
        Window(example=number, **plain, labeled=number % 3 != 2, starts=(1,) * (number % 3 == 0))
        for number in range(300)
    ]
    some = without_some_negatives(windows, 0.25)
    assert [window for window in some if window.starts or not window.labeled] == [
        window for window in windows if window.starts or not window.labeled
    ]
    assert 10 <= len(some) - 200 <= 40  # of 100
    assert some == without_some_negatives(windows, 0.25)
    assert without_some_negatives(windows, 1.0) == windows
    assert len(without_some_negatives(windows, 0.0)) == 200
