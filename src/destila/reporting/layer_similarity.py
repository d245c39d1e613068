"""How alike a teacher and a student are inside, layer by layer, on the same tokens of the same windows.

Shape legend: B batch (windows), T tokens, G units, D hidden, H heads, N real units of all windows; L teacher layers, M
student layers.

Hidden states of other widths are compared by linear CKA (Kornblith et al. 2019, "Similarity of neural network
representations revisited", equation 3 with linear kernels): ||Y'X||^2 / (||X'X|| ||Y'Y||) of centered (N, D) states, in
[0, 1], blind to rotations and scale, as the student's projection is trained away afterwards. Attention of other numbers
of heads is compared as the mean over heads: 1 - Jensen-Shannon divergence in bits of each token's distribution.

Units are tokens where both tokenizers cut the texts alike. Where they do not, a unit is a word of the context, and its
state the mean over its tokens; a word attends as its tokens do on average, and to a word as to all its tokens together.
The question with the special tokens around it is one unit then, and so is what follows the context.

Invariant: both models see the same text: windows whose units are not the same are left out. torch is imported only when
layers are compared.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from destila.core.errors import UserError
from destila.core.model_files import CONFIG_FILE, torch_weights
from destila.core.records import Example, Missing
from destila.data.sources import spread
from destila.data.windows import Window, WindowBuilder, collate, longest_window
from destila.reporting.facts import LayerAgreement, Matrix
from destila.reporting.provenance import Provenance, lineage

if TYPE_CHECKING:
    from torch import Tensor

WINDOW_TOKENS = 192  # longest window: attention grows with its square
BATCH = 4
WORDS_CHARACTERS = 400  # of a context that is compared by words: it fits a window by any tokenizer


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
    from destila.models.files import load_reader
    from destila.models.forward import refuse_recording

    try:
        ours, theirs = (load_reader(str(directory)) for _, directory in named)
        for model in (ours, theirs):
            refuse_recording(model.model.config, "the comparison of layers")
    except UserError as error:
        return Missing(f"a model cannot be loaded or looked into: {error}")
    pairs, unit = same_windows(ours, theirs, examples, windows), "tokens"
    if len(pairs) < min(windows, len(examples)) / 2:
        pairs, unit = same_words(ours, theirs, examples, windows), "words"
    if not pairs:
        return Missing("the two tokenizers cut these texts into other words.")
    mapping, trained = _mapping(student[1], ours.model.config, theirs.model.config)
    hidden, attention = _matrices(ours, theirs, pairs)
    return LayerAgreement(
        student=student[0],
        teacher=teacher[0],
        windows=len(pairs),
        tokens=sum(int(left.units.max()) + 1 for left, _ in pairs),
        mapping=mapping,
        trained=trained,
        hidden=hidden,
        attention=attention,
        unit=unit,
    )


def weights_of(model: Provenance) -> str | None:
    """The directory with weights for torch: the model's own, or that of what it was exported from."""
    if model.is_local and torch_weights(Path(model.name)) and (Path(model.name) / CONFIG_FILE).exists():
        return model.name
    exported = [parent for parent in model.parents if parent.role == "exported from"]
    return weights_of(exported[0]) if exported else None


def _mapping(student: Provenance, ours: Any, theirs: Any) -> tuple[tuple[int, ...], bool]:
    """The layer map of the run that made the student, else the uniform one."""
    from destila.models.files import layer_map

    kinds = [one.settings["loss"]["layer_map"] for one in reversed(lineage(student)) if "loss" in one.settings]
    sizes = {"teacher_layers": theirs.num_hidden_layers, "student_layers": ours.num_hidden_layers}
    try:
        return layer_map((kinds or ["uniform"])[0], **sizes), bool(kinds)
    except UserError:  # compared with another teacher than its own, or with a shallower one
        last = min(sizes.values())
        return tuple(min(layer, last) for layer in range(sizes["student_layers"] + 1)), False


@dataclass(frozen=True)
class Cut:
    """A window, and the unit that each of its tokens belongs to, (T,) from 0 without gaps."""

    window: Window
    units: NDArray[np.int64]


def same_windows(ours: Any, theirs: Any, examples: Sequence[Example], count: int) -> list[tuple[Cut, Cut]]:
    """The student's and the teacher's windows of at most `count` examples, where their tokens are the same pieces."""
    built = [_first_windows(one, spread(examples, count), _longest(ours, theirs)) for one in (ours, theirs)]
    return [
        (Cut(left, np.arange(len(left.input_ids))), Cut(right, np.arange(len(right.input_ids))))
        for left, right in zip(*built, strict=True)
        if len(left.input_ids) == len(right.input_ids) and np.array_equal(left.offsets, right.offsets)
    ]


