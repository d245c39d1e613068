"""The two losses of pre-training, and what the training loop needs to know to minimize them.

Shape legend: B batch (rows), T tokens, D hidden, K masked places of a row, M answers of a row, V vocabulary.

Mental model: the student is a question answering model. Its span head learns to point at what a question lacks, with
the loss of fine-tuning; beside it, a head that shares the word embeddings guesses the masked words. Hidden states are
gathered at the K masked places before they meet the vocabulary, so the widest matrix product sees a seventh of the
tokens. The model that is saved is the student alone: `destila finetune` goes on from it, span head and all.

Invariants: as in `destila.training.losses`, each loss is a mean over rows of a quantity of one row. Rows hold no
padding, so attention needs no mask and runs on its fastest kernel. This module reads no text.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from destila.data.synthetic.masking import IGNORED
from destila.data.synthetic.rows import Rows
from destila.training.losses import Loss, task_loss, tensors_of

# Outside of the compiled graph: where a mask is known to be all ones, the compiler of torch 2.13 loses the part of the
# gradient that goes through the sum of the softmax (seen on a CPU under bf16 autocast). It is a thousandth of the work.
_span_loss: Callable[..., Tensor] = torch.compiler.disable(task_loss)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class PretrainingBatch:
    """`rows.Rows` as tensors."""

    input_ids: Tensor  # (B, T) int64
    # places, labels: (B, K) int64
    places: Tensor
    labels: Tensor
    # start_positions, end_positions: (B, T) bool, as in `losses.TorchBatch`
    start_positions: Tensor
    end_positions: Tensor


def to_tensors(rows: Rows, device: torch.device | str = "cpu") -> PretrainingBatch:
    """Move rows to a device."""
    ids, places, labels, starts, ends = (tensor.long() for tensor in tensors_of(rows, device).values())
    length = ids.shape[1]
    return PretrainingBatch(ids, places, labels, _multi_hot(starts, length), _multi_hot(ends, length))


def _multi_hot(positions: Tensor, length: int) -> Tensor:
    """(B, M) positions -> (B, T) bool; -1 falls into a column ahead of the first, which is cut off."""
    hot = torch.zeros(len(positions), length + 1, dtype=torch.bool, device=positions.device)
    return hot.scatter(1, positions + 1, True)[:, 1:]


class PretrainingLoss(nn.Module):
    """Masked words and recurring spans, (student, batch) -> Loss.

    The head is RoBERTa's: a layer, GELU, normalization, then the word embeddings as its last matrix, and a bias.

    Args:
        config: of the student.
        masking, cloze: weights of the two losses.
        seed: of the head's weights.
    """

    def __init__(self, config: Any, *, masking: float, cloze: float, seed: int) -> None:
        super().__init__()
        self.masking, self.cloze = masking, cloze
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.dense = nn.Linear(config.hidden_size, config.hidden_size)
            nn.init.normal_(self.dense.weight, std=config.initializer_range)
        nn.init.zeros_(self.dense.bias)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, student: Any, batch: PretrainingBatch) -> Loss:
        """The weighted losses of a batch; `exact` is the share of the questions whose best span is a right one."""
        encoder = getattr(student, student.base_model_prefix)
        hidden = encoder(input_ids=batch.input_ids).last_hidden_state  # (B, T, D)
        start_logits, end_logits = student.qa_outputs(hidden).unbind(-1)  # (B, T)
        starts, ends = batch.start_positions, batch.end_positions
        span = _span_loss(start_logits, end_logits, starts, ends, torch.ones_like(batch.input_ids))
        masked = span.new_zeros(())
        if batch.places.shape[1]:
            masked = self.masked_loss(hidden, encoder.embeddings.word_embeddings.weight, batch)
        right = _at_best(start_logits, starts) & _at_best(end_logits, ends)
        exact = right.sum() / starts.any(dim=1).sum().clamp(min=1)
        total = self.masking * masked + self.cloze * span
        return Loss(total, {"masked": masked.detach(), "span": span.detach(), "exact": exact.detach()})

    def masked_loss(self, hidden: Tensor, embeddings: Tensor, batch: PretrainingBatch) -> Tensor:
        """Mean over rows of the mean cross-entropy of a row's masked tokens.

        Args:
            hidden: (B, T, D).
            embeddings: (V, D).
        """
        places = batch.places[..., None].expand(-1, -1, hidden.shape[-1])
        states = hidden.gather(1, places)  # (B, K, D)
        states = self.norm(functional.gelu(self.dense(states)))
        logits = functional.linear(states, embeddings, self.bias)  # (B, K, V)
        losses = functional.cross_entropy(
            logits.float().flatten(0, 1), batch.labels.flatten(), reduction="none", ignore_index=IGNORED
        ).view_as(batch.labels)
        counted = (batch.labels != IGNORED).sum(dim=1).clamp(min=1)
        return (losses.sum(dim=1) / counted).mean()


def _at_best(logits: Tensor, gold: Tensor) -> Tensor:
    """(B,) whether the highest logit of each row is at a gold position."""
    return gold.gather(1, logits.argmax(dim=1, keepdim=True)).squeeze(1)


def flops_per_token(config: Any, *, length: int, places: int) -> float:
    """Floating-point operations of a training step per token: six for each weight in a matrix product, and attention.

    After Chowdhery et al. 2022, appendix B; the vocabulary counts at the masked places only.
    """
    width = config.hidden_size
    weights = config.num_hidden_layers * (4 * width**2 + 2 * width * config.intermediate_size)
    head = (config.vocab_size * width + width**2) * places / length
    attention = 12 * config.num_hidden_layers * width * length
    return float(6 * (weights + head) + attention)


@torch.no_grad()
def held_out_scores(loss_fn: PretrainingLoss, student: Any, rows: Rows, *, batch_size: int) -> dict[str, float]:
    """The losses over rows that training never sees; `score` is the negative of their weighted sum."""
    was_training, device = student.training, next(student.parameters()).device
    student.eval()
    sums: dict[str, float] = {}
    for first in range(0, len(rows), batch_size):
        part = rows[first : first + batch_size]
        loss = loss_fn(student, to_tensors(part, device))
        for name, value in {**loss.parts, "score": -loss.total}.items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(part) / len(rows)
    student.train(was_training)
    return sums
