"""Run a reader, and record of its inside exactly what is asked for.

Shape legend: B batch, T tokens, D hidden, H heads, L layers.

Layers are numbered as in the paper: hidden state 0 is the embedding output (what enters the first block), hidden state
l is the output of block l, attention map l belongs to block l (1-based). The last hidden state of a ModernBERT is taken
after its final normalization, as transformers does.

Invariant: a layer whose map is not asked for runs on the fast sdpa kernel. Where it is asked for, the probabilities
are computed once, before dropout, and the layer's output is made of them. What to record travels through the call's own
keyword arguments, so recording holds no state between calls: it is re-entrant and survives DistributedDataParallel and
gradient checkpointing. This module builds and loads nothing.

A DeBERTa computes its attention by a formula of its own: it answers and shows its hidden states, but nothing of its
attention can be recorded.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from destila.core.errors import UserError
from destila.data.windows import Window, collate, inference_batches

ATTENTION = "destila"  # name under which our attention function is registered with transformers
SEGMENTED_TYPES = ("bert", "electra")  # read token types, as the tokenizer's template of pairs gives them
UNRECORDED_TYPES = ("deberta-v2",)  # the type of v3, too

Vectors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Outputs:
    """What one forward pass gave."""

    # start_logits, end_logits: (B, T)
    start_logits: torch.Tensor
    end_logits: torch.Tensor
    hidden: dict[int, torch.Tensor]  # {layer: (B, T, D)} for the layers asked
    # {layer: (B, H, T, T)} softmax(q k^T / sqrt(d)) of the layers asked, before dropout; or what `reduce` made of them;
    # or, when they were asked lazily, `LazyMap`s
    attention: dict[int, Any]
    # {layer: (queries, keys, values)} of the layers asked, each (B, H, T, D / H)
    vectors: dict[int, Vectors] = field(default_factory=dict)


Reduce = Callable[[int, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class LazyMap:
    """An attention map that is computed when it is needed: until then 2 B T D numbers instead of B H T T."""

    query: torch.Tensor
    key: torch.Tensor
    mask: torch.Tensor | None
    scaling: float

    def compute(self) -> torch.Tensor:
        """The map, (B, H, T, T)."""
        return _attention_map(self.query, self.key, mask=self.mask, scaling=self.scaling)


@dataclass(frozen=True)
class _Recorder:
    """What is asked of the attention of one call; it travels down to the attention function as a keyword argument."""

    layers: frozenset[int]
    reduce: Reduce | None
    lazy: bool
    vector_layers: frozenset[int]
    kept: dict[int, Any] = field(default_factory=dict)
    vectors: dict[int, Vectors] = field(default_factory=dict)


def _attention(
    module: Any,
    query: torch.Tensor,  # (B, H, T, D / H), as key and value
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # (B, 1, T, T) bool, true where a query may look; None: everywhere
    *,
    recorder: _Recorder | None = None,
    **keywords: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function that transformers calls in every layer: (B, T, H, D / H), and no map by this way."""
    layer = module.layer_idx + 1
    if recorder is not None and layer in recorder.vector_layers:
        recorder.vectors[layer] = (query, key, value)  # the kernel reads them anyway: recording costs nothing
    if recorder is not None and layer in recorder.layers:
        if not recorder.lazy:
            return _recorded(layer, query, key, value, attention_mask, recorder=recorder, **keywords), None
        recorder.kept[layer] = LazyMap(query, key, attention_mask, keywords["scaling"])
    if _products_are_faster(query, attention_mask, dropout=keywords.get("dropout", 0.0)):
        return _by_products(query, key, value, attention_mask, scaling=keywords["scaling"]), None
    output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **keywords)
    return output, None


# ---------------------------------------------------------------------------------------------------- bf16 on a CPU
def _products_are_faster(query: torch.Tensor, mask: torch.Tensor | None, *, dropout: float) -> bool:
    """Whether to train this layer by `_ProductAttention`: in bf16 on a CPU, if all queries see the same keys.

    There the backward pass of the sdpa kernel takes 175 to 350 ms for a layer of 32 x 12 x 208 x 32, and the plain
    products take 60 to 80. Without a gradient, in fp32 and on a GPU the kernel is the faster of the two.
    """
    in_bf16_on_cpu = query.device.type == "cpu" and query.dtype == torch.bfloat16
    if not in_bf16_on_cpu or not torch.is_grad_enabled() or dropout:
        return False
    # Sliding layers, such as a ModernBERT's, show each query keys of its own.
    return mask is None or (mask.dtype == torch.bool and bool((mask == mask[:, :, :1]).all()))


