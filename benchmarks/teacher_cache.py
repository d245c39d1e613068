"""What the teacher cache saves: one step of the prediction stage at the paper's sizes, with and without the teacher.

The loss looks at logits alone (task and soft targets). One step is the student's forward and backward pass and AdamW;
without the cache the teacher's forward pass comes before it. The two take turns over the same rows, whose lengths
follow those of real questions (see training_step.py); an epoch is so many such steps, so the ratio of the sums is that
of epochs. Filling the cache costs the teacher's passes of one epoch, once.

    python benchmarks/teacher_cache.py [--batches 4] [--rows 32] [--rounds 2]

The last line of stdout is one JSON object.
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from typing import Any

import torch

from destila.distillation import DistillationLoss
from destila.models import layer_map, span_logits
from destila.settings import LossSettings
from training_step import STUDENT, TEACHER, batches_of_lengths, build, make_batch, stored_lengths


def timed_step(loss_fn: Any, student: Any, optimizer: Any, batch: Any) -> tuple[float, float]:
    """Seconds of one training step, and its loss."""
    start = time.perf_counter()
    loss = loss_fn(student, batch).total
    loss.backward()
    torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return time.perf_counter() - start, loss.item()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    teacher, student = build(TEACHER, 1).eval(), build(STUDENT, 2).eval()
    mapping = layer_map("uniform", teacher_layers=24, student_layers=6)
    settings = LossSettings(hidden=0.0, attention=0.0)
    loss_fn = DistillationLoss(settings, teacher=teacher, student=student, mapping=mapping, seed=3)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-9, fused=True)  # the losses stay comparable
    times: dict[str, list[float]] = {"teacher": [], "cache": []}
    per_batch = arguments.rows // 8  # batches of eight rows of about equal lengths, joined
    lots = sorted(batches_of_lengths(stored_lengths(), arguments.batches * per_batch))
    for number in range(arguments.batches):
        lengths = [length for lot in lots[number * per_batch : (number + 1) * per_batch] for length in lot]
        batch = make_batch(lengths, padded=max(lengths), seed=number)
        with torch.no_grad():
            start, end = span_logits(teacher, batch.input_ids, batch.attention_mask)
        cached = replace(batch, teacher_start=start, teacher_end=end)
        rounds = [
            (timed_step(loss_fn, student, optimizer, batch), timed_step(loss_fn, student, optimizer, cached))
            for _ in range(arguments.rounds)
        ]
        assert abs(rounds[0][0][1] - rounds[0][1][1]) < 1e-3, "cached and uncached losses differ"
        for which, name in enumerate(times):
            times[name].append(statistics.median(pair[which][0] for pair in rounds))
        print(f"batch {number + 1}: {times['teacher'][-1]:.2f} s, {times['cache'][-1]:.2f} s cached", file=sys.stderr)
    plain, short = sum(times["teacher"]), sum(times["cache"])
    print(
        json.dumps(
            {"rows": arguments.rows, "seconds": plain, "seconds_cached": short, "speedup_per_epoch": plain / short}
        )
    )


if __name__ == "__main__":
    main()
