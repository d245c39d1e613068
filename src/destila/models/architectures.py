"""The shapes that readers come in: random models, students of a teacher, and the map between their layers.

Legend: L layers of the teacher, M layers of the student, g(m) the teacher layer that student layer m learns from.

Invariant: the same seed gives the same weights, whatever the state of the global generator, which is left as it was.
This module reads and writes no files.
"""

import copy
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForQuestionAnswering, BertConfig, ModernBertConfig, RobertaConfig, XLMRobertaConfig

from destila.config import ShapeSettings, StudentSettings
from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata
from destila.data.windows import first_position
from destila.models.forward import attention_implementation

CONFIG_CLASSES = {
    "roberta": RobertaConfig,
    "bert": BertConfig,
    "xlm-roberta": XLMRobertaConfig,
    "modernbert": ModernBertConfig,
}
DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "embedding_dropout",
    "attention_dropout",
    "mlp_dropout",
    "classifier_dropout",
)


@dataclass(frozen=True)
class LoadedModel:
    """A reader and what belongs to it."""

    model: Any  # a transformers question answering model, in evaluation mode, fp32
    tokenizer: Tokenizer
    metadata: ModelMetadata  # its destila.json; empty when it has none
    name: str  # the directory or hub id that it came from
    commit: str | None = None  # of the hub repository


def set_dropout(config: Any, dropout: float) -> None:
    """Set every dropout that the family of this configuration knows."""
    for name in DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, dropout)


def initialized(config: Any, seed: int) -> Any:
    """A model with random weights that depend on the seed alone; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        attention = attention_implementation(config.model_type)
        return AutoModelForQuestionAnswering.from_config(config, attn_implementation=attention, dtype=torch.float32)


def random_model(
    shape: ShapeSettings,
    *,
    architecture: Literal["roberta", "bert", "xlm-roberta", "modernbert"],
    vocabulary_size: int,
    pad_id: int,
    longest: int,
    dropout: float,
    seed: int,
) -> Any:
    """A reader with random weights, without pooler, in evaluation mode.

    Args:
        longest: the most tokens that it can read at once.
    """
    special_ids = ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
    config = CONFIG_CLASSES[architecture](
        vocab_size=vocabulary_size,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.feed_forward,
        max_position_embeddings=longest + first_position(architecture, pad_id),
        pad_token_id=pad_id,
        **dict.fromkeys(special_ids),  # the families' defaults lie outside of a small vocabulary
    )
    if architecture != "modernbert":
        config.type_vocab_size, config.layer_norm_eps = 1, 1e-5
    set_dropout(config, dropout)
    return initialized(config, seed).eval()


def build_student(teacher: LoadedModel, settings: StudentSettings, *, mapping: Sequence[int], seed: int) -> Any:
    """A student of the teacher's family, vocabulary, positions and special tokens, in the shape that the settings give.

    Args:
        mapping: `layer_map(...)`: with initial = "layers", block m starts as the teacher's block mapping[m]; the
            block of a ModernBERT also takes that block's kind of attention (sliding or full).

    Raises:
        UserError: initial is "layers" and the shapes differ.
    """
    shape, config = settings.shape, copy.deepcopy(teacher.model.config)
    if settings.initial == "layers":
        _check_same_width(config, shape)
    config.hidden_size, config.num_hidden_layers = shape.hidden, shape.layers
    config.num_attention_heads, config.intermediate_size = shape.heads, shape.feed_forward
    if config.model_type == "modernbert":
        config.layer_types = [teacher.model.config.layer_types[layer - 1] for layer in mapping[1:]]
    set_dropout(config, settings.dropout)
    student = initialized(config, seed).eval()
    if settings.initial == "layers":
        # ModernBERT's first block has no attn_norm: the one of a higher teacher block finds no place there.
        student.load_state_dict(_mapped_state(teacher.model.state_dict(), mapping), strict=False)
    return student


def _check_same_width(config: Any, shape: ShapeSettings) -> None:
    wanted = {
        "hidden": config.hidden_size,
        "heads": config.num_attention_heads,
        "feed_forward": config.intermediate_size,
    }
    problems = [
        f"{name} is {getattr(shape, name)} and the teacher's is {value}"
        for name, value in wanted.items()
        if getattr(shape, name) != value
    ]
    if problems:
        remedy = (
            'Layers can be copied between equal shapes only: take the teacher\'s shape, or student.initial = "random".'
        )
        raise UserError.from_problems("student.shape", problems, remedy)


def _mapped_state(state: Mapping[str, torch.Tensor], mapping: Sequence[int]) -> dict[str, torch.Tensor]:
    """The teacher's state with block mapping[m] in the place of block m, and everything outside of the blocks."""
    place = {teacher_layer: layer for layer, teacher_layer in enumerate(mapping) if layer}
    mapped = {}
    for name, tensor in state.items():
        found = re.search(r"(?<=\.layer\.)\d+|(?<=\.layers\.)\d+", name)
        if found is None:
            mapped[name] = tensor
        elif (layer := place.get(int(found.group()) + 1)) is not None:
            mapped[name[: found.start()] + str(layer - 1) + name[found.end() :]] = tensor
    return mapped


def layer_map(
    kind: Literal["uniform", "last"] | Sequence[int], *, teacher_layers: int, student_layers: int
) -> tuple[int, ...]:
    """The teacher layer g(m) that each student layer m = 0..M learns from; g(0) = 0, the embedding output.

    Args:
        kind: "uniform": g(m) = m L / M, to the nearest whole layer, halves upwards (4, 8, ... 24 for 24 -> 6);
            "last": the last M layers, g(m) = L - M + m; or a list of M increasing teacher layers (M + 1 with 0 ahead).

    Raises:
        UserError: there is no such map.
    """
    where, size = "loss.layer_map", student_layers
    if isinstance(kind, str):
        if size > teacher_layers:
            remedy = "Take at most as many layers, or give a list."
            raise UserError(where, f"the student has {size} layers and the teacher only {teacher_layers}", remedy)
        if kind == "uniform":
            return tuple((2 * layer * teacher_layers + size) // (2 * size) for layer in range(size + 1))
        return (0, *range(teacher_layers - size + 1, teacher_layers + 1))
    layers = tuple(kind[1:] if len(kind) == size + 1 and kind[0] == 0 else kind)
    problems = []
    if len(layers) != size:
        problems.append(f"{list(kind)} names {len(layers)} teacher layers for {size} student layers")
    if any(not 1 <= layer <= teacher_layers for layer in layers):
        problems.append(f"{list(kind)} leaves the teacher's layers 1 to {teacher_layers}")
    if any(low >= high for low, high in itertools.pairwise(layers)):
        problems.append(f"{list(kind)} does not increase")
    if problems:
        raise UserError.from_problems(where, problems, "Give one increasing teacher layer for each student layer.")
    return (0, *layers)
