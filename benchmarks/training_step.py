"""One distillation step at the paper's full sizes: Destila against a plain implementation of the published loop.

The plain loop pads every window to 384 tokens, runs eager attention with all attention maps and all hidden states of
both models, and then picks the layers that it needs. Destila pads to the longest window of a batch of about equal
lengths and keeps the layers of the layer map alone. Weights, rows, dropout, objective and AdamW are the same; the
losses of the first batch, without dropout, are printed for both and must agree.

Each variant runs in a process of its own (peak memory), and the processes take turns batch by batch (a busy machine
slows both). Times are medians over the rounds; examples per second are all examples over the sum of those medians.

Lengths come from the windows of a SQuAD file (--data), or else from a stored histogram: 9,446 Spanish questions on
Wikipedia and news paragraphs, cut into windows of 384 with stride 128 at 1.3 tokens a word, as a byte-level BPE gives.

    python benchmarks/training_step.py [--data data.json] [--batches 5] [--rounds 3] [--bf16]

The last line of stdout is one JSON object.
"""

import argparse
import itertools
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

WINDOW, STRIDE, TOKENS_PER_WORD, ROWS = 384, 128, 1.3, 8
# Every twentieth quantile of the window lengths of the questions named above; mean 201.
QUANTILES = [
    (40, 105, 126, 137, 144, 150, 156, 163, 170, 177, 185),
    (194, 203, 214, 223, 236, 255, 278, 309, 384, 384),
]
TEACHER = {"layers": 24, "heads": 16, "hidden": 1024, "feed_forward": 4096}
STUDENT = {"layers": 6, "heads": 16, "hidden": 512, "feed_forward": 3072}
VOCABULARY = 50_262  # tokens
VARIANTS = {"plain": "plain loop, fp32", "destila": "Destila, fp32", "destila-bf16": "Destila, bf16 autocast"}


# ------------------------------------------------------------------------------------------------ rows
def window_lengths(path: Path) -> list[int]:
    """Window lengths of a SQuAD file, estimated from its words."""
    lengths = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            context = round(TOKENS_PER_WORD * len(paragraph["context"].split()))
            for question in paragraph["qas"]:
                head = 4 + round(TOKENS_PER_WORD * len(question["question"].split()))
                room = WINDOW - head
                firsts = range(0, max(1, context - STRIDE), room - STRIDE) if context > room else range(1)
                lengths += [head + min(room, context - first) for first in firsts]
    return lengths


def stored_lengths() -> list[int]:
    """Lengths spread evenly between the stored quantiles."""
    quantiles = [length for half in QUANTILES for length in half]
    return [low + (high - low) * part // 10 for low, high in itertools.pairwise(quantiles) for part in range(10)]


def batches_of_lengths(lengths: list[int], count: int) -> list[list[int]]:
    """`count` batches of about equal lengths that together follow the distribution."""
    ordered = sorted(lengths)
    total = count * ROWS
    spread = [ordered[(2 * place + 1) * len(ordered) // (2 * total)] for place in range(total)]
    batches = [spread[first : first + ROWS] for first in range(0, total, ROWS)]
    random.Random(1).shuffle(batches)
    return batches


def make_batch(lengths: list[int], *, padded: int, seed: int) -> Any:
    """Random tokens of the given lengths; the same tokens whatever the padding."""
    import torch

    from destila.training.losses import TorchBatch

    ids = torch.randint(5, 50_000, (len(lengths), WINDOW), generator=torch.Generator().manual_seed(seed))[:, :padded]
    mask = torch.arange(padded) < torch.tensor(lengths)[:, None]
    gold = torch.zeros_like(mask)
    gold[:, 20] = True
    return TorchBatch(ids.where(mask, 1), mask.long(), mask, gold, gold)


# ------------------------------------------------------------------------------------------------ models and objectives
def build(shape: dict[str, int], seed: int) -> Any:
    """A random RoBERTa reader of the paper's vocabulary and positions."""
    from destila.config import ShapeSettings
    from destila.models.files import random_model

    return random_model(
        ShapeSettings(**shape),
        architecture="roberta",
        vocabulary_size=VOCABULARY,
        pad_id=1,
        longest=512,
        dropout=0.1,
        seed=seed,
    )


def plain_objective(teacher: Any, student: Any, projection: Any) -> Callable[[Any], Any]:
    """The published loop: everything recorded at full length, then the terms on the layers of the map."""
    import torch
    from torch.nn import functional

    for model in (teacher, student):
        model.set_attn_implementation("eager")
    record = {"output_hidden_states": True, "output_attentions": True}

    def spans(outputs: Any, mask: Any) -> list[Any]:
        return [
            logits.masked_fill(~mask, -1e30).log_softmax(-1) for logits in (outputs.start_logits, outputs.end_logits)
        ]

    def objective(batch: Any) -> Any:
        mask = batch.attention_mask.bool()
        count = mask.sum(1)
        with torch.no_grad():
            theirs = teacher(batch.input_ids, batch.attention_mask, **record)
        ours = student(batch.input_ids, batch.attention_mask, **record)
        our_spans, their_spans = spans(ours, mask), spans(theirs, mask)
        target = batch.start_positions.int().argmax(1)
        task = sum(functional.nll_loss(logits, target) for logits in our_spans) / 2
        soft = sum((t.exp() * (t - s)).sum(1).mean() for s, t in zip(our_spans, their_spans, strict=True))
        hidden = sum(
            ((projection(ours.hidden_states[m]) - theirs.hidden_states[4 * m]) ** 2 * mask[:, :, None]).mean(2).sum(1)
            / count
            for m in range(7)
        )
        pairs = (mask[:, :, None] & mask[:, None, :])[:, None]
        attention = sum(
            ((ours.attentions[m - 1] - theirs.attentions[4 * m - 1]) ** 2 * pairs).mean(1).sum((1, 2)) / count**2
            for m in range(1, 7)
        )
        return task + soft + hidden.mean() + attention.mean()

    return objective


def worker(variant: str) -> None:
    """Build one variant, then do one step for each line of lengths on stdin; an empty line ends it."""
    import torch

    from destila.config import LossSettings
    from destila.models.files import layer_map
    from destila.training.distillation_loss import DistillationLoss

    teacher, student = build(TEACHER, 1).requires_grad_(False), build(STUDENT, 2)
    mapping = layer_map("uniform", teacher_layers=24, student_layers=6)
    loss_fn = DistillationLoss(LossSettings(), teacher=teacher, student=student, mapping=mapping, seed=3)
    optimizer = torch.optim.AdamW([*student.parameters(), *loss_fn.parameters()], lr=3e-5, fused=variant != "plain")
    if variant == "plain":
        objective = plain_objective(teacher, student, loss_fn.projections[0])
    else:
        bf16: AbstractContextManager[Any] = nullcontext()
        if variant.endswith("bf16"):
            bf16 = torch.autocast("cpu", dtype=torch.bfloat16)
            teacher.to(torch.bfloat16)  # as `destila distill` does with training.precision = "bf16"

        def objective(batch: Any) -> Any:
            with bf16:
                return loss_fn(student, batch).total

    print(json.dumps({"ready": sum(p.numel() for m in (teacher, student) for p in m.parameters())}), flush=True)
    for number, line in enumerate(iter(lambda: sys.stdin.readline().strip(), "")):
        lengths = json.loads(line)
        batch = make_batch(lengths, padded=WINDOW if variant == "plain" else max(lengths), seed=sum(lengths))
        if number == 0:
            with torch.no_grad():
                loss = objective(batch).item()
            student.train()
        start = time.perf_counter()
        objective(batch).backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"loss": loss, "seconds": seconds, "peak_bytes": peak}), flush=True)


