"""What one step does with the gradient: AdamW, and a learning rate that rises and falls along the budget.

Invariant: the learning rate is a pure function of how much of the budget is spent, so that a resumed run needs no state
for it. This module runs no step.
"""

import torch
from torch import nn

from destila.config import TrainingSettings


def learning_rate_factor(step: float, *, steps: float, warmup: float) -> float:
    """Linear warm-up over the first `warmup * steps` steps, then linear decay to zero after the last."""
    rising = round(steps * warmup)
    if step < rising:
        return (step + 1) / rising
    return (steps - step) / max(1, steps - rising)


def optimizer_for(module: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW without weight decay on biases and normalization weights (everything with fewer than two dimensions)."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        fused=True,
    )
