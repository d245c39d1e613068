"""How alike a teacher and a student are inside, layer by layer, on the same tokens of the same windows.

Shape legend: B batch (windows), T tokens, D hidden, H heads, N real tokens of all windows; L teacher layers, M student
layers.

Hidden states of other widths are compared by linear CKA (Kornblith et al. 2019, "Similarity of neural network
representations revisited", equation 3 with linear kernels): ||Y'X||^2 / (||X'X|| ||Y'Y||) of centred (N, D) states, in
[0, 1], blind to rotations and scale, as the student's projection is trained away afterwards. Attention of other numbers
of heads is compared as the mean over heads: 1 - Jensen-Shannon divergence in bits of each token's distribution.

Invariant: both models see the same tokens: windows whose tokens stand for other characters in the other tokenizer are
left out. torch is imported only when layers are compared.
"""

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from destila.errors import UserError
from destila.provenance import Provenance, lineage
from destila.records import Example
from destila.reporting.facts import LayerAgreement, Matrix, Missing
from destila.windows import Window, WindowBuilder, collate, longest_window

if TYPE_CHECKING:
    from torch import Tensor

WINDOW_TOKENS = 192  # longest window: attention grows with its square
BATCH = 4


def compare_layers(
    student: tuple[str, Provenance], teacher: tuple[str, Provenance], examples: Sequence[Example], *, windows: int
) -> LayerAgreement | Missing:
    """Agreement of all pairs of layers.

    Args:
        student, teacher: label and origin; weights are taken from the model itself or from what it was exported from.
        windows: compare on so many, evenly spread over the examples; 0: do not compare.
    """
    if not windows:
        return Missing("it was switched off (--layer-windows 0).")
    if find_spec("torch") is None or find_spec("transformers") is None:
        return Missing("torch is not installed, and an exported reader shows its answers alone.")
    named = [(label, weights_of(origin)) for label, origin in (student, teacher)]
    if gone := [label for label, directory in named if directory is None]:
        return Missing(f"the weights that torch needs are not here for {' and '.join(gone)}: an export holds none.")
    from destila.models import load_reader

    try:
        ours, theirs = (load_reader(str(directory)) for _, directory in named)
    except UserError as error:
        return Missing(f"a model cannot be loaded: {error}")
    pairs = same_windows(ours, theirs, examples, windows)
    if not pairs:
        return Missing("the two tokenizers cut these texts into other tokens.")
    mapping, trained = _mapping(student[1], ours.model.config, theirs.model.config)
    hidden, attention = _matrices(ours, theirs, pairs)
    return LayerAgreement(
        student=student[0],
        teacher=teacher[0],
        windows=len(pairs),
        tokens=sum(len(left.input_ids) for left, _ in pairs),
        mapping=mapping,
        trained=trained,
        hidden=hidden,
        attention=attention,
    )


def weights_of(model: Provenance) -> str | None:
    """The directory with weights for torch: the model's own, or that of what it was exported from."""
    if any(Path(model.name).glob("*.safetensors")) and (Path(model.name) / "config.json").exists():
        return model.name
    exported = [parent for parent in model.parents if parent.role == "exported from"]
    return weights_of(exported[0]) if exported else None


def _mapping(student: Provenance, ours: Any, theirs: Any) -> tuple[tuple[int, ...], bool]:
    """The layer map of the run that made the student, else the uniform one."""
    from destila.models import layer_map

    kinds = [one.settings["loss"]["layer_map"] for one in reversed(lineage(student)) if "loss" in one.settings]
    sizes = {"teacher_layers": theirs.num_hidden_layers, "student_layers": ours.num_hidden_layers}
    try:
        return layer_map((kinds or ["uniform"])[0], **sizes), bool(kinds)
    except UserError:  # compared with another teacher than its own, or with a shallower one
        last = min(sizes.values())
        return tuple(min(layer, last) for layer in range(sizes["student_layers"] + 1)), False