# ------------------------------------------------------------------------------------------------ taking turns
class Process:
    """A variant in its own process."""

    def __init__(self, variant: str) -> None:
        command = [sys.executable, __file__, "--worker", variant]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.read()

    def read(self) -> dict[str, float]:
        """Its next report."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a variant died: is there enough memory?")
        return dict(json.loads(line))

    def step(self, lengths: list[int]) -> dict[str, float]:
        """One training step; lengths [] ends the process."""
        assert self.process.stdin is not None
        print(json.dumps(lengths) if lengths else "", file=self.process.stdin, flush=True)
        return self.read() if lengths else {}


def measure(variants: list[str], batches: list[list[int]], rounds: int) -> list[dict[str, Any]]:
    """Rows of the table, the plain loop first."""
    processes = {variant: Process(variant) for variant in variants}
    seconds: dict[str, list[list[float]]] = {variant: [[] for _ in batches] for variant in variants}
    first, last = {}, {}
    for variant, process in processes.items():
        first[variant] = process.step(batches[0])  # warm-up, and the loss
    for number in range(rounds):
        for place, lengths in enumerate(batches):
            for variant, process in processes.items():
                last[variant] = process.step(lengths)
                seconds[variant][place].append(last[variant]["seconds"])
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    for process in processes.values():
        process.step([])
    examples = len(batches) * ROWS
    return [
        {
            "variant": variant,
            "loss": first[variant]["loss"],
            "examples_per_s": examples / sum(statistics.median(times) for times in seconds[variant]),
            "peak_bytes": int(last[variant]["peak_bytes"]),
        }
        for variant in variants
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="SQuAD JSON file to take the lengths from")
    parser.add_argument("--batches", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bf16", action="store_true", help="measure bf16 autocast, too")
    parser.add_argument("--worker", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker)
        return
    lengths = window_lengths(arguments.data) if arguments.data else stored_lengths()
    variants = [name for name in VARIANTS if arguments.bf16 or not name.endswith("bf16")]
    rows = measure(variants, batches_of_lengths(lengths, arguments.batches), arguments.rounds)
    plain = rows[0]
    for row in rows:
        row["speedup"] = row["examples_per_s"] / plain["examples_per_s"]
        row["memory_ratio"] = row["peak_bytes"] / plain["peak_bytes"]
        print(
            f"{VARIANTS[row['variant']]:<24} loss {row['loss']:.6f}  {row['examples_per_s']:6.3f} examples/s"
            f"  x {row['speedup']:.2f}  peak {row['peak_bytes'] / 1e9:.2f} GB  x {row['memory_ratio']:.2f}"
        )
    print(json.dumps({"mean_length": statistics.mean(lengths), "batch": ROWS, "rows": rows}))


if __name__ == "__main__":
    main()
