"""A larger encoder that computes what a smaller one has learned: wider, deeper, and trained on from there.

Shape legend: D hidden, L layers; of the larger encoder D' = k D and L'.

Mental model: a small encoder learns fast and a large one learns more, so on little compute the beginning is learned
small. The larger one begins as the same function (Net2Net: Chen et al. 2016; for transformers bert2BERT: Chen et al.
2022; other than there, copies differ in every weight that reads them, and layers are added silent, not stacked):

- wider: every channel, head and feed-forward unit stands there k times. What reads it divides its weight among the k
  by shares that are drawn for each weight, so that the copies get different gradients and part. A normalization divides
  by the same deviation over k copies of all channels, so nothing changes.
- deeper: ahead of each layer come silent ones, which read with its matrices and write nothing yet. RoBERTa normalizes
  after it has added, so even a silent layer divides by a deviation that varies a little from token to token; its gain
  and bias make up for the average. Ahead, so that layer m L' / L of the larger encoder is layer m of the smaller one:
  a student that is born from it by `layer_map` "uniform" gets the layers that have something to say.

Invariants: wider alone gives the same logits up to rounding; the same seed gives the same weights; the global generator
and the smaller encoder are left as they were. This module reads and writes no files.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor

from destila.config import ShapeSettings
from destila.core.errors import UserError
from destila.models.architectures import initialized
from destila.models.importance import PRUNABLE_TYPES, Block, blocks_of

SPREAD = 0.5  # standard deviation of a share, relative to 1 / k


def grow(model: Any, shape: ShapeSettings, *, seed: int) -> Any:
    """A reader of a larger shape that gives the logits of this one (nearly, where layers are added).

    Args:
        model: a RoBERTa or one of its kin with a span head.
        shape: its widths, and that of a head, are multiples of the model's; its layers are no fewer.

    Returns:
        A new model in evaluation mode, of the same vocabulary, positions and dropout.

    Raises:
        UserError: the shape cannot be grown into.
    """
    _check(model.config, shape)
    config = copy.deepcopy(model.config)
    config.hidden_size, config.num_hidden_layers = shape.hidden, shape.layers
    config.num_attention_heads, config.intermediate_size = shape.heads, shape.feed_forward
    larger, generator = initialized(config, seed).eval(), torch.Generator().manual_seed(seed)
    growth = _Growth(model.config, shape, generator)
    with torch.no_grad():
        theirs, ours = model.base_model.embeddings, larger.base_model.embeddings
        for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
            getattr(ours, name).weight.copy_(getattr(theirs, name).weight.repeat(1, growth.hidden))
        _repeat_norm(ours.LayerNorm, theirs.LayerNorm, growth.hidden)
        smaller, before = blocks_of(model), theirs.LayerNorm
        for place, block in enumerate(blocks_of(larger), start=1):
            layer = -(-place * len(smaller) // shape.layers) - 1
            growth.widen_block(block, smaller[layer])
            if place == (layer + 1) * shape.layers // len(smaller):  # the last of those that come from this layer
                before = smaller[layer].output_norm
            else:
                _silence(block, before)
        growth.widen(larger.qa_outputs, model.qa_outputs, outputs=1, inputs=growth.hidden)
    return larger


def _check(config: Any, shape: ShapeSettings) -> None:
    if config.model_type not in PRUNABLE_TYPES:
        remedy = f"Supported: {', '.join(PRUNABLE_TYPES)}. Or leave model.grow out."
        raise UserError("model.grow", f"is set, and the encoder is a {config.model_type}", remedy)
    wanted = {
        "hidden": (shape.hidden, config.hidden_size),
        "heads": (shape.heads, config.num_attention_heads),
        "feed_forward": (shape.feed_forward, config.intermediate_size),
    }
    problems = [
        f"{name} is {ours}, no multiple of {theirs}" for name, (ours, theirs) in wanted.items() if ours % theirs
    ]
    if not problems and (shape.hidden // shape.heads) % (config.hidden_size // config.num_attention_heads):
        problems.append(f"heads of {shape.hidden // shape.heads} channels are no multiple of those of the encoder")
    if shape.layers < config.num_hidden_layers:
        problems.append(f"layers are {shape.layers}, fewer than {config.num_hidden_layers}")
    if problems:
        remedy = "Every width, and that of a head, is to be a multiple of the encoder's own."
        raise UserError.from_problems("model.shape", problems, remedy)


class _Growth:
    """How many times all channels, all heads, the channels of a head, and all feed-forward units stand there."""

    def __init__(self, config: Any, shape: ShapeSettings, generator: torch.Generator) -> None:
        self.old_heads, self.generator = config.num_attention_heads, generator
        self.hidden = shape.hidden // config.hidden_size
        self.heads = shape.heads // config.num_attention_heads
        self.size = self.hidden // self.heads
        self.units = shape.feed_forward // config.intermediate_size

    def widen_block(self, ours: Block, theirs: Block) -> None:
        """Everything of a block but what makes it silent."""
        for name in ("query", "key", "value", "attention_output"):
            self.widen(getattr(ours, name), getattr(theirs, name), outputs=self.hidden, inputs=self.hidden)
        for module in (ours.query, ours.key, ours.value):
            module.weight.copy_(self._by_heads(module.weight))
            module.bias.copy_(self._by_heads(module.bias))
        ours.attention_output.weight.copy_(self._by_heads(ours.attention_output.weight.T).T)
        # A product of longer queries and keys is the larger for it, and divided by the larger root of their size.
        ours.query.weight.div_(math.sqrt(self.size))
        ours.query.bias.div_(math.sqrt(self.size))
        self.widen(ours.up, theirs.up, outputs=self.units, inputs=self.hidden)
        self.widen(ours.down, theirs.down, outputs=self.hidden, inputs=self.units)
        _repeat_norm(ours.attention_norm, theirs.attention_norm, self.hidden)
        _repeat_norm(ours.output_norm, theirs.output_norm, self.hidden)

    def widen(self, ours: Any, theirs: Any, *, outputs: int, inputs: int) -> None:
        """A linear map that gives all outputs so many times over, of inputs that come so many times over."""
        ours.weight.copy_(_divided(theirs.weight.repeat(outputs, 1), inputs, self.generator))
        ours.bias.copy_(theirs.bias.repeat(outputs))

    def _by_heads(self, rows: Tensor) -> Tensor:
        """(D', ...) copies of all channels, one after the other -> the same rows, those of a head together."""
        parts = rows.reshape(self.heads, self.size, self.old_heads, -1, *rows.shape[1:])
        return parts.transpose(1, 2).reshape(rows.shape)


def _divided(weight: Tensor, copies: int, generator: torch.Generator) -> Tensor:
    """(out, in) -> (out, copies * in): the weights of the copies add up to the weight."""
    noise = torch.randn(copies, *weight.shape, generator=generator)
    shares = (1 + SPREAD * (noise - noise.mean(dim=0))) / copies
    return (shares * weight).transpose(0, 1).reshape(len(weight), -1)


def _repeat_norm(ours: Any, theirs: Any, copies: int) -> None:
    ours.weight.copy_(theirs.weight.repeat(copies))
    ours.bias.copy_(theirs.bias.repeat(copies))


def _silence(block: Block, before: Any) -> None:
    """A block that writes nothing, behind a normalization: its own two give back what comes in, on the average."""
    for module in (block.attention_output, block.down):
        module.weight.zero_()
        module.bias.zero_()
    # What comes in is gain * z + bias for a z of mean 0 and deviation 1.
    deviation = math.sqrt(float(before.weight.square().mean() + before.bias.var(correction=0)))
    for norm in (block.attention_norm, block.output_norm):
        norm.weight.fill_(deviation)
        norm.bias.fill_(float(before.bias.mean()))
