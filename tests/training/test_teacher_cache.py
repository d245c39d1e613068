"""Cached logits are the teacher's: same losses, never stale, never torn, and the teacher does not run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from destila.config import LossSettings
from destila.core.errors import UserError
from destila.data.windows import Window, WindowBatches, WindowBuilder, collate
from destila.models.files import forward
from destila.training.distillation_loss import DistillationLoss
from destila.training.losses import to_tensors
from destila.training.teacher_cache import cached_logits, mean_distribution
from tiny import pad_token_id, tiny_examples, tiny_model, tiny_tokenizer

PAD = pad_token_id()
LOGITS_ALONE = LossSettings(soft=1.0, hidden=0.0, attention=0.0, temperature=2.0, gold_discount=0.5)


def reader(seed: int = 0, layers: int = 2) -> Any:
    model = tiny_model(seed=seed, layers=layers)
    model.set_attn_implementation("destila")
    with torch.no_grad():
        model.qa_outputs.weight.mul_(10)
    return model


def windows(length: int = 44) -> list[Window]:
    builder = WindowBuilder(tiny_tokenizer(), length=length, stride=10, pad_id=PAD)
    return builder.build([*tiny_examples(), *tiny_examples()])  # questions and contexts that come twice


def rows_of(all_windows: list[Window]) -> list[list[Window]]:
    batches = WindowBatches(all_windows, batch_size=5, seed=1)
    return [list(batches.at(step)) for step in range(2 * batches.steps_per_epoch)]


def test_cached_and_uncached_give_the_same_losses(tmp_path: Path) -> None:
    teacher, student, all_windows = reader(1, layers=3), reader(2), windows()
    cache = cached_logits([teacher], all_windows, directory=tmp_path)
    loss_fn = DistillationLoss(LOGITS_ALONE, teacher=teacher, student=student, mapping=(0, 1, 3), seed=1)
    assert loss_fn.needs_logits_alone
    for rows in rows_of(all_windows):
        batch = to_tensors(collate(rows, pad_id=PAD))
        plain, cached = loss_fn(student, batch), loss_fn(student, cache.add_to(batch, rows))
        assert list(plain.parts) == list(cached.parts) == ["task", "soft"]
        for name, part in plain.parts.items():
            assert cached.parts[name].item() == pytest.approx(part.item(), rel=1e-5)
    teacher.forward = None  # calling it fails
    loss_fn(student, cache.add_to(batch, rows)).total.backward()
    with pytest.raises(TypeError):
        loss_fn(student, batch)


@pytest.mark.parametrize("term", ["hidden", "attention", "relations"])
def test_a_loss_that_looks_inside_runs_the_teacher(term: str, tmp_path: Path) -> None:
    teacher, student, all_windows = reader(1), reader(2), windows()
    weights = {"hidden": 0.0, "attention": 0.0, "relation_heads": 4, term: 1.0}
    loss_fn = DistillationLoss(LossSettings(**weights), teacher=teacher, student=student, mapping=(0, 1, 2), seed=1)
    assert not loss_fn.needs_logits_alone
    batch = cached_logits([teacher], all_windows, directory=tmp_path).add_to(
        to_tensors(collate(all_windows[:3], pad_id=PAD)), all_windows[:3]
    )
    assert term in loss_fn(student, batch).parts


def test_a_mean_of_teachers_is_the_mean_of_their_probabilities(tmp_path: Path) -> None:
    teachers, all_windows = [reader(1), reader(2), reader(3)], windows()
    cache = cached_logits(teachers, all_windows, directory=tmp_path)
    rows = all_windows[3:7]
    batch = to_tensors(collate(rows, pad_id=PAD))
    got = cache.add_to(batch, rows)
    for row, window in enumerate(rows):
        ids = torch.from_numpy(window.input_ids.astype(np.int64))[None]
        with torch.no_grad():
            outputs = [forward(teacher, ids, torch.ones_like(ids)) for teacher in teachers]
        expected = torch.stack([output.end_logits[0].softmax(-1) for output in outputs]).mean(0)
        tokens = len(window.input_ids)
        assert torch.allclose(got.teacher_end[row, :tokens].softmax(-1), expected, atol=1e-6)
    assert torch.allclose(mean_distribution(torch.zeros(2, 4)).exp(), torch.full((4,), 0.25))


def test_the_teacher_works_once_for_the_same_weights_and_windows(tmp_path: Path) -> None:
    teacher, all_windows = reader(1), windows()
    cached_logits([teacher], all_windows, directory=tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size == pytest.approx(8 * sum(len(w.input_ids) for w in all_windows), abs=200)
    run, teacher.forward = teacher.forward, None
    cached_logits([teacher], all_windows, directory=tmp_path)
    teacher.forward = run
    cached_logits([teacher], windows(48), directory=tmp_path)  # other window settings
    cached_logits([teacher], all_windows[1:], directory=tmp_path)  # other data
    with torch.no_grad():
        teacher.qa_outputs.bias[0] += 1e-6  # another teacher
    cached_logits([teacher], all_windows, directory=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_place_where_nothing_can_be_written_costs_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    teacher, all_windows = reader(1), windows()
    kept = cached_logits([teacher], all_windows, directory=tmp_path / "good")
    (tmp_path / "file").write_text("I am no directory")
    for _ in range(2):
        made = cached_logits([teacher], all_windows, directory=tmp_path / "file" / "cache")
        assert np.array_equal(made.arrays[0], kept.arrays[0])
        teacher.forward = None  # the second time it is read
    assert len(caplog.records) == 1
    assert "cannot be written" in caplog.text


def test_a_teacher_in_bf16_has_files_of_its_own_and_nearly_the_same_answers(tmp_path: Path) -> None:
    teacher, all_windows = reader(1), windows()
    wide, narrow = (
        cached_logits([teacher], all_windows, directory=tmp_path, precision=precision).arrays[0]
        for precision in ("fp32", "bf16")
    )
    assert len(list(tmp_path.glob("logits-*.npy"))) == 2
    error = np.abs(np.asarray(wide) - np.asarray(narrow))
    assert error.max() > 0
    assert error.mean() < 0.05 * np.asarray(wide).std()
    teacher.forward = None  # calling it fails
    again = cached_logits([teacher], all_windows, directory=tmp_path, precision="bf16")
    assert (again.arrays[0] == narrow).all()


def test_a_failure_leaves_nothing_and_a_torn_file_is_named(tmp_path: Path) -> None:
    teacher, all_windows = reader(1), windows()
    run, calls = teacher.forward, []

    def failing(*inputs: Any, **keywords: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return run(*inputs, **keywords)

    teacher.forward = failing
    many = all_windows * 40  # more than one batch
    with pytest.raises(KeyboardInterrupt):
        cached_logits([teacher], many, directory=tmp_path)
    assert list(tmp_path.iterdir()) == []
    teacher.forward = run
    cached_logits([teacher], all_windows, directory=tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for kept in (0, 40, len(whole) - 100):
        file.write_bytes(whole[:kept])
        with pytest.raises(UserError, match="is torn"):
            cached_logits([teacher], all_windows, directory=tmp_path)
    np.save(file, np.zeros((2, 3), np.float32))
    with pytest.raises(UserError, match=r"holds float32 of shape \(2, 3\)"):
        cached_logits([teacher], all_windows, directory=tmp_path)
