"""From a model's directory to one with a smaller vocabulary: `destila trim`.

Mental model: count the tokens of the texts -> cut the tokenizer -> check it on the same texts -> cut rows out of the
stored weights. Weights are edited as they lie in the file, and all others stay bit for bit: so an encoder keeps its
pooler and its head for masked words, and gets no head that it did not have.

Invariants: without `keep`, the texts have the same tokens, hence the same outputs, as before. What changes elsewhere is
measured on texts that the measured tokenizer has not seen. The directory appears whole or not at all.
"""

import re
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata
from destila.core.model_config import read_config
from destila.core.model_files import CONFIG_FILE, TOKENIZER_CONFIG_FILE, TOKENIZER_FILE, TORCH_WEIGHTS
from destila.core.outputs import check_directory
from destila.core.runs import atomic_directory, destila_version, read_json, write_json
from destila.data.texts import Texts
from destila.data.token_usage import text_batches, token_ids, usage_of
from destila.data.tokenizers import special_tokens
from destila.models.files import load_config, tokenizer_config
from destila.models.hub import Location, locate
from destila.models.vocabulary_trimming import Rows, Trimmed, refuse_other_tokens, rows_to_keep, trim_to_usage
from destila.models.weights import read_weights, weight_files

# What transformers may know of a configuration that config.json leaves out.
SETTLED = ("pad_token_id", "cls_token_id", "sep_token_id", "type_vocab_size", "max_position_embeddings")
ONE_IN = 50  # of the texts is kept apart to measure on, where nothing else is given
WORDS = re.compile(r"(^|\.)(word_embeddings|tok_embeddings)\.weight$")
# What has a row for each token: embeddings, and the head for masked words.
OF_TOKENS = re.compile(r"(^|[._])(word_embeddings|tok_embeddings|lm_head|decoder|predictions)\.(weight|bias)$")
OF_TYPES = re.compile(r"(^|\.)token_type_embeddings\.weight$")
OF_POSITIONS = re.compile(r"(^|\.)position_embeddings\.weight$")
COUNTERS = re.compile(r"(^|\.)(position_ids|token_type_ids)$")  # buffers of older files: made anew on loading


@dataclass(frozen=True)
class HeldOutChange:
    """What a smaller vocabulary changes in texts that it was not made from."""

    # texts, characters: how much was read
    texts: int
    characters: int
    # tokens, unknown: (before, after) tokens, and unknown ones among them
    tokens: tuple[int, int]
    unknown: tuple[int, int]
    changed: int  # texts whose tokens are others


@dataclass(frozen=True)
class TrimResult:
    """A model with a smaller vocabulary."""

    output: str
    vocabulary: tuple[int, int]  # (before, after) tokens; the rows of the embeddings
    parameters: tuple[int, int]  # (before, after), of all weights
    bytes: tuple[int, int]  # (before, after), of weights and tokenizer
    # texts, characters: what the vocabulary was made from
    texts: int
    characters: int
    held_out: HeldOutChange | None  # None where there were too few texts to keep one apart
    seconds: float


def trim(
    model: str,
    data: Sequence[str],
    output: str | Path,
    *,
    keep: int = 0,
    held_out: Sequence[str] = (),
    revision: str | None = None,
) -> TrimResult:
    """Write a reader or encoder with only the tokens that texts use.

    Args:
        model: a local directory or hub id.
        data: files with texts, or named sources; see `destila.data.texts.Texts`.
        output: directory to write; it must not exist.
        keep: tokens in all, the most frequent ones; 0: all that the texts use.
        held_out: texts to measure on; empty: one in fifty of the given ones, by a trial without them.

    Raises:
        UserError: the model, the texts or the output cannot be used, or the tokenizer cannot be trimmed.
    """
    check_directory("--output", output)
    started, output, location = time.monotonic(), Path(output), locate(model, revision)
    if output.exists():
        raise UserError(str(output), "exists already", "Choose another --output.")
    config, tokenizer = load_config(location)
    if not weight_files(location.directory):
        remedy = "Take the reader that an export was made from."
        raise UserError(location.label, "holds no weights for torch", remedy)
    texts = Texts(data, where="data")
    others = Texts(held_out, where="held_out") if held_out else None
    trimmed, used, change = _smaller(tokenizer, texts, others, keep=keep, padding=config.pad_token_id)
    raw = read_config(location.directory)
    rows = rows_to_keep({**raw, **{name: getattr(config, name) for name in SETTLED if hasattr(config, name)}}, trimmed)
    tensors = read_weights(location.directory)
    before = sum(tensor.numel() for tensor in tensors.values())
    tensors = _trimmed_weights(tensors, rows, where=location.label)
    source: dict[str, Any] = {"command": "trim", "model": model, "data": list(data)}
    if location.commit:
        source["commits"] = {location.name: location.commit}
    with atomic_directory(output) as directory:
        _write_directory(directory, tensors, rows, trimmed.tokenizer)
        _write_names(directory, location.directory, config, tokenizer)
        # Windows and threshold stay; scores do not, because nobody measured this model.
        metadata = ModelMetadata.read(location.directory).without("dev", "calibration", "certificates")
        metadata.changed(source=source, version=destila_version()).write(directory)
        load_config(Location(str(directory), directory))  # refuses what does not belong together
    return TrimResult(
        output=str(output),
        vocabulary=(tokenizer.get_vocab_size(), len(trimmed.old_ids)),
        parameters=(before, sum(tensor.numel() for tensor in tensors.values())),
        bytes=(_bytes(location.directory), _bytes(output)),
        texts=used[0],
        characters=used[1],
        held_out=change,
        seconds=round(time.monotonic() - started, 1),
    )


