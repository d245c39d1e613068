"""What the page's JavaScript has to know of a tokenizer and of Unicode in order to cut texts exactly as Python does.

Mental model: browsers know other versions of Unicode than `tokenizers` and Python, so the page asks none of them: which
characters are letters, numbers and so on is read off here, from those who decide it in Python, and travels as ranges.

Invariant: a tokenizer that page/tokenizer.js would not imitate exactly is refused, with every reason. This module
writes no file.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tokenizers import Regex, Tokenizer, pre_tokenizers

from destila.core.characters import is_hidden, is_idle
from destila.core.errors import UserError
from destila.export.web.composition import python_composition
from destila.export.web.graphemes import CODES, ranges
from destila.export.web.normalizers import normalizer_steps
from destila.inference.decoding import is_extender, is_letter

# In the words of the pattern that byte-level tokenizers cut words with.
PATTERNS = {"letter": r"\p{L}+", "number": r"\p{N}+", "white": r"\s+"}
CLASSES: dict[str, Callable[[str], bool]] = {
    "space": str.isspace,
    "hidden": is_hidden,
    "extender": is_extender,
    "word": is_letter,
    "upper": str.isupper,
    "lower": str.islower,
    "idle": is_idle,
}
BYTES = frozenset(pre_tokenizers.ByteLevel.alphabet())
VARIANTS = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")  # of BPE: not read here

Fields = Mapping[str, Any]


def characters() -> dict[str, list[int]]:
    """Ranges of code points by class, each flat: [first, one past the last, first, ...].

    "letter", "number" and "white" are `tokenizers`' own; "space", "hidden", "extender" and "word" are
    `destila.inference.decoding`'; "upper", "lower" and "idle" are those of `destila.data.reading_form`.
    """
    text = "".join(map(chr, CODES))
    flat = {}
    for name, pattern in PATTERNS.items():
        pieces = pre_tokenizers.Split(Regex(pattern), "removed", invert=True).pre_tokenize_str(text)
        flat[name] = [code for _, (start, end) in pieces for code in (CODES[start], CODES[end - 1] + 1)]
    return flat | {name: ranges(belongs) for name, belongs in CLASSES.items()}


def reading_tables() -> dict[str, Any]:
    """How `destila.data.reading_form` composes letters, and the small letter of each capital: of Python's Unicode."""
    letters = [(letter, letter.lower()) for letter in map(chr, CODES)]
    lowercase = {letter: small for letter, small in letters if len(small) == 1 and small != letter}
    return {"composition": python_composition(), "lowercase": lowercase}


def tokenizer_tables(tokenizer: Tokenizer, *, where: str) -> dict[str, Any]:
    """The steps of a tokenizer's normalizer, and its byte-level BPE or its Unigram with a metaspace.

    Args:
        tokenizer: of a reader: it trims no offsets, or as RoBERTa does (`destila.data.tokenizers.plain`).
        where: the reader's name, for messages.

    Returns:
        {"normalizers": steps of page/normalizers.js, and "bpe" or "unigram": what the class of that name takes}.

    Raises:
        UserError: it is of another kind.
    """
    content = json.loads(tokenizer.to_str())
    kind, first, last = content["model"]["type"], content["pre_tokenizer"] or {}, content["post_processor"] or {}
    trims = any(part.get("trim_offsets") for part in last.get("processors", [last]))
    problems = {"BPE": _byte_level_problems, "Unigram": _unigram_problems}.get(kind, _model_problem)
    steps, others = normalizer_steps(content["normalizer"])
    found = [*problems(content["model"], first), *others]
    found += [
        f"its added token {token['content']!r} is cut out of texts"
        for token in content["added_tokens"]
        if not token["special"]
    ]
    if found:
        remedy = "Use destila serve, which runs every tokenizer; or a reader such as destila makes."
        problem = (
            f"its tokenizer cannot run in a browser, where byte-level BPE and Unigram are read: {'; '.join(found)}"
        )
        raise UserError(where, problem, remedy)
    read = _byte_level(content["model"], first, trims) if kind == "BPE" else _unigram(content["model"], first)
    return {"normalizers": steps} | read


def _model_problem(model: Fields, first: Fields) -> Iterator[str]:
    yield f"its model is {model['type']}"


# ------------------------------------------------------------------------------------- byte-level BPE
def _byte_level_problems(model: Fields, first: Fields) -> Iterator[str]:
    """What keeps a tokenizer from being the byte-level BPE of RoBERTa."""
    yield from (f"its model has {name} = {model[name]!r}" for name in VARIANTS if model.get(name))
    if first.get("type") != "ByteLevel" or not first.get("use_regex", True):
        yield f"its words are cut by {first.get('type', 'nothing')} and not by the pattern of byte-level BPE"
    elif missing := BYTES - model["vocab"].keys():
        yield f"its vocabulary lacks {len(missing)} of the 256 bytes"


def _byte_level(model: Fields, first: Fields, trims: bool) -> dict[str, Any]:
    flags = {"prefix": bool(first["add_prefix_space"]), "trims": trims}
    return {"bpe": {"vocab": model["vocab"], "merges": model["merges"], **flags}}


# ------------------------------------------------------------------------------------- Unigram
def _unigram_problems(model: Fields, first: Fields) -> Iterator[str]:
    """What keeps a tokenizer from being the Unigram of XLM-R."""
    if model["unk_id"] is None:
        yield "its model has no unknown token"
    if model.get("byte_fallback"):
        yield "its model spells unknown characters as bytes"
    if first.get("type") != "Metaspace":
        yield f"its words are cut by {first.get('type', 'nothing')} and not by Metaspace"


def _unigram(model: Fields, first: Fields) -> dict[str, Any]:
    pieces, scores = zip(*model["vocab"], strict=True)
    # Python's floats are written in as many digits as they need: the page reads the same numbers.
    settings = {"unknown": model["unk_id"], "space": first["replacement"], "split": first["split"]}
    return {"unigram": {"pieces": pieces, "scores": scores, "prefix": first["prepend_scheme"] != "never", **settings}}
