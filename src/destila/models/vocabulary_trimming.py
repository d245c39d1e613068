"""Cut a vocabulary down to what a corpus uses: tokenizer and embedding rows.

Mental model: embeddings are half of a small student, and a general vocabulary holds many tokens that a corpus never
shows. Those may go without changing how any text of the corpus is cut:

- byte-level BPE applies the best-ranked merge that a word offers; one that was never applied was never the best;
- WordPiece takes the longest piece that fits; one that was never taken was never the longest;
- Unigram takes the likeliest sequence of pieces; it stays the likeliest among fewer.

So the tokens of the corpus are kept, whatever leads to them (merges), all added tokens, and all single characters (or
bytes), so that other texts can still be written, in more pieces.

Invariant: every text of the corpus gives the same tokens as before, under new ids; this is checked, not assumed. Kept
tokens stay in their old order. This module reads and writes no files.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from tokenizers import Tokenizer

from destila.core.errors import UserError
from destila.data.tokenizers import encodable, plain

SPECIAL_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "mask_token_id")


@dataclass(frozen=True)
class Trimmed:
    """A smaller tokenizer, and the old id of each of its tokens."""

    tokenizer: Tokenizer
    old_ids: list[int]


def trim_tokenizer(tokenizer: Tokenizer, texts: Iterable[str]) -> Trimmed:
    """Keep what the texts use.

    Raises:
        UserError: the tokenizer is of a kind that cannot be trimmed.
    """
    corpus = [encodable(text) for text in dict.fromkeys(texts)]
    definition = json.loads(tokenizer.to_str())
    model, kind = definition["model"], definition["model"]["type"]
    before = tokenizer.encode_batch(corpus, add_special_tokens=False)
    used = {token for encoding in before for token in encoding.tokens}
    used |= {added["content"] for added in definition["added_tokens"]}
    if kind == "BPE" and not any(model.get(name) for name in ("dropout", "continuing_subword_prefix")):
        kept = _trim_bpe(model, used)
    elif kind == "WordPiece":
        kept = _trim_wordpiece(model, used, _words(tokenizer, corpus))
    elif kind == "Unigram":
        kept = _trim_unigram(model, used)
    else:
        raise UserError("tokenizer", f"is a {kind}, which cannot be trimmed", "Leave the vocabulary as it is.")
    new_ids = {old: new for new, old in enumerate(kept)}
    _renumber(definition, new_ids)
    trimmed = plain(Tokenizer.from_str(json.dumps(definition)))
    after = trimmed.encode_batch(corpus, add_special_tokens=False)
    if any(old.tokens != new.tokens for old, new in zip(before, after, strict=True)):
        raise UserError("tokenizer", "would cut the corpus otherwise once trimmed", "Leave the vocabulary as it is.")
    return Trimmed(trimmed, kept)


def _renumber(definition: dict[str, Any], new_ids: Mapping[int, int]) -> None:
    """New ids in added tokens and post-processors."""
    for added in definition["added_tokens"]:
        added["id"] = new_ids[added["id"]]
    processors = [definition.get("post_processor") or {}]
    processors += processors[0].get("processors", [])
    for processor in processors:
        for name in ("sep", "cls"):
            if name in processor:
                processor[name][1] = new_ids[processor[name][1]]
        special = processor.get("special_tokens", {})
        for token in special.values():
            token["ids"] = [new_ids[old] for old in token["ids"]]


# ---------------------------------------------------------------------------------------------------- kinds of models
def _trim_bpe(model: dict[str, Any], used: set[str]) -> list[int]:
    """Cut vocabulary and merges of a BPE in place. Returns the old ids of the tokens that stay."""
    ranks = {tuple(merge): rank for rank, merge in enumerate(model["merges"])}
    applied: set[tuple[str, str]] = set()
    for token in used:
        applied |= _merges_of(token, ranks)
    wanted = used | {token for token in model["vocab"] if len(token) == 1}
    wanted |= {part for merge in applied for part in (*merge, "".join(merge))}
    if model.get("unk_token"):
        wanted.add(model["unk_token"])
    model["merges"] = [list(merge) for merge in sorted(applied, key=ranks.__getitem__)]
    return _trim_table(model, wanted)


def _merges_of(token: str, ranks: Mapping[tuple[str, str], int]) -> set[tuple[str, str]]:
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


def _trim_wordpiece(model: dict[str, Any], used: set[str], words: Iterable[str]) -> list[int]:
    """Cut the vocabulary of a WordPiece in place. Returns the old ids of the tokens that stay."""
    vocabulary, prefix = model["vocab"], model["continuing_subword_prefix"]
    single = {token for token in vocabulary if len(token.removeprefix(prefix)) == 1}
    wanted = used | single | {model["unk_token"]}
    for word in words:
        # A word that comes to a dead end is unknown as a whole; without the pieces that led there it might be known.
        wanted |= _pieces(word, vocabulary, prefix, model["max_input_chars_per_word"])
    return _trim_table(model, wanted)


def _pieces(word: str, vocabulary: Mapping[str, int], prefix: str, longest: int) -> set[str]:
    """The pieces that are taken from a word, also when its end is never reached."""
    pieces: set[str] = set()
    start = 0 if len(word) <= longest else len(word)
    while start < len(word):
        candidates = ((prefix if start else "") + word[start:end] for end in range(len(word), start, -1))
        piece = next((candidate for candidate in candidates if candidate in vocabulary), None)
        if piece is None:
            break
        pieces.add(piece)
        start += len(piece) - (len(prefix) if start else 0)
    return pieces


def _words(tokenizer: Tokenizer, texts: Sequence[str]) -> set[str]:
    """What a WordPiece model gets to see: normalized words."""
    words: set[str] = set()
    for text in texts:
        normalized = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
        words |= {word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalized)}
    return words


def _trim_table(model: dict[str, Any], wanted: set[str]) -> list[int]:
    """Keep the wanted tokens of a {token: id} vocabulary, in the order of their ids."""
    kept = sorted((number, token) for token, number in model["vocab"].items() if token in wanted)
    model["vocab"] = {token: new for new, (_, token) in enumerate(kept)}
    return [number for number, _ in kept]


def _trim_unigram(model: dict[str, Any], used: set[str]) -> list[int]:
    """Cut the pieces of a Unigram in place. Returns the old ids of the tokens that stay."""
    pieces = model["vocab"]
    lowest = min(range(len(pieces)), key=lambda number: pieces[number][1])  # what is unknown is scored below it
    wanted = [
        number
        for number, (piece, _) in enumerate(pieces)
        if piece in used or len(piece) == 1 or number in (lowest, model["unk_id"]) or piece.startswith("<0x")
    ]
    model["vocab"] = [pieces[number] for number in wanted]
    model["unk_id"] = wanted.index(model["unk_id"]) if model["unk_id"] is not None else None
    return wanted


# ---------------------------------------------------------------------------------------------------- embeddings
def trim_embeddings(model: Any, old_ids: Sequence[int]) -> None:
    """Keep the embedding rows of the tokens that stay, and renumber the ids in the configuration, in place."""
    table, config = model.get_input_embeddings(), model.config
    new_ids = {old: new for new, old in enumerate(old_ids)}
    table.weight = torch.nn.Parameter(table.weight.detach()[list(old_ids)].clone())
    table.num_embeddings = config.vocab_size = len(old_ids)
    for name in SPECIAL_IDS:
        if getattr(config, name, None) is not None:
            setattr(config, name, new_ids[getattr(config, name)])
    if table.padding_idx is not None:
        table.padding_idx = new_ids[table.padding_idx]
    embeddings = model.base_model.embeddings
    if getattr(embeddings, "padding_idx", None) is not None:  # RoBERTa counts positions from it
        embeddings.padding_idx = new_ids[embeddings.padding_idx]
