"""Cut a vocabulary down to what texts use: tokenizer and embedding rows.

Mental model: embeddings are half of a small student, and a general vocabulary holds many tokens that a corpus never
shows. Those may go without changing how any text of the corpus is cut:

- byte-level BPE applies the best-ranked merge that a word offers; one that was never applied was never the best;
- WordPiece takes the longest piece that fits; one that was never taken was never the longest;
- Unigram takes the likeliest sequence of pieces; it stays the likeliest among fewer.

So the tokens of the corpus are kept, whatever leads to them (merges), all added tokens, and enough to write other texts
in more pieces: all bytes, or the single characters of the scripts that the corpus uses, digits, punctuation, symbols.

Invariant: unless a size is asked for, every text of the corpus gives the same tokens as before, under new ids; this is
checked, not assumed. Kept tokens stay in their old order. Memory does not grow with the corpus. This module reads and
writes no files; `destila.models.trim` does.
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, pre_tokenizers

from destila.core.errors import UserError
from destila.core.strict_json import dumps
from destila.data.token_usage import Usage, both_forms, checksum, text_batches, token_ids, usage_of
from destila.data.tokenizers import pair_template, plain
from destila.data.windows import COUNTED_TYPES

SPECIAL_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "mask_token_id")
SCRIPT_SHARE = 0.001  # of the letters: a script with fewer is quoted now and then; only the pieces in use are kept
LATIN_END = 0x250  # up to here all letters are used with the Latin alphabet, whatever their names ("ª", "µ")


@dataclass(frozen=True)
class Trimmed:
    """A smaller tokenizer, and the old id of each of its tokens."""

    tokenizer: Tokenizer
    old_ids: list[int]


def refuse_other_tokens(trimmed: Trimmed, texts: Iterable[str], usage: Usage) -> None:
    """Raise a `UserError` unless the texts, in their order, have the tokens that were counted."""
    old_ids = np.array(trimmed.old_ids)
    batches = text_batches(both_forms(texts), what="checking tokens")
    found = [checksum(old_ids[np.concatenate(token_ids(trimmed.tokenizer, batch))]) for batch in batches]
    if found != usage.checks:
        raise UserError("tokenizer", "would cut the corpus otherwise once trimmed", "Leave the vocabulary as it is.")


# ---------------------------------------------------------------------------------------------------- tokenizers
def trim_tokenizer(tokenizer: Tokenizer, texts: Iterable[str], *, ids: Iterable[int] = ()) -> Trimmed:
    """Keep what the texts use.

    Args:
        ids: tokens that must stay, whatever the texts use.

    Raises:
        UserError: the tokenizer is of a kind that cannot be trimmed.
    """
    corpus = list(dict.fromkeys(texts))
    usage = usage_of(tokenizer, corpus)
    trimmed = trim_to_usage(tokenizer, usage, ids=ids)
    refuse_other_tokens(trimmed, corpus, usage)
    return trimmed


def trim_to_usage(tokenizer: Tokenizer, usage: Usage, *, keep: int = 0, ids: Iterable[int] = ()) -> Trimmed:
    """Keep the tokens in use, or the most frequent ones of them.

    Args:
        keep: tokens in all, added ones included; 0: all that are in use.
        ids: tokens that must stay, whatever the texts use.

    Raises:
        UserError: the tokenizer is of a kind that cannot be trimmed, or `keep` leaves no room for single characters.
    """
    definition = json.loads(tokenizer.to_str())
    model, kind = definition["model"], definition["model"]["type"]
    added = [token["content"] for token in definition["added_tokens"]]
    always = {*added, *(str(tokenizer.id_to_token(number)) for number in ids)}
    unlike = [name for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix") if model.get(name)]
    if kind not in KINDS or (kind == "BPE" and unlike):
        problem = f"is a {' with '.join([kind, *unlike[:1]])}, which cannot be trimmed"
        raise UserError("tokenizer", problem, "Leave the vocabulary as it is.")
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    required, leads_to = KINDS[kind](model, _byte_level(definition), usage.counts)
    always |= required | (set() if keep else usage.dead_ends)
    wanted = _chosen(vocabulary, always & vocabulary.keys(), usage.counts, leads_to, keep=keep)
    inside = {token for token, _ in model["vocab"]} if kind == "Unigram" else model["vocab"].keys()
    kept = sorted((vocabulary[token], token) for token in wanted)
    # Added tokens that the model does not know get the ids after its own, in their order.
    kept = [pair for pair in kept if pair[1] in inside] + [pair for pair in kept if pair[1] not in inside]
    new_ids = {old: new for new, (old, _) in enumerate(kept)}
    _cut(model, wanted, {token: new_ids[old] for old, token in kept if token in inside})
    for token in definition["added_tokens"]:
        token["id"] = new_ids[vocabulary[token["content"]]]
    _renumber(definition, {name: new_ids[number] for name, number in vocabulary.items() if number in new_ids})
    trimmed = plain(Tokenizer.from_str(dumps(definition)))
    strange = [token for old, token in kept if trimmed.token_to_id(token) != new_ids[old]]
    if strange:
        raise UserError("tokenizer", f"has an added token that keeps no id: {strange[0]!r}", "It cannot be trimmed.")
    return Trimmed(trimmed, [old for old, _ in kept])


def _chosen(
    vocabulary: Mapping[str, int],
    required: set[str],
    counts: NDArray[np.int64],
    leads_to: Callable[[str], set[str]],
    *,
    keep: int,
) -> set[str]:
    """What is required, and the used tokens with what leads to them: all, or the most frequent that `keep` allows."""
    if keep and len(required) > keep:
        problem = f"{keep:,} tokens are fewer than the {len(required):,} special tokens and single characters"
        raise UserError("keep", problem, "Keep more.")
    wanted = set(required)
    used = [(-int(counts[number]), number, token) for token, number in vocabulary.items() if counts[number]]
    for _, _, token in sorted(used):
        more = leads_to(token) if token not in required else set()
        if not keep or len(wanted | more) <= keep:
            wanted |= more
    return wanted


def _cut(model: dict[str, Any], wanted: set[str], new_ids: Mapping[str, int]) -> None:
    """Leave the wanted tokens in a model's table, under their new ids; changes it in place."""
    if isinstance(model["vocab"], list):  # Unigram: ids are places
        unknown = model["vocab"][model["unk_id"]][0] if model.get("unk_id") is not None else None
        model["vocab"] = [piece for piece in model["vocab"] if piece[0] in new_ids]
        model["unk_id"] = None if unknown is None else new_ids[unknown]
        return
    model["vocab"] = dict(sorted(new_ids.items(), key=lambda item: item[1]))
    if "merges" in model:
        # A merge stays if all of it does: that leads to no token that is not there.
        model["merges"] = [merge for merge in model["merges"] if {*merge, "".join(merge)} <= wanted]


