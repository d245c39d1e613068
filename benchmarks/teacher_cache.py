"""What the teacher cache saves: one training step at the paper's sizes, with and without the teacher.

Three steps take turns over the same rows, whose lengths follow those of real questions (see training_step.py): the
paper's (all terms), one of a loss of logits alone that runs the teacher, and the same from cached logits. A step is the
student's forward and backward pass and AdamW, and the teacher's forward pass where it runs; an epoch is so many such
steps, so ratios of seconds are those of epochs. Filling the cache costs the teacher's passes of one epoch, once.

What to expect is arithmetic: at about 200 tokens the teacher takes some 630 million operations a token for its forward
pass, and the student 160 million for forward and backward, so that a loss of logits gains 1 + 630 / 160 = 4.9 where
both run equally well and AdamW is free. `arithmetic` in the result is this figure for the rows that are measured. An
epoch of the paper's objective costs more than one of the teacher's logits: maps, hidden states and projections besides.

    python benchmarks/teacher_cache.py [--batches 4] [--rows 32] [--rounds 2] [--cpu-time]

With --cpu-time, one thread's own time is counted: other work on the machine then hardly matters.

The last line of stdout is one JSON object.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from destila.config import LossSettings
from destila.models.files import layer_map, span_logits
from destila.training.distillation_loss import DistillationLoss
from training_step import STUDENT, TEACHER, batches_of_lengths, build, make_batch, stored_lengths


def forward_operations(shape: dict[str, int], length: int) -> int:
    """Floating-point operations of a forward pass over a row: linear maps, then scores and averages of attention."""
    width = shape["hidden"]
    linear = 8 * width**2 + 4 * width * shape["feed_forward"]
    return shape["layers"] * length * (linear + 4 * width * length)


def arithmetic(lengths: list[int]) -> float:
    """The gain over a loss of logits if every operation took the same time; a backward pass is two forward ones."""
    teacher, student = (sum(forward_operations(shape, each) for each in lengths) for shape in (TEACHER, STUDENT))
    return 1 + teacher / (3 * student)


def timed_step(
    loss_fn: Any, student: Any, optimizer: Any, batch: Any, *, clock: Callable[[], float]
) -> tuple[float, float]:
    """Seconds of one training step, and its loss."""
    start = clock()
    loss = loss_fn(student, batch).total
    loss.backward()
    torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return clock() - start, loss.item()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="one thread, and its own time alone")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    if arguments.cpu_time:
        torch.set_num_threads(1)
    teacher, student = build(TEACHER, 1).eval(), build(STUDENT, 2).eval()
    mapping = layer_map("uniform", teacher_layers=24, student_layers=6)
    objectives = {
        name: DistillationLoss(settings, teacher=teacher, student=student, mapping=mapping, seed=3)
        for name, settings in (("paper", LossSettings()), ("logits", LossSettings(hidden=0.0, attention=0.0)))
    }
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-9, fused=True)  # the losses stay comparable
    times: dict[str, list[float]] = {"paper": [], "logits": [], "cached": []}
    per_batch = arguments.rows // 8  # batches of eight rows of about equal lengths, joined
    lots = sorted(batches_of_lengths(stored_lengths(), arguments.batches * per_batch))
    for number in range(arguments.batches):
        lengths = [length for lot in lots[number * per_batch : (number + 1) * per_batch] for length in lot]
        batch = make_batch(lengths, padded=max(lengths), seed=number)
        with torch.no_grad():
            start, end = span_logits(teacher, batch.input_ids, batch.attention_mask)
        cached = replace(batch, teacher_start=start, teacher_end=end)
        steps = {
            "paper": (objectives["paper"], batch),
            "logits": (objectives["logits"], batch),
            "cached": (objectives["logits"], cached),
        }
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        losses = {}
        for _ in range(arguments.rounds):
            for name, (loss_fn, rows) in steps.items():
                taken, losses[name] = timed_step(loss_fn, student, optimizer, rows, clock=clock)
                seconds[name].append(taken)
        assert abs(losses["logits"] - losses["cached"]) < 1e-3, "cached and uncached losses differ"
        for name, taken_each in seconds.items():
            times[name].append(statistics.median(taken_each))
        said = ", ".join(f"{name} {times[name][-1]:.2f} s" for name in times)
        print(f"batch {number + 1}: {said}", file=sys.stderr)
    totals = {name: sum(values) for name, values in times.items()}
    speedups = {f"speedup_over_{name}": totals[name] / totals["cached"] for name in ("logits", "paper")}
    expected = arithmetic([length for lot in lots for length in lot])
    print(json.dumps({"rows": arguments.rows, "seconds": totals, "arithmetic": expected, **speedups}))


if __name__ == "__main__":
    main()