def _by_products(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, *, scaling: float
) -> torch.Tensor:
    """The layer's output (B, T, H, D / H), of a mask (B, 1, T, T) whose rows are all the same."""
    bias = query.new_zeros(len(query), 1, 1, key.shape[2])
    if mask is not None:
        bias = bias.masked_fill(~mask[:, :, :1], torch.finfo(query.dtype).min)
    with torch.autocast(query.device.type, enabled=False):
        output: torch.Tensor = _ProductAttention.apply(query, key, value, bias, scaling)  # type: ignore[no-untyped-call]
    return output.transpose(1, 2)


class _ProductAttention(torch.autograd.Function):
    """softmax(query key^T * scaling + bias) value as matrix products; keeps the map for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        rows, heads, tokens, _ = query.shape
        q, k, v = (each.flatten(0, 1) for each in (query * scaling, key, value))  # (B * H, T, D / H)
        biases = bias.expand(rows, heads, 1, tokens).flatten(0, 1)
        map = torch.baddbmm(biases, q, k.transpose(1, 2)).softmax(-1)
        ctx.save_for_backward(q, k, v, map)
        ctx.scaling, ctx.shape = scaling, query.shape
        return torch.bmm(map, v).view(query.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, map = ctx.saved_tensors
        gradient = gradients[0].reshape(q.shape)
        of_map = torch.bmm(gradient, v.transpose(1, 2))
        of_scores = torch._softmax_backward_data(of_map, map, -1, map.dtype)
        found = (
            torch.bmm(of_scores, k).mul_(ctx.scaling),
            torch.bmm(of_scores.transpose(1, 2), q),
            torch.bmm(map.transpose(1, 2), gradient),
        )
        return *(each.view(ctx.shape) for each in found), None, None


# ---------------------------------------------------------------------------------------------------- maps
def _recorded(
    layer: int,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    recorder: _Recorder,
    scaling: float,
    dropout: float,
    **_: Any,
) -> torch.Tensor:
    """Make the layer's output (B, T, H, D / H) of its map, and keep the map or what `reduce` makes of it."""

    def run(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        probabilities = _attention_map(query, key, mask=mask, scaling=scaling)
        dropped = torch.nn.functional.dropout(probabilities, dropout)  # 0 in evaluation mode
        output = torch.matmul(dropped.to(value.dtype), value)  # (B, H, T, D / H)
        kept = probabilities if recorder.reduce is None else recorder.reduce(layer, probabilities)
        return output.transpose(1, 2).contiguous(), kept

    if recorder.reduce is None or not torch.is_grad_enabled():
        output, recorder.kept[layer] = run(query, key, value)
    else:
        # Autograd would hold four tensors of (B, H, T, T) for each layer, 75 MB each at 8 x 16 x 384 x 384.
        output, recorder.kept[layer] = checkpoint(run, query, key, value, use_reentrant=False)
    return output


def _attention_map(
    query: torch.Tensor, key: torch.Tensor, *, mask: torch.Tensor | None, scaling: float
) -> torch.Tensor:
    """softmax(query key^T * scaling) over the keys that the mask allows, at least in fp32, whatever autocast says.

    Args:
        query, key: (B, H, T, D / H).
        mask: (B, 1, T, T) bool; None allows every key.
    """
    with torch.autocast(query.device.type, enabled=False):
        scores = torch.matmul(at_least_fp32(query * scaling), at_least_fp32(key).transpose(2, 3))  # (B, H, T, T)
        if mask is not None:
            # The lowest finite number rather than -inf: a padded query that sees no key gets a uniform row, not NaN.
            lowest = torch.finfo(scores.dtype).min
            scores = scores.masked_fill_(~mask, lowest)
        return scores.softmax(dim=-1)


def at_least_fp32(tensor: torch.Tensor) -> torch.Tensor:
    """float64 stays, everything narrower becomes float32."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def unwrapped(model: Any) -> Any:
    """The transformers model inside of DistributedDataParallel and its like."""
    while hasattr(model, "module"):
        model = model.module
    return model


def attention_implementation(model_type: str) -> str:
    """The name of the attention function for a family: ours, or its own where it cannot be replaced."""
    return "eager" if model_type in UNRECORDED_TYPES else ATTENTION


def refuse_recording(config: Any, where: str) -> None:
    """Raise a `UserError` if nothing of a model's attention can be recorded."""
    if config.model_type in UNRECORDED_TYPES:
        problem = f"looks at attention, and that of a {config.model_type} cannot be recorded"
        raise UserError(where, problem, "Leave attention and relations out, or take a model of another family.")


def type_separators(config: Any) -> int:
    """How many separators stand before the first token of type 1; 0: the model reads no types, or they are all 0."""
    if config.model_type not in SEGMENTED_TYPES or config.type_vocab_size < 2:
        return 0
    return int(getattr(config, "type_separators", 1))  # 1: BERT's own template


def _inputs(config: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """The model's keyword arguments; token types are found by counting separators: no third input is needed."""
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
    if count := type_separators(config):
        separators = (input_ids == config.sep_token_id).long()
        context = (separators.cumsum(1) - separators >= count).long()
        inputs["token_type_ids"] = context * attention_mask.long()
    return inputs


def forward(
    model: Any,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    hidden_layers: Sequence[int] = (),
    attention_layers: Sequence[int] = (),
    vector_layers: Sequence[int] = (),
    reduce: Reduce | None = None,
    lazy: bool = False,
) -> Outputs:
    """Run a reader and keep what is asked for, nothing else.

    Args:
        model: built or loaded by Destila; if DistributedDataParallel wraps it, the wrapper is called.
        input_ids, attention_mask: (B, T) integers.
        hidden_layers: which of the hidden states 0..L to keep.
        attention_layers: which of the attention maps 1..L to compute.
        vector_layers: of which layers 1..L to keep queries, keys and values; those of a ModernBERT are rotated.
        reduce: what to keep of each map, given its layer and the map, such as a loss; the map is then dropped at once
            and computed again in the backward pass. None: keep the map itself.
        lazy: keep `LazyMap`s, without reducing them; the layers run on the fast kernel.

    Raises:
        UserError: maps or vectors are asked of a family whose attention cannot be recorded.
    """
    if attention_layers or vector_layers:
        refuse_recording(unwrapped(model).config, "the recording")
    recorder = _Recorder(frozenset(attention_layers), reduce, lazy, frozenset(vector_layers))
    extras: dict[str, Any] = {"recorder": recorder} if attention_layers or vector_layers else {}
    if hidden_layers:
        extras["output_hidden_states"] = list(hidden_layers)  # transformers keeps None for the others
    outputs = model(**_inputs(unwrapped(model).config, input_ids, attention_mask), **extras)
    hidden = {layer: outputs.hidden_states[layer] for layer in hidden_layers}
    attention = {layer: recorder.kept[layer] for layer in attention_layers}
    return Outputs(outputs.start_logits, outputs.end_logits, hidden, attention, recorder.vectors)


def input_batches(
    model: Any, windows: Sequence[Window], *, token_budget: int
) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
    """Windows in batches, longest first: their places in the list, input_ids and attention_mask on the model's device.

    Args:
        token_budget: padded tokens of a batch, at most.
    """
    pad_id, device = int(model.config.pad_token_id), model.device
    for places in inference_batches(windows, token_budget=token_budget):
        batch = collate([windows[place] for place in places], pad_id=pad_id)
        ids, mask = (torch.from_numpy(array).to(device) for array in (batch.input_ids, batch.attention_mask))
        yield places, ids, mask


def span_logits(model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Start and end logits, both (B, T), of (B, T) inputs."""
    outputs = forward(model, input_ids, attention_mask)
    return outputs.start_logits, outputs.end_logits


class SpanModule(torch.nn.Module):
    """`span_logits` as a module: what exporters trace."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Start and end logits, both (B, T)."""
        return span_logits(self.model, input_ids, attention_mask)