def _renumber(definition: dict[str, Any], ids: Mapping[str, int]) -> None:
    """New ids in the post-processors, which name their tokens, too."""
    processors = [definition.get("post_processor") or {}]
    processors += processors[0].get("processors", [])
    for processor in processors:
        for name in ("sep", "cls"):
            if name in processor:
                processor[name][1] = ids[processor[name][0]]
        for token in processor.get("special_tokens", {}).values():
            token["ids"] = [ids[name] for name in token["tokens"]]


def _byte_level(definition: Mapping[str, Any]) -> bool:
    """Whether the model reads letters that stand for bytes."""
    step = definition.get("pre_tokenizer") or {}
    return any(each["type"] == "ByteLevel" for each in (step, *step.get("pretokenizers", [])) if "type" in each)


# ---------------------------------------------------------------------------------------------------- kinds of models
# For each kind: what has to stay whatever the texts use, and what leads to a token, itself included.
Kind = tuple[set[str], Callable[[str], set[str]]]


def _bpe(model: dict[str, Any], byte_level: bool, counts: NDArray[np.int64]) -> Kind:
    ranks = {tuple(merge): rank for rank, merge in enumerate(model["merges"])}
    required = {token for token in model["vocab"] if token.startswith("<0x")} | {str(model.get("unk_token"))}
    if byte_level:
        required |= set(pre_tokenizers.ByteLevel.alphabet())
    else:
        required |= _characters(model["vocab"].items(), counts)

    def leads_to(token: str) -> set[str]:
        return {token}.union(*((*merge, "".join(merge)) for merge in _merges_of(token, ranks)))

    return required, leads_to


