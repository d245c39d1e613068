"""A loss of your own: the gold answers and the teacher's, each where the other is silent, without any other term.

    destila finetune --config configs/tiny/finetune.toml
    destila distill --config configs/tiny/distill.toml --loss examples.own_loss:loss

or, from Python, `destila.distill("configs/tiny/distill.toml", loss=loss)`. The batch brings what the teacher says of
its rows (`teacher_start`, `teacher_end`), computed once before training.
"""

from typing import Any

import torch

import destila
from destila.models.forward import span_logits
from destila.training.losses import TorchBatch, soft_loss, task_loss

DOUBT = 0.3  # how much of the loss is the teacher's


def loss(student: Any, batch: TorchBatch) -> destila.Loss:
    """Cross-entropy with the gold answers, and divergence from the teacher: each a mean over rows."""
    start, end = span_logits(student, batch.input_ids, batch.attention_mask)  # (rows, tokens)
    mask = batch.attention_mask.bool()
    task = task_loss(start, end, batch.start_positions, batch.end_positions, mask)
    assert batch.teacher_start is not None
    assert batch.teacher_end is not None
    soft = soft_loss(start, end, batch.teacher_start, batch.teacher_end, mask, 2.0)
    total = torch.lerp(task, soft, DOUBT)
    return destila.Loss(total, {"task": task.detach(), "soft": soft.detach()})


if __name__ == "__main__":
    destila.finetune("configs/tiny/finetune.toml", overwrite=True)
    result = destila.distill("configs/tiny/distill.toml", loss=loss, overwrite=True)
    print(result.path, result.best_score)
