"""What the page's JavaScript has to know of a tokenizer and of Unicode in order to cut texts exactly as Python does.

Mental model: browsers know other versions of Unicode than `tokenizers` and Python, so the page asks none of them: which
characters are letters, numbers and so on is read off here, from those who decide it in Python, and travels as ranges.

Invariant: a tokenizer that page/tokenizer.js would not imitate exactly is refused, with every reason. This module
writes no file.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any

from tokenizers import Regex, Tokenizer, pre_tokenizers

from destila.core.characters import is_hidden
from destila.core.errors import UserError
from destila.inference.decoding import is_extender, is_letter

# Nothing else is assigned, but for private use.
CODES = [*range(0xD800), *range(0xE000, 0x40000), *range(0xE0000, 0xE0200)]
# In the words of the pattern that byte-level tokenizers cut words with.
PATTERNS = {"letter": r"\p{L}+", "number": r"\p{N}+", "white": r"\s+"}
CLASSES: dict[str, Callable[[str], bool]] = {
    "space": str.isspace,
    "hidden": is_hidden,
    "extender": is_extender,
    "word": is_letter,
}
BYTES = frozenset(pre_tokenizers.ByteLevel.alphabet())
VARIANTS = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")  # of BPE: not read here


def characters() -> dict[str, list[int]]:
    """Ranges of code points by class, each flat: [first, one past the last, first, ...].

    "letter", "number" and "white" are `tokenizers`' own; "space", "hidden", "extender" and "word" are
    `destila.inference.decoding`'.
    """
    text = "".join(map(chr, CODES))
    ranges = {}
    for name, pattern in PATTERNS.items():
        pieces = pre_tokenizers.Split(Regex(pattern), "removed", invert=True).pre_tokenize_str(text)
        ranges[name] = [code for _, (start, end) in pieces for code in (CODES[start], CODES[end - 1] + 1)]
    return ranges | {name: list(_ranges(belongs)) for name, belongs in CLASSES.items()}


def _ranges(belongs: Callable[[str], bool]) -> Iterator[int]:
    for inside, group in groupby(CODES, lambda code: belongs(chr(code))):
        codes = list(group)
        if inside:
            yield from (codes[0], codes[-1] + 1)


def tokenizer_tables(tokenizer: Tokenizer, *, where: str) -> tuple[dict[str, Any], dict[str, bool]]:
    """The vocabulary and merges of a byte-level BPE, and how it treats the start of a text.

    Args:
        where: the reader's name, for messages.

    Returns:
        {"vocab", "merges"} as in tokenizer.json, and {"prefix": whether a space is put before a text, "trims": whether
        that space stands for no character}.

    Raises:
        UserError: it is of another kind.
    """
    content = json.loads(tokenizer.to_str())
    first, last = content["pre_tokenizer"] or {}, content["post_processor"] or {}
    prefix = bool(first.get("add_prefix_space"))
    trimming = [part for part in last.get("processors", [last]) if part.get("trim_offsets")]
    problems = list(_kind(content["model"], content["normalizer"], first))
    problems += [
        f"its added token {token['content']!r} is cut out of texts"
        for token in content["added_tokens"]
        if not token["special"]
    ]
    if any(bool(part["add_prefix_space"]) != prefix for part in trimming):
        problems.append("its pre-tokenizer and its post-processor disagree on add_prefix_space")
    if problems:
        remedy = "Use destila serve, which runs every tokenizer; or a RoBERTa reader, such as destila makes."
        problem = f"its tokenizer cannot run in a browser, where byte-level BPE is read: {'; '.join(problems)}"
        raise UserError(where, problem, remedy)
    model = {name: content["model"][name] for name in ("vocab", "merges")}
    return model, {"prefix": prefix, "trims": bool(trimming)}


def _kind(model: Mapping[str, Any], normalizer: Mapping[str, Any] | None, first: Mapping[str, Any]) -> Iterator[str]:
    """What keeps a tokenizer from being the byte-level BPE of RoBERTa."""
    if model["type"] != "BPE":
        yield f"its model is {model['type']}"
        return
    yield from (f"its model has {name} = {model[name]!r}" for name in VARIANTS if model.get(name))
    if normalizer is not None:
        yield f"it normalizes texts ({normalizer['type']})"
    if first.get("type") != "ByteLevel" or not first.get("use_regex", True):
        yield f"its words are cut by {first.get('type', 'nothing')} and not by the pattern of byte-level BPE"
    elif missing := BYTES - model["vocab"].keys():
        yield f"its vocabulary lacks {len(missing)} of the 256 bytes"
