"""What a teacher's activations look like over real windows: measured once, stored, and read by
`destila.models.pruning`.

Shape legend: B batch, T tokens, D hidden, H heads, d = D / H, L layers, F feed-forward units; states are numbered
0..2L: state 2l is the output of block l (0: the embeddings), state 2l - 1 what follows the attention of block l.

Mental model: a part of a network may go when what it adds does not vary; what is constant is folded into a bias. So all
that is kept of the activations is means and second moments over real tokens.

This module decides nothing. It knows the encoders that normalize after each sublayer (BERT, RoBERTa and their kin).
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from destila.core.caches import optional
from destila.core.errors import UserError
from destila.core.runs import atomic_file
from destila.data.sources import spread
from destila.data.windows import Window
from destila.models.fingerprints import fingerprint, model_fingerprint, windows_fingerprint
from destila.models.forward import forward, input_batches

PRUNABLE_TYPES = ("bert", "camembert", "roberta", "xlm-roberta")
WINDOWS = 256  # about 50,000 tokens: ten for each feed-forward unit of a large teacher
TOKENS = 4096  # of a batch


@dataclass(frozen=True)
class Importance:
    """Moments of a teacher's activations, float64."""

    # state_mean, state_variance: (2L + 1, D) of the states, which the linear maps read
    state_mean: Tensor
    state_variance: Tensor
    # sum_mean, sum_square: (2L + 1, D) of what enters the normalization that makes each state
    sum_mean: Tensor
    sum_square: Tensor
    # (D, D) orthonormal columns: the direction in which all channels are equal, then the principal directions of the
    # states, every state with the same say
    rotation: Tensor
    rotated_square: Tensor  # (2L + 1, D) as sum_square, along the columns of `rotation`
    # unit_mean, unit_variance: (L, F) of the feed-forward units after their activation function
    unit_mean: Tensor
    unit_variance: Tensor
    query: Tensor  # (L, H, d, d) second moments of the queries
    key: Tensor  # (L, H, d, d) covariance of the keys: what all keys share cancels in the softmax
    context_mean: Tensor  # (L, H, d) of what attention hands on; context: (L, H, d, d) its covariance
    context: Tensor


@dataclass(frozen=True)
class Block:
    """The modules of one encoder block, by what they do."""

    query: Any
    key: Any
    value: Any
    attention_output: Any
    attention_norm: Any
    up: Any
    down: Any
    output_norm: Any


def blocks_of(model: Any) -> list[Block]:
    """The blocks of an encoder, in order.

    Raises:
        UserError: the family is built otherwise.
    """
    if model.config.model_type not in PRUNABLE_TYPES:
        problem = f'is "teacher", and the teacher is a {model.config.model_type}'
        raise UserError("student.initial", problem, f'Supported: {", ".join(PRUNABLE_TYPES)}. Or take "random".')
    return [
        Block(
            query=layer.attention.self.query,
            key=layer.attention.self.key,
            value=layer.attention.self.value,
            attention_output=layer.attention.output.dense,
            attention_norm=layer.attention.output.LayerNorm,
            up=layer.intermediate.dense,
            down=layer.output.dense,
            output_norm=layer.output.LayerNorm,
        )
        for layer in model.base_model.encoder.layer
    ]


def norms_of(model: Any) -> list[Any]:
    """The normalizations, in the order of the states 0..2L that they make."""
    pairs = [(block.attention_norm, block.output_norm) for block in blocks_of(model)]
    return [model.base_model.embeddings.LayerNorm, *itertools.chain(*pairs)]


class _Moments:
    """Running sums of vectors over tokens: of the values, and of their squares or (for heads) outer products."""

    def __init__(self, *, outer: bool = False) -> None:
        self.outer, self.count = outer, 0
        self.sums: Any = 0
        self.products: Any = 0

    def add(self, values: Tensor) -> None:
        """Count (N, ...) values of N tokens."""
        self.count += len(values)
        values = values.double()  # else a variance far below the squared mean would drown
        products = torch.einsum("nhi,nhj->hij", values, values) if self.outer else values.square().sum(0)
        self.sums = self.sums + values.sum(0).cpu()
        self.products = self.products + products.cpu()

    @property
    def mean(self) -> Tensor:
        return self.sums / self.count  # type: ignore[no-any-return]

    @property
    def second(self) -> Tensor:
        """Mean square, or mean outer product."""
        return self.products / self.count  # type: ignore[no-any-return]

    @property
    def central(self) -> Tensor:
        """Variance, or covariance."""
        if self.outer:
            return self.second - self.mean[..., :, None] * self.mean[..., None, :]
        return (self.second - self.mean.square()).clamp(min=0)


Batches = Iterable[tuple[Tensor, Tensor]]


