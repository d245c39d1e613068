"""Readers as torch modules: load them and save them; building and running them is at hand here, too.

Mental model: a reader is one of transformers' question answering models plus its tokenizer and its destila.json. Its
only inputs are `input_ids` and `attention_mask`. `destila.models.architectures` builds one from a shape or a teacher;
`destila.models.forward` runs one and records its inside; both are re-exported, so that callers need this module alone.

Invariant: a reader comes out of this module whole, in fp32 and in evaluation mode, with our attention function; what is
missing or torn on the disk is a `UserError`, never a random weight in its place (but for the head of a bare encoder
that is to be trained, which is announced). This module does not cut texts into windows, decode spans or train.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers import MODEL_FOR_QUESTION_ANSWERING_MAPPING, AutoConfig, AutoTokenizer

from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata
from destila.core.model_files import (
    CONFIG_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    TORCH_WEIGHTS,
    torch_weights,
)
from destila.core.runs import write_json
from destila.data.tokenizers import load_tokenizer, pair_template, plain, special_tokens
from destila.data.windows import COUNTED_TYPES
from destila.models.architectures import LoadedModel, build_student, layer_map, random_model, set_dropout
from destila.models.directory import require_model
from destila.models.forward import (
    SEGMENTED_TYPES,
    Outputs,
    SpanModule,
    attention_implementation,
    forward,
    span_logits,
    type_separators,
    unwrapped,
)
from destila.models.hub import Location, locate
from destila.models.weights import read_weights

LOG = logging.getLogger(__name__)

__all__ = [
    "LoadedModel",
    "Outputs",
    "SpanModule",
    "build_student",
    "forward",
    "layer_map",
    "load_reader",
    "random_model",
    "save_reader",
    "span_logits",
    "unwrapped",
]

SUPPORTED_TYPES = ("bert", "camembert", "deberta-v2", "electra", "modernbert", "roberta", "xlm-roberta")


# ---------------------------------------------------------------------------------------------------- files
def load_reader(
    name: str, *, revision: str | None = None, dropout: float | None = None, random_head: bool = False
) -> LoadedModel:
    """Load a reader; to train one, a bare encoder with a random question answering head, too (and say so).

    Args:
        name: a local directory, a hub id, or hub-id@revision.
        revision: branch, tag or commit of the hub repository.
        dropout: dropout of hidden states and attention in training mode; None: as its config.json says.
        random_head: whether a bare encoder will do, because its head is trained, or its answers are not asked.

    Raises:
        UserError: no such model, no head, an unsupported family, or files that are missing, torn or do not belong
            together.
    """
    location = locate(name, revision)
    name, directory = location.label, location.directory
    config, tokenizer = load_config(location)
    if dropout is not None:
        set_dropout(config, dropout)
    with _quiet(), _refusals(name):
        safe = bool(torch_weights(directory))  # else a pickle, which transformers would read into errors of its own
        model, info = MODEL_FOR_QUESTION_ANSWERING_MAPPING[type(config)].from_pretrained(
            directory if safe else None,
            state_dict=None if safe else read_weights(directory),
            config=config,
            dtype=torch.float32,  # transformers 5 would take the dtype that it was saved in
            attn_implementation=attention_implementation(config.model_type),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # `_check_loaded` names them
        )
    _check_loaded(name, model, info, random_head=random_head)
    metadata = ModelMetadata.read(directory)
    return LoadedModel(model.eval(), tokenizer, metadata, location.name, commit=location.commit)


def load_config(location: Location) -> tuple[Any, Tokenizer]:
    """The configuration of a model, with the special tokens of its tokenizer, and that tokenizer."""
    name, directory = location.label, location.directory
    require_model(directory)
    with _quiet(), _refusals(name):
        config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
        if config.model_type not in SUPPORTED_TYPES:
            remedy = f"Supported: {', '.join(SUPPORTED_TYPES)}."
            raise UserError(name, f"is a model of type {config.model_type!r}", remedy)
        tokenizer = _load_tokenizer(directory)
        _check_vocabulary(name, config, tokenizer)
        _take_special_tokens(name, config, tokenizer, directory)
    return config, tokenizer


def save_reader(
    model: Any,
    tokenizer: Tokenizer,
    metadata: Mapping[str, Any],
    directory: Path,
    *,
    dtype: torch.dtype = torch.float32,
    shard_size: str = "1000GB",
) -> None:
    """Write config.json, the weights, tokenizer.json and destila.json into an existing directory.

    A tokenizer_config.json beside them makes transformers take tokenizer.json as it is; left to itself it rebuilds the
    normalizer of a BERT with its own defaults (lower case, no accents). It is not atomic by itself: give it the
    temporary directory of `runs.atomic_directory`.

    Args:
        model: perhaps wrapped by DistributedDataParallel.
        dtype: of the weights on the disk.
        shard_size: the largest file of weights; a model that needs several gets an index beside them.
    """
    model = unwrapped(model)
    state = {name: tensor.detach().to("cpu", dtype) for name, tensor in model.state_dict().items()}
    with _quiet():
        model.save_pretrained(directory, state_dict=state, max_shard_size=shard_size)
    tokenizer.save(str(directory / TOKENIZER_FILE))
    write_json(directory / TOKENIZER_CONFIG_FILE, tokenizer_config(model.config, tokenizer))
    ModelMetadata(dict(metadata)).write(directory)


def tokenizer_config(config: Any, tokenizer: Tokenizer, directory: Path | None = None) -> dict[str, Any]:
    """A tokenizer_config.json for users of transformers: what a text is turned into, and which tokens are special.

    Args:
        config: of the model, as `_take_special_tokens` leaves it.
        directory: where files lie that name special tokens, if there are any.
    """
    inputs = ["input_ids", "attention_mask"]
    if type_separators(config):
        inputs.append("token_type_ids")  # left out by default, and a BERT reads badly without
    special = asdict(special_tokens(tokenizer, directory)) | {"pad": config.pad_token_id}
    names = {f"{role}_token": tokenizer.id_to_token(number) for role, number in special.items() if number is not None}
    return {"tokenizer_class": "PreTrainedTokenizerFast", **names, "model_input_names": inputs}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' reports and bars: what matters in them is said by our own errors."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextlib.contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Turn what the libraries raise about a model's files into a `UserError`."""
    try:
        yield
    except SafetensorError as error:
        problem = f"is torn or not a safetensors file ({error})"
        raise UserError(
            str(Path(name, TORCH_WEIGHTS)), problem, "Was it cut short? Make or download it again."
        ) from error
    except OSError as error:
        raise UserError(name, f"cannot be loaded ({_first_line(error)})", "Check its files.") from error
    except (ValueError, KeyError, RuntimeError, TypeError, StrictDataclassError) as error:
        problem = f"cannot be loaded ({_first_line(error)})"
        raise UserError(name, problem, "Do config.json and model.safetensors belong together?") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _load_tokenizer(directory: Path) -> Tokenizer:
    if (directory / TOKENIZER_FILE).exists():
        return load_tokenizer(directory)
    # An older model: transformers converts its vocabulary.
    converted = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
    return plain(cast(Tokenizer, converted.backend_tokenizer))


