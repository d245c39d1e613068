"""The paper's models at their real sizes, end to end, by the paper's recipe or by the better one.

Teacher 354,309,122 parameters, student 51,211,778, random weights; fp32 on the CPU; no network. It proves that the
sizes are the paper's and that nothing on the way needs more memory than a laptop has; it says nothing about accuracy.

- paper: two distillation steps with all terms, one save, one load, one evaluation batch.
- best: what configs/paper/best.toml asks for: the teacher's importance and the student's birth, a step of its first
  stage (hidden states, attention divergence, relations, soft targets, all on a common scale), the teacher asked once
  for the cache, and a step of its second stage from the cache, the teacher gone. Only the windows are fewer: a real run
  measures the importance over 256 of them.

    python benchmarks/full_size.py [--recipe paper|best] [--rows 4] [--tokens 384] [--windows 8]

The last line of stdout is one JSON object.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models

from destila.config import DistillSettings, LossSettings, ShapeSettings, StudentSettings
from destila.config.loader import read_toml, resolve
from destila.data.windows import Window, collate
from destila.models.files import LoadedModel, build_student, layer_map, load_reader, save_reader, span_logits
from destila.models.pruning import born_from
from destila.training.distillation_loss import DistillationLoss, logits_alone
from destila.training.losses import to_tensors
from destila.training.stages import stages_to_do
from destila.training.teacher_cache import cached_logits
from training_step import STUDENT, TEACHER, VOCABULARY, build, make_batch

CONFIG = "best"
PARAMETERS = {"teacher": 354_309_122, "student": 51_211_778}


class Report:
    """Seconds and peak memory of each stage, printed as they come."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, float]] = {}
        self.start = time.perf_counter()

    def done(self, stage: str) -> None:
        """End a stage and begin the next."""
        seconds = time.perf_counter() - self.start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self.stages[stage] = {"seconds": round(seconds, 3), "peak_bytes": peak}
        print(f"{stage:<22} {seconds:8.2f} s   peak {peak / 1e9:5.2f} GB", flush=True)
        self.start = time.perf_counter()

    def record(self) -> dict[str, Any]:
        """All of it, for the last line."""
        return {"stages": self.stages, "peak_bytes": max(stage["peak_bytes"] for stage in self.stages.values())}


def make_windows(lengths: list[int]) -> list[Window]:
    """Windows of random tokens, as a question of 20 tokens and its context."""
    generator = np.random.default_rng(1)
    return [
        Window(
            example=number,
            input_ids=generator.integers(5, 50_000, length, dtype=np.int32),
            context_start=22,
            context_end=length - 1,
            offsets=np.zeros((0, 2), np.int32),
            starts=(30,),
            ends=(32,),
        )
        for number, length in enumerate(lengths)
    ]


def count(model: Any) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def placeholder_tokenizer() -> Tokenizer:
    """A tokenizer of the right size: the texts do not matter here."""
    return Tokenizer(models.WordLevel({f"t{number}": number for number in range(VOCABULARY)}, unk_token="t3"))


def distill(report: Report, *, rows: int, tokens: int) -> tuple[Any, Any, list[float]]:
    """Build both models and take two steps."""
    teacher = build(TEACHER, seed=1)
    report.done("teacher built")
    mapping = layer_map("uniform", teacher_layers=TEACHER["layers"], student_layers=STUDENT["layers"])
    settings = StudentSettings(shape=ShapeSettings(**STUDENT))
    loaded = LoadedModel(teacher, placeholder_tokenizer(), {}, "teacher")
    student = build_student(loaded, settings, mapping=mapping, seed=2)
    loss_fn = DistillationLoss(LossSettings(), teacher=teacher, student=student, mapping=mapping, seed=3)
    optimizer = torch.optim.AdamW([*student.parameters(), *loss_fn.parameters()], lr=3e-5, fused=True)
    report.done("student built")
    losses = []
    for step in range(2):
        batch = make_batch([tokens - 10 * row for row in range(rows)], padded=tokens, seed=step)
        loss = loss_fn(student.train(), batch).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        report.done(f"step {step + 1}")
    return teacher, student.eval(), losses


