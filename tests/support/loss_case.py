"""Rows of different lengths, a small model, and each term by plain loops: what the tests of losses share."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from destila.config import ShapeSettings
from destila.models.files import random_model
from destila.training.losses import TorchBatch

ROWS, TOKENS, HEADS = 3, 6, 2
REAL = (6, 4, 2)
Array = NDArray[np.float64]
MASK = torch.arange(TOKENS) < torch.tensor(REAL)[:, None]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def gold(*positions: tuple[int, ...]) -> Tensor:
    marks = torch.zeros(ROWS, TOKENS, dtype=torch.bool)
    for row, places in enumerate(positions):
        marks[row, list(places)] = True
    return marks


def softmax(values: list[float]) -> list[float]:
    highest = max(values)
    powers = [math.exp(value - highest) for value in values]
    return [power / sum(powers) for power in powers]


def model(architecture: str = "roberta", *, layers: int = 2, hidden: int = 8, heads: int = 2, seed: int = 1) -> object:
    shape = ShapeSettings(layers=layers, heads=heads, hidden=hidden, feed_forward=2 * hidden)
    built = random_model(
        shape, architecture=architecture, vocabulary_size=40, pad_id=1, longest=28, dropout=0.0, seed=seed
    )
    with torch.no_grad():
        for parameter in built.parameters():  # wide weights, so that attention is not uniform
            parameter.mul_(10 if parameter.dim() > 1 else 1)
    return built.double()


def batch(*, tokens: int = TOKENS, rows: slice = slice(None)) -> TorchBatch:
    ids = torch.randint(3, 40, (ROWS, TOKENS), generator=torch.Generator().manual_seed(3)).where(MASK, 1)
    marks = [gold((1, 3), (0,), (1,)), gold((4,), (0,), (1,))]
    padded = [
        torch.nn.functional.pad(tensor, (0, tokens - TOKENS), value=value)
        for tensor, value in ((ids, 1), (MASK.long(), 0), (MASK, False), (marks[0], False), (marks[1], False))
    ]
    return TorchBatch(*(tensor[rows] for tensor in padded))


def task_reference(start: Array, end: Array, start_gold: Array, end_gold: Array) -> float:
    total = 0.0
    for row, real in enumerate(REAL):
        for logits, marks in ((start, start_gold), (end, end_gold)):
            probabilities = softmax(list(logits[row, :real]))
            chosen = sum(p for place, p in enumerate(probabilities) if marks[row, place])
            if marks[row].any():
                total += -math.log(chosen) / 2
    return total / ROWS


def soft_reference(student: list[Array], teacher: list[Array], temperature: float) -> float:
    total = 0.0
    for row, real in enumerate(REAL):
        for ours, theirs in zip(student, teacher, strict=True):
            q = softmax([value / temperature for value in ours[row, :real]])
            p = softmax([value / temperature for value in theirs[row, :real]])
            total += temperature**2 * sum(p[i] * (math.log(p[i]) - math.log(q[i])) for i in range(real))
    return total / ROWS


def hidden_reference(student: Array, teacher: Array, weight: Array) -> float:
    total = 0.0
    for row, real in enumerate(REAL):
        error = 0.0
        for token in range(real):
            for unit in range(teacher.shape[2]):
                projected = sum(student[row, token, i] * weight[unit, i] for i in range(student.shape[2]))
                error += (projected - teacher[row, token, unit]) ** 2
        total += error / (real * teacher.shape[2])
    return total / ROWS


def attention_reference(student: Array, teacher: Array) -> float:
    total = 0.0
    for row, real in enumerate(REAL):
        error = 0.0
        for head in range(HEADS):
            for query in range(real):
                for key in range(real):
                    error += (student[row, head, query, key] - teacher[row, head, query, key]) ** 2
        total += error / (HEADS * real * real)
    return total / ROWS