def same_words(ours: Any, theirs: Any, examples: Sequence[Example], count: int) -> list[tuple[Cut, Cut]]:
    """The same for two tokenizers, by words: of the beginnings of the contexts, where both read them whole."""
    chosen = [replace(one, context=_beginning(one.context), answers=()) for one in spread(examples, count)]
    built = [_first_windows(one, chosen, _longest(ours, theirs)) for one in (ours, theirs)]
    pairs = []
    for left, right in zip(*built, strict=True):
        context = chosen[left.example].context
        cuts = Cut(left, _word_units(left, context)), Cut(right, _word_units(right, context))
        if all(cut.window.offsets[-1, 1] == len(context) for cut in cuts) and _all_words(cuts, context):
            pairs.append(cuts)
    return pairs


def _word_units(window: Window, context: str) -> NDArray[np.int64]:
    """(T,): 0 up to the context, then the number of the word in which a token begins, then one more."""
    starts = np.array([found.start() for found in re.finditer(r"\S+", context)])
    words = np.searchsorted(starts, window.offsets[:, 0], side="right")
    back = len(window.input_ids) - window.context_end
    return np.concatenate([np.zeros(window.context_start), words, np.full(back, len(starts) + 1)]).astype(np.int64)


def _all_words(cuts: Sequence[Cut], context: str) -> bool:
    expected = np.arange(len(context.split()) + 2)
    return all(np.array_equal(np.unique(cut.units), expected) for cut in cuts)


def _beginning(context: str) -> str:
    """The first whole words of a context."""
    text = context.strip()
    return text if len(text) <= WORDS_CHARACTERS else text[:WORDS_CHARACTERS].rpartition(" ")[0].rstrip()


def _longest(*models: Any) -> int:
    return min(WINDOW_TOKENS, *(longest_window(one.model.config.to_dict()) for one in models))


def _first_windows(one: Any, examples: Sequence[Example], length: int) -> list[Window]:
    """The first window of each example."""
    builder = WindowBuilder(one.tokenizer, length=length, stride=0, pad_id=int(one.model.config.pad_token_id))
    return [window for window in builder.build(list(examples)) if window.first_token == 0]


def _matrices(ours: Any, theirs: Any, pairs: Sequence[tuple[Cut, Cut]]) -> tuple[Matrix, Matrix]:
    """Hidden agreement (M + 1, L + 1) and attention agreement (M, L)."""
    import torch

    states: tuple[list[list[Tensor]], list[list[Tensor]]] = ([], [])  # by side, batch and layer
    sums: list[Tensor] = []
    with torch.inference_mode():
        for first in range(0, len(pairs), BATCH):
            batch = pairs[first : first + BATCH]
            left_states, left_maps, real = _inside(ours.model, [left for left, _ in batch])
            right_states, right_maps, _ = _inside(theirs.model, [right for _, right in batch])
            states[0].append(left_states)
            states[1].append(right_states)
            sums.append(_attention_agreement(left_maps, right_maps, real))
        left, right = ([torch.cat(layer) for layer in zip(*side, strict=True)] for side in states)  # (N, D) each
        hidden = tuple(tuple(_cka(one, other) for other in right) for one in left)
        attention = torch.stack(sums).sum(dim=0) / len(left[0])
    return hidden, tuple(tuple(row) for row in attention.tolist())


def _inside(model: Any, cuts: Sequence[Cut]) -> tuple[list["Tensor"], list["Tensor"], "Tensor"]:
    """Hidden states (N, D) of layers 0..L, attention (B, G, G) of layers 1..L as the mean over heads, and which units
    are real, (B, G).
    """
    import torch

    from destila.models.files import forward

    batch = collate([cut.window for cut in cuts], pad_id=int(model.config.pad_token_id))
    ids, mask = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)
    layers = range(model.config.num_hidden_layers + 1)
    outputs = forward(
        model, ids, mask, hidden_layers=layers, attention_layers=layers[1:], reduce=lambda layer, map: map.mean(dim=1)
    )
    members = torch.zeros(len(cuts), max(int(cut.units.max()) for cut in cuts) + 1, ids.shape[1])  # (B, G, T)
    for row, cut in enumerate(cuts):
        members[row, torch.from_numpy(cut.units), torch.arange(len(cut.units))] = 1
    sizes = members.sum(dim=2, keepdim=True)  # (B, G, 1)
    means, real = members / sizes.clamp(min=1), sizes[:, :, 0] > 0
    states = [(means @ outputs.hidden[layer])[real] for layer in layers]  # (N, D)
    return states, [means @ outputs.attention[layer] @ members.mT for layer in layers[1:]], real


def _cka(left: "Tensor", right: "Tensor") -> float:
    """Linear CKA of (N, D_s) and (N, D_t)."""
    x, y = (side.double() - side.double().mean(dim=0) for side in (left, right))
    norms = (x.T @ x).norm() * (y.T @ y).norm()
    return float((y.T @ x).norm() ** 2 / norms) if norms > 0 else 0.0


def _attention_agreement(ours: Sequence["Tensor"], theirs: Sequence["Tensor"], real: "Tensor") -> "Tensor":
    """Sum over the real units of 1 - Jensen-Shannon divergence in bits, (M, L); maps are (B, G, G)."""
    import torch

    left, right = ([map[real].double() for map in side] for side in (ours, theirs))  # (N, G) each
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