def best_recipe(report: Report, *, rows: int, tokens: int, windows: int) -> tuple[dict[str, int], list[float]]:
    """A step of each stage of configs/paper/best.toml. Returns the sizes of both models, and the losses."""
    inside, answers = stages_to_do(resolve(DistillSettings, read_toml(CONFIG)))
    teacher = build(TEACHER, seed=1)
    mapping = layer_map(inside.loss.layer_map, teacher_layers=TEACHER["layers"], student_layers=STUDENT["layers"])
    loaded = LoadedModel(teacher, placeholder_tokenizer(), {}, "teacher")
    student = build_student(loaded, inside.student, mapping=mapping, seed=2)
    sizes = {"teacher": count(teacher), "student": count(student)}
    cut = make_windows([tokens - 10 * (number % rows) for number in range(windows)])
    chosen, losses = cut[:rows], []
    batch = to_tensors(collate(chosen, pad_id=1))
    report.done("models built")
    with tempfile.TemporaryDirectory() as directory:
        born_from(student, teacher, mapping=mapping, windows=cut, directory=Path(directory))
        report.done("student born")
        for stage in (inside, answers):
            stored = logits_alone(stage.loss)
            if stored:
                batch = cached_logits([teacher], cut, directory=Path(directory)).add_to(batch, chosen)
                del teacher, loaded
                report.done("teacher asked")
            loss_fn = DistillationLoss(
                stage.loss,
                teacher=None if stored else teacher,
                student=student,
                mapping=mapping,
                seed=3,
                stored=stored,
            )
            if stage.loss.scale == "start":
                loss_fn.calibrate(student.eval(), [(batch, rows)])
                report.done("terms measured")
            losses.append(one_step(loss_fn, student, batch))
            report.done(f"step of {Path(stage.output).name}")
    return sizes, losses


def one_step(loss_fn: DistillationLoss, student: Any, batch: Any) -> float:
    """A training step with a fresh optimizer, and its loss."""
    optimizer = torch.optim.AdamW([*student.parameters(), *loss_fn.parameters()], lr=3e-5, fused=True)
    loss = loss_fn(student.train(), batch).total
    loss.backward()
    torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.item())


def save_and_load(report: Report, student: Any) -> tuple[Any, int]:
    """One round trip over the disk; the weights must come back as they were."""
    with tempfile.TemporaryDirectory() as directory:
        save_reader(student, placeholder_tokenizer(), {}, Path(directory))
        size = (Path(directory) / "model.safetensors").stat().st_size
        report.done("student saved")
        loaded = load_reader(directory).model
        report.done("student loaded")
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), loaded.parameters(), strict=True))
    return loaded, size


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=["paper", "best"], default="paper")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=384)
    parser.add_argument("--windows", type=int, default=8, help="of the importance and the cache of --recipe best")
    arguments = parser.parse_args()
    report = Report()
    if arguments.recipe == "best":
        options = {"rows": arguments.rows, "tokens": arguments.tokens}
        parameters, losses = best_recipe(report, windows=max(arguments.windows, arguments.rows), **options)
        assert parameters == PARAMETERS, parameters
        print(json.dumps({"parameters": parameters, "losses": losses, **report.record()}))
        return
    teacher, student, losses = distill(report, rows=arguments.rows, tokens=arguments.tokens)
    parameters = {"teacher": count(teacher), "student": count(student)}
    assert parameters == PARAMETERS, parameters
    loaded, size = save_and_load(report, student)
    batch = make_batch([arguments.tokens] * arguments.rows, padded=arguments.tokens, seed=9)
    with torch.inference_mode():
        start, end = span_logits(loaded, batch.input_ids, batch.attention_mask)
    assert start.isfinite().all()
    assert end.isfinite().all()
    report.done("evaluation batch")
    result = {"parameters": parameters, "losses": losses, "student_bytes": size}
    print(json.dumps({**result, **report.record()}))


if __name__ == "__main__":
    main()