def same_windows(ours: Any, theirs: Any, examples: Sequence[Example], count: int) -> list[tuple[Window, Window]]:
    """The student's and the teacher's windows of at most `count` examples, where their tokens are the same pieces."""
    chosen = [examples[place * len(examples) // count] for place in range(count)] if len(examples) > count else examples
    built = []
    length = min(WINDOW_TOKENS, *(longest_window(one.model.config.to_dict()) for one in (ours, theirs)))
    for one in (ours, theirs):
        builder = WindowBuilder(one.tokenizer, length=length, stride=0, pad_id=int(one.model.config.pad_token_id))
        built.append([window for window in builder.build(list(chosen)) if window.first_token == 0])
    return [
        (left, right)
        for left, right in zip(*built, strict=True)
        if len(left.input_ids) == len(right.input_ids) and np.array_equal(left.offsets, right.offsets)
    ]


def _matrices(ours: Any, theirs: Any, pairs: Sequence[tuple[Window, Window]]) -> tuple[Matrix, Matrix]:
    """Hidden agreement (M + 1, L + 1) and attention agreement (M, L)."""
    import torch

    states: tuple[list[list[Tensor]], list[list[Tensor]]] = ([], [])  # by side, batch and layer
    sums: list[Tensor] = []
    with torch.inference_mode():
        for first in range(0, len(pairs), BATCH):
            batch = pairs[first : first + BATCH]
            left_states, left_maps, mask = _inside(ours.model, [left for left, _ in batch])
            right_states, right_maps, _ = _inside(theirs.model, [right for _, right in batch])
            states[0].append(left_states)
            states[1].append(right_states)
            sums.append(_attention_agreement(left_maps, right_maps, mask))
        left, right = ([torch.cat(layer) for layer in zip(*side, strict=True)] for side in states)  # (N, D) each
        hidden = tuple(tuple(_cka(one, other) for other in right) for one in left)
        attention = torch.stack(sums).sum(dim=0) / len(left[0])
    return hidden, tuple(tuple(row) for row in attention.tolist())


def _inside(model: Any, windows: Sequence[Window]) -> tuple[list["Tensor"], list["Tensor"], "Tensor"]:
    """Hidden states (N, D) of layers 0..L, attention (B, T, T) of layers 1..L as the mean over heads, mask (B, T)."""
    import torch

    from destila.models import forward

    batch = collate(windows, pad_id=int(model.config.pad_token_id))
    ids, mask = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)
    layers = range(model.config.num_hidden_layers + 1)
    outputs = forward(
        model, ids, mask, hidden_layers=layers, attention_layers=layers[1:], reduce=lambda layer, map: map.mean(dim=1)
    )
    states = [outputs.hidden[layer][mask.bool()] for layer in layers]  # (N, D)
    return states, [outputs.attention[layer] for layer in layers[1:]], mask


def _cka(left: "Tensor", right: "Tensor") -> float:
    """Linear CKA of (N, D_s) and (N, D_t)."""
    x, y = (side.double() - side.double().mean(dim=0) for side in (left, right))
    norms = (x.T @ x).norm() * (y.T @ y).norm()
    return float((y.T @ x).norm() ** 2 / norms) if norms > 0 else 0.0


def _attention_agreement(ours: Sequence["Tensor"], theirs: Sequence["Tensor"], mask: "Tensor") -> "Tensor":
    """Sum over the real tokens of 1 - Jensen-Shannon divergence in bits, (M, L); maps are (B, T, T)."""
    import torch

    rows = mask.bool()  # (B, T)
    left, right = ([map[rows].double() for map in side] for side in (ours, theirs))  # (N, T) each
    ours_entropy, theirs_entropy = [_entropy(map) for map in left], [_entropy(map) for map in right]
    return torch.tensor(
        [
            [
                float((1 - _entropy((p + q) / 2) + (hp + hq) / 2).sum())
                for q, hq in zip(right, theirs_entropy, strict=True)
            ]
            for p, hp in zip(left, ours_entropy, strict=True)
        ]
    )


def _entropy(rows: "Tensor") -> "Tensor":
    """In bits, (N,) of (N, T) distributions."""
    bits: Tensor = -rows.xlogy(rows).sum(dim=-1) / math.log(2)
    return bits