# ---------------------------------------------------------------------------------------------------- tokenizer
def _smaller(
    tokenizer: Tokenizer, texts: Texts, others: Texts | None, *, keep: int, padding: int
) -> tuple[Trimmed, tuple[int, int], HeldOutChange | None]:
    """The trimmed tokenizer, how many texts and characters it was made from, and what it changes elsewhere."""
    apart: list[str] | None = [] if others is None else None
    usage = usage_of(tokenizer, _others(texts, apart))
    usage_apart = usage_of(tokenizer, apart or [])
    whole = usage + usage_apart
    if not whole.texts:
        raise UserError("data", "holds no text", "Give files with texts.")
    trimmed = trim_to_usage(tokenizer, whole, keep=keep, ids=[padding])
    if not keep:
        refuse_other_tokens(trimmed, _others(texts, None if apart is None else []), usage)
        refuse_other_tokens(trimmed, apart or [], usage_apart)
    change = None
    if others is not None:
        change = _held_out_change(tokenizer, trimmed, others)
    elif apart:
        trial = trim_to_usage(tokenizer, usage, keep=keep, ids=[padding])
        change = _held_out_change(tokenizer, trial, apart)
    return trimmed, (whole.texts, whole.characters), change


def _others(texts: Iterable[str], apart: list[str] | None) -> Iterator[str]:
    """The texts but for one in fifty, which go into `apart`; None: all. What a text says decides, not its place."""
    for text in texts:
        if apart is not None and zlib.crc32(text.encode("utf-8", "replace")) % ONE_IN == 0:
            apart.append(text)
        else:
            yield text


def _held_out_change(tokenizer: Tokenizer, trimmed: Trimmed, texts: Iterable[str]) -> HeldOutChange:
    """Compare a trimmed tokenizer with the whole one."""
    old_ids = np.array(trimmed.old_ids)
    unknown = special_tokens(tokenizer).unk
    count = characters = changed = 0
    tokens, strange = np.zeros(2, np.int64), np.zeros(2, np.int64)
    for batch in text_batches(texts, what="measuring"):
        count, characters = count + len(batch), characters + sum(map(len, batch))
        pairs = zip(token_ids(tokenizer, batch), token_ids(trimmed.tokenizer, batch), strict=True)
        for before, after in pairs:
            sides = before, old_ids[after]
            tokens += [len(side) for side in sides]
            strange += [0 if unknown is None else int((side == unknown).sum()) for side in sides]
            changed += not np.array_equal(*sides)
    first, second = (tuple(int(number) for number in pair) for pair in (tokens, strange))
    return HeldOutChange(count, characters, (first[0], first[1]), (second[0], second[1]), changed)


# ---------------------------------------------------------------------------------------------------- files
def _trimmed_weights(tensors: dict[str, torch.Tensor], rows: Rows, *, where: str) -> dict[str, torch.Tensor]:
    """The same weights with the rows that stay.

    Raises:
        UserError: there are no word embeddings among them.
    """
    sizes = {tensor.shape[0] for name, tensor in tensors.items() if WORDS.search(name)}
    if len(sizes) != 1:
        problem = f"has {len(sizes)} tables of word embeddings, and one is expected"
        raise UserError(where, problem, "Is it an encoder?")
    tokens = torch.tensor(rows.tokens)
    kept = {}
    for name, tensor in tensors.items():
        if COUNTERS.search(name):
            continue
        if OF_TOKENS.search(name) and tensor.shape[0] in sizes:
            tensor = tensor[tokens]
        elif OF_TYPES.search(name) and rows.types:
            tensor = tensor[: rows.types]
        elif OF_POSITIONS.search(name):
            tensor = tensor[rows.first_position :]
        kept[name] = tensor.contiguous()
    return kept


def _write_directory(directory: Path, tensors: dict[str, torch.Tensor], rows: Rows, tokenizer: Tokenizer) -> None:
    """Weights, tokenizer and config.json."""
    save_file(tensors, directory / TORCH_WEIGHTS, metadata={"format": "pt"})
    tokenizer.save(str(directory / TOKENIZER_FILE))
    # The class is that of a tokenizer whose vocabulary transformers would make anew.
    config = {name: value for name, value in rows.config.items() if name not in ("_name_or_path", "tokenizer_class")}
    write_json(directory / CONFIG_FILE, config)


def _write_names(directory: Path, original: Path, config: Any, tokenizer: Tokenizer) -> None:
    """tokenizer_config.json: special tokens keep their names."""
    about, path = tokenizer_config(config, tokenizer, original), original / TOKENIZER_CONFIG_FILE
    longest = read_json(path).get("model_max_length") if path.exists() else None
    write_json(directory / TOKENIZER_CONFIG_FILE, about | ({"model_max_length": longest} if longest else {}))


def _bytes(directory: Path) -> int:
    paths = [*weight_files(directory), directory / TOKENIZER_FILE]
    return sum(path.stat().st_size for path in paths if path.exists())