def _merges_of(token: str, ranks: Mapping[tuple[str, ...], int]) -> set[tuple[str, str]]:
    """The merges that make a token of its characters. What lies around a token in a word plays no part in it: a merge
    over its edge would have made it another token."""
    parts, applied = list(token), set()
    while len(parts) > 1:
        best = min(pairwise(parts), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break  # a token that no merges make, such as an added one
        applied.add(best)
        place = 0
        while place < len(parts) - 1:
            if (parts[place], parts[place + 1]) == best:
                parts[place : place + 2] = ["".join(best)]
            place += 1
    return applied


def _wordpiece(model: dict[str, Any], _: bool, counts: NDArray[np.int64]) -> Kind:
    prefix = model["continuing_subword_prefix"]
    return _characters(model["vocab"].items(), counts, prefix=prefix) | {model["unk_token"]}, lambda token: {token}


def _unigram(model: dict[str, Any], _: bool, counts: NDArray[np.int64]) -> Kind:
    pieces = model["vocab"]
    lowest = min(pieces, key=lambda piece: piece[1])[0]  # what is unknown is scored below it
    required = {piece for piece, _ in pieces if piece.startswith("<0x")} | {lowest}
    if model.get("unk_id") is not None:
        required.add(pieces[model["unk_id"]][0])
    return required | _characters(((p, n) for n, (p, _) in enumerate(pieces)), counts), lambda token: {token}


KINDS = {"BPE": _bpe, "WordPiece": _wordpiece, "Unigram": _unigram}


def _characters(vocabulary: Iterable[tuple[str, int]], counts: NDArray[np.int64], *, prefix: str = "") -> set[str]:
    """Tokens of one character: digits, punctuation and symbols, and the letters of the scripts that the texts use."""
    single, letters = list[tuple[str, str]](), Counter[str]()
    for token, number in vocabulary:
        text = token.removeprefix(prefix) if prefix else token
        if len(text) == 1:
            single.append((token, script_of(text)))
        for letter in text if counts[number] else "":
            letters[script_of(letter)] += int(counts[number])
    del letters[""]
    least = SCRIPT_SHARE * letters.total()
    used = {script for script, count in letters.items() if count >= least} | {""}
    return {token for token, script in single if script in used}


def script_of(letter: str) -> str:
    """The script of a letter, by the first word of its name ("LATIN", "CJK"); "" for all that belongs to none."""
    name = unicodedata.name(letter, "").split()
    if not letter.isalpha() or not name:
        return "" if unicodedata.category(letter)[0] != "M" or name[:1] == ["COMBINING"] else "".join(name[:1])
    return "LATIN" if ord(letter) < LATIN_END or "LATIN" in name else name[0].partition("-")[0]


# ---------------------------------------------------------------------------------------------------- embeddings
@dataclass(frozen=True)
class Rows:
    """Which rows of a model's embeddings stay, and what its configuration says then."""

    tokens: list[int]  # old ids, in their new order
    types: int | None  # token types that the template of pairs can give; None: the model has no table of them
    first_position: int  # rows of positions that nothing counts from any more: RoBERTa counts from its padding id
    config: dict[str, Any]


def rows_to_keep(config: Mapping[str, Any], trimmed: Trimmed) -> Rows:
    """The rows that a trimmed tokenizer needs.

    Args:
        config: the content of the model's config.json, with the special tokens of its tokenizer.
    """
    new_ids = {old: new for new, old in enumerate(trimmed.old_ids)}
    changed = {name: new_ids.get(config[name]) for name in SPECIAL_IDS if config.get(name) is not None}
    changed["vocab_size"] = len(trimmed.old_ids)
    first, types = 0, config.get("type_vocab_size") or None
    if config["model_type"] in COUNTED_TYPES:
        first = config["pad_token_id"] - new_ids[config["pad_token_id"]]
        changed["max_position_embeddings"] = config["max_position_embeddings"] - first
    if types is not None and types > 1:
        types = changed["type_vocab_size"] = min(types, 1 if pair_template(trimmed.tokenizer).separators == 0 else 2)
    return Rows(trimmed.old_ids, types, first, {**config, **changed})


def trim_embeddings(model: Any, trimmed: Trimmed) -> None:
    """Keep the embedding rows of the tokens that stay, and renumber the ids in the configuration, in place."""
    config = model.config
    rows = rows_to_keep(config.to_dict(), trimmed)
    for name, value in rows.config.items():
        if name in (*SPECIAL_IDS, "vocab_size", "max_position_embeddings", "type_vocab_size"):
            setattr(config, name, value)
    embeddings, table = model.base_model.embeddings, model.get_input_embeddings()
    _keep(table, torch.tensor(rows.tokens))
    if rows.types:
        _keep(embeddings.token_type_embeddings, torch.arange(rows.types))
    for owner in (table, embeddings):
        if getattr(owner, "padding_idx", None) is not None:  # RoBERTa counts positions from that of its embeddings
            owner.padding_idx = config.pad_token_id
    if rows.first_position:
        positions = embeddings.position_embeddings
        _keep(positions, torch.arange(rows.first_position, positions.num_embeddings))
        positions.padding_idx = config.pad_token_id


def _keep(table: Any, rows: torch.Tensor) -> None:
    table.weight = torch.nn.Parameter(table.weight.detach()[rows].clone())
    table.num_embeddings = len(rows)
