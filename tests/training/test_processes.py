"""A run depends on its own settings alone, whatever ran in the same process before."""

import json
from pathlib import Path
from typing import Any

import pytest
from accelerate import PartialState

import destila
from destila.config import TrainingSettings
from destila.training.processes import accelerator_of, device_of, is_main_process

ROOT = Path(__file__).parents[2]


def losses(path: Path) -> list[float]:
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_runs_and_stages_of_one_process_have_precisions_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    one_step: dict[str, Any] = {"steps": 1, "batch_size": 2}

    def finetune(name: str, precision: str, **changes: Any) -> Path:
        training = {**one_step, "precision": precision}
        output = tmp_path / name
        return destila.finetune("configs/tiny/finetune.toml", output=output, training=training, **changes).path

    first, half, again = (losses(finetune(name, name[:4])) for name in ("fp32", "bf16", "fp32-again"))
    assert first == again
    assert half != first
    stages = [{"name": "half", "training": {"precision": "bf16"}}, {"name": "whole"}]
    last = finetune("staged", "fp32", stages=stages)
    assert losses(tmp_path / "staged-half") == half
    teacher = {"name": last, "cache": tmp_path / "cache"}
    student = destila.distill(
        "configs/tiny/distill.toml",
        teacher=teacher,
        output=tmp_path / "student",
        training={**one_step, "precision": "bf16"},
    )
    assert student.finished


def test_the_device_is_that_of_each_run() -> None:
    for device in ("cpu", "auto", "cpu"):
        settings = TrainingSettings(device=device)
        accelerator = accelerator_of(settings)
        assert PartialState()._cpu == (device == "cpu")
        assert accelerator.device == device_of(settings)
        assert is_main_process()
