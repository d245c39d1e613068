"""The paper's models at their real sizes, end to end: two distillation steps, one save, one load, one evaluation batch.

Teacher 354,309,122 parameters, student 51,211,778, random weights; fp32 on the CPU; no network. It proves that the
sizes are the paper's and that nothing on the way needs more memory than a laptop has; it says nothing about accuracy.

    python benchmarks/full_size.py [--rows 4] [--tokens 384]

The last line of stdout is one JSON object.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models

from destila.distillation import DistillationLoss
from destila.models import LoadedModel, build_student, layer_map, load_reader, save_reader, span_logits
from destila.settings import LossSettings, ShapeSettings, StudentSettings
from training_step import STUDENT, TEACHER, build, make_batch

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


def count(model: Any) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def placeholder_tokenizer() -> Tokenizer:
    """A tokenizer of the right size: the texts do not matter here."""
    return Tokenizer(models.WordLevel({f"t{number}": number for number in range(50_262)}, unk_token="t3"))


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
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=384)
    arguments = parser.parse_args()
    report = Report()
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
    result = {"parameters": parameters, "losses": losses, "student_bytes": size, "stages": report.stages}
    print(json.dumps({**result, "peak_bytes": max(stage["peak_bytes"] for stage in report.stages.values())}))


if __name__ == "__main__":
    main()