def _check_vocabulary(name: str, config: Any, tokenizer: Tokenizer) -> None:
    """Every token has an embedding."""
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    if size > config.vocab_size:
        problem = f"its tokenizer has {size} tokens and the model only {config.vocab_size}"
        raise UserError(name, problem, "Put the tokenizer.json there that the model was trained with.")


def _take_special_tokens(name: str, config: Any, tokenizer: Tokenizer, directory: Path) -> None:
    """Set the ids of special tokens in a configuration to those of the tokenizer, and how it tells token types.

    RoBERTa and its kin keep a padding id of their own: their positions are counted from it.

    Args:
        directory: where the files lie that name special tokens.

    Raises:
        UserError: positions would have to be counted from a padding token that is not there, or the tokenizer's
            template gives token types that cannot be told from its separators.
    """
    special = special_tokens(tokenizer, directory)
    if config.model_type not in COUNTED_TYPES:
        config.pad_token_id = special.pad if special.pad is not None else 0  # any id will do: it is masked
    elif config.pad_token_id is None:
        if special.pad is None:
            problem = "pad_token_id is null and its tokenizer has no padding token, so positions cannot be counted"
            raise UserError(name, problem, f"Set pad_token_id in {CONFIG_FILE}.")
        config.pad_token_id = special.pad
    elif not 0 <= config.pad_token_id < config.vocab_size:
        problem = f"pad_token_id is {config.pad_token_id}, which is no token, so positions cannot be counted"
        raise UserError(name, problem, f"Mend it in {CONFIG_FILE}.")
    config.cls_token_id, config.sep_token_id = special.cls, special.sep
    if config.model_type in SEGMENTED_TYPES and config.type_vocab_size > 1:
        config.type_separators = pair_template(tokenizer, where=f"the tokenizer of {name}").separators
        if config.type_separators is None:
            problem = "its tokenizer's template of pairs gives token types that no separator tells apart"
            raise UserError(name, problem, f"Mend the post_processor in {TOKENIZER_FILE}.")


def _check_loaded(name: str, model: Any, info: Mapping[str, Any], *, random_head: bool) -> None:
    """No weight of the encoder was left random, nor a part of the head; a random head is announced, if it will do."""
    remedy = "Do config.json and model.safetensors belong together?"
    if info["mismatched_keys"]:
        key, stored, wanted = min(info["mismatched_keys"])
        problem = f"{key} is {tuple(stored)} on the disk and {tuple(wanted)} by {CONFIG_FILE}"
        raise UserError(name, problem, remedy)
    missing = sorted(info["missing_keys"])
    encoder = [key for key in missing if key.startswith(f"{model.base_model_prefix}.")]
    if encoder:
        raise UserError(name, f"lacks {len(encoder)} weights of its encoder, first {encoder[0]!r}", remedy)
    if missing and (present := _answering_weights(model) - set(missing)):
        problem = f"lacks {missing[0]!r} of its question answering head, and has {min(present)!r}"
        raise UserError(name, problem, "Was it cut short? Make or download it again.")
    if missing and not random_head:
        remedy = "Train one: destila finetune --model NAME --data.train FILE."
        raise UserError(name, "has no question answering head, so it cannot answer", remedy)
    if missing:
        LOG.info(f"{name} has no question answering head: it starts with a random one.")


def _answering_weights(model: Any) -> set[str]:
    """The names of the last layer's weights; ModernBERT's layer before it comes with a bare encoder, too."""
    names = [name for name in model.state_dict() if not name.startswith(f"{model.base_model_prefix}.")]
    last = names[-1].rpartition(".")[0]
    return {name for name in names if name.startswith(f"{last}.")}