@torch.no_grad()
def measure(model: Any, batches: Batches) -> Importance:
    """Run a reader over batches of (input_ids, attention_mask), both (B, T), and keep the moments.

    Raises:
        UserError: the family of the reader cannot be pruned.
    """
    blocks, heads, norms = blocks_of(model), model.config.num_attention_heads, norms_of(model)
    batches = list(batches)
    rotation = _rotation(model, batches)
    moments: dict[str, list[_Moments]] = {
        "state": [_Moments() for _ in norms],
        "sum": [_Moments() for _ in norms],
        "rotated": [_Moments() for _ in norms],
        "unit": [_Moments() for _ in blocks],
        **{name: [_Moments(outer=True) for _ in blocks] for name in ("query", "key", "context")},
    }
    mask = torch.zeros(0)

    def count(into: _Moments, *, entering: bool = False, along: Tensor | None = None) -> Callable[..., None]:
        """A hook that counts what enters a module, or what leaves it, at real tokens."""

        def hook(_module: Any, inputs: Any, output: Any) -> None:
            values = (inputs[0] if entering else output)[mask]  # (N, width)
            if along is not None:
                values = values.double() @ along.to(values.device)
            into.add(values.unflatten(-1, (heads, -1)) if into.outer else values)

        return hook

    watched = [(norm, count(moments["state"][place])) for place, norm in enumerate(norms)]
    watched += [(norm, count(moments["sum"][place], entering=True)) for place, norm in enumerate(norms)]
    watched += [
        (norm, count(moments["rotated"][place], entering=True, along=rotation)) for place, norm in enumerate(norms)
    ]
    for place, block in enumerate(blocks):
        watched += [
            (block.query, count(moments["query"][place])),
            (block.key, count(moments["key"][place])),
            (block.attention_output, count(moments["context"][place], entering=True)),
            (block.down, count(moments["unit"][place], entering=True)),
        ]
    with _hooked(watched):
        for input_ids, attention_mask in batches:
            mask = attention_mask.bool()
            forward(model, input_ids, attention_mask)
    return _importance(moments, rotation)


@contextlib.contextmanager
def _hooked(watched: Sequence[tuple[Any, Callable[..., None]]]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module, hook in watched]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _rotation(model: Any, batches: Batches) -> Tensor:
    """The `Importance.rotation` of a model, (D, D)."""
    width, mask = model.config.hidden_size, torch.zeros(0)
    total = torch.zeros(width, width, dtype=torch.float64)

    def hook(_module: Any, _inputs: Any, output: Tensor) -> None:
        values = output[mask].double()  # (N, D)
        deviations = values - values.mean(0)
        scatter = deviations.T @ deviations
        total.add_((scatter / scatter.trace()).cpu())

    with _hooked([(norm, hook) for norm in norms_of(model)]):
        for input_ids, attention_mask in batches:
            mask = attention_mask.bool()
            forward(model, input_ids, attention_mask)
    even = torch.full((width, 1), width**-0.5, dtype=torch.float64)
    across = torch.eye(width, dtype=torch.float64) - even @ even.T
    # Within the complement of `even`, which comes out last, with the eigenvalue zero.
    directions = torch.linalg.eigh(across @ total @ across)[1].flip(1)[:, :-1]
    return torch.cat([even, directions], dim=1)


def _importance(moments: dict[str, list[_Moments]], rotation: Tensor) -> Importance:
    def stacked(name: str, kind: str) -> Tensor:
        return torch.stack([getattr(one, kind) for one in moments[name]])

    return Importance(
        state_mean=stacked("state", "mean"),
        state_variance=stacked("state", "central"),
        sum_mean=stacked("sum", "mean"),
        sum_square=stacked("sum", "second"),
        rotation=rotation,
        rotated_square=stacked("rotated", "second"),
        unit_mean=stacked("unit", "mean"),
        unit_variance=stacked("unit", "central"),
        query=stacked("query", "second"),
        key=stacked("key", "central"),
        context_mean=stacked("context", "mean"),
        context=stacked("context", "central"),
    )


def batches_of(model: Any, windows: Sequence[Window]) -> list[tuple[Tensor, Tensor]]:
    """(input_ids, attention_mask) of the windows, in batches, on the model's device."""
    return [(ids, mask) for _, ids, mask in input_batches(model, windows, token_budget=TOKENS)]


def importance_over(model: Any, windows: Sequence[Window], *, directory: Path) -> Importance:
    """The importance over windows spread evenly over the training data, from its file in `directory` if it is there.

    Raises:
        UserError: the family of the reader cannot be pruned; the file is torn.
    """
    blocks_of(model)
    sample = spread(windows, WINDOWS)
    name = fingerprint({"model": model_fingerprint(model), "windows": windows_fingerprint(sample)})
    return stored(directory / f"importance-{name}.safetensors", lambda: measure(model, batches_of(model, sample)))


def stored(path: Path, make: Callable[[], Importance]) -> Importance:
    """The importance in a file; where there is none yet, it is made and stored whole.

    Raises:
        UserError: the file is torn.
    """
    if path.exists():
        try:
            return Importance(**load_file(path))
        except (SafetensorError, TypeError) as error:
            raise UserError(str(path), f"is torn ({error})", "Delete it; it will be made again.") from error
    importance = make()
    tensors = {item.name: getattr(importance, item.name).contiguous() for item in fields(importance)}
    with optional("the importance"), atomic_file(path) as temporary:
        save_file(tensors, temporary)
    return importance
