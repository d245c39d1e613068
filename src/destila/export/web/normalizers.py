"""A tokenizer's normalizers as steps that page/normalizers.js takes; or why it cannot take them.

Invariant: a step changes texts and their alignment as `tokenizers` does, for every text. This module writes no file.
"""

import base64
import binascii
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from tokenizers import normalizers

from destila.export.web.composition import tokenizers_composition
from destila.export.web.graphemes import grapheme_classes, ranges

LONGEST_KEY = 5  # bytes: `tokenizers` looks up no longer grapheme, but single code points
SYLLABLES = [*range(0x1100, 0x1200), *range(0xA960, 0xA980), *range(0xAC00, 0xD800)]  # Hangul
RUNS = {" {2,}": (" ", 2)}  # regular expressions that are read here: a code point that comes so many times or more

Fields = Mapping[str, Any]


class Unsupported(Exception):
    """Why the page cannot normalize texts as this tokenizer does."""


def normalizer_steps(normalizer: Fields | None) -> tuple[list[dict[str, Any]], list[str]]:
    """The steps of a tokenizer.json's normalizer, and what keeps them from being taken in a browser."""
    steps, problems = [], []
    for part in _flat(normalizer):
        kind = part["type"]
        try:
            if kind not in STEPS:
                raise Unsupported(f"it normalizes texts in a way that is not read here ({kind})")
            steps.append(STEPS[kind](part))
        except Unsupported as problem:
            problems.append(str(problem))
    return steps, problems


def _flat(normalizer: Fields | None) -> Iterator[Fields]:
    if normalizer is None:
        return
    if normalizer["type"] != "Sequence":
        yield normalizer
        return
    for part in normalizer["normalizers"]:
        yield from _flat(part)


# ------------------------------------------------------------------------------------- kinds
def _composition(part: Fields) -> dict[str, Any]:
    return {"kind": "Composition", **tokenizers_composition(compatible=part["type"] == "NFKC")}


def _replace(part: Fields) -> dict[str, Any]:
    pattern, content = part["pattern"], part["content"]
    if expression := pattern.get("Regex"):
        if expression not in RUNS:
            raise Unsupported(f"it replaces by the regular expression {expression!r}")
        code, least = RUNS[expression]
        return {"kind": "Replace", "pattern": code, "least": least, "content": content}
    if not pattern["String"]:
        raise Unsupported("it replaces an empty text")
    return {"kind": "Replace", "pattern": pattern["String"], "least": 0, "content": content}


def _strip(part: Fields) -> dict[str, Any]:
    strip = normalizers.Strip()
    white = ranges(lambda letter: strip.normalize_str(letter) == "")
    return {"kind": "Strip", "left": part["strip_left"], "right": part["strip_right"], "white": white}


def _precompiled(part: Fields) -> dict[str, Any]:
    try:
        keys = _charsmap_keys(base64.b64decode(part["precompiled_charsmap"]))
    except (ValueError, IndexError, struct.error, binascii.Error) as error:
        raise Unsupported(f"its charsmap cannot be read ({error})") from error
    classes = grapheme_classes()
    special = {*SYLLABLES, *classes["prepend"]}
    if odd := sorted(key for key in keys if ord(key[0]) in special):
        raise Unsupported(f"its charsmap changes graphemes that begin with {odd[0]!r} (U+{ord(odd[0][0]):04X})")
    members = {name: frozenset(map(chr, codes)) for name, codes in classes.items()}
    flat = {name: ranges(letters.__contains__) for name, letters in members.items()}
    return {"kind": "Precompiled", "charsmap": keys, "classes": flat}


STEPS = {"NFC": _composition, "NFKC": _composition, "Replace": _replace, "Strip": _strip, "Precompiled": _precompiled}


def _charsmap_keys(charsmap: bytes) -> dict[str, str]:
    """What a charsmap of SentencePiece changes, and into what: the keys that a text can meet in `tokenizers`.

    Its double array is that of Darts: a node's children lie at its offset XOR their byte, and its value at the offset.
    A key that begins with another one is never met, as the shortest wins.

    Raises:
        ValueError, IndexError, struct.error: it is corrupt or truncated.
    """
    (size,) = struct.unpack_from("<I", charsmap)
    units = np.frombuffer(charsmap, "<u4", size // 4, offset=4).astype(np.int64)
    texts = charsmap[4 + size :]
    offsets, labels = (units >> 10) << ((units & 1 << 9) >> 6), units & (1 << 31 | 0xFF)
    keys, found = [b""], dict[str, str]()
    places = offsets[:1]
    for _ in range(LONGEST_KEY):
        children = places[:, None] ^ np.arange(1, 256)
        near = np.where(children < len(units), children, 0)
        parents, bytes_ = np.nonzero((children < len(units)) & (labels[near] == np.arange(1, 256)))
        nodes = children[parents, bytes_]
        places = nodes ^ offsets[nodes]
        keys = [keys[parent] + bytes([byte + 1]) for parent, byte in zip(parents, bytes_, strict=True)]
        ends = (units[nodes] >> 8 & 1).astype(bool)
        for key, place in zip(np.array(keys, object)[ends], places[ends], strict=True):
            start = int(units[place] & ~(1 << 31))
            found[key.decode()] = texts[start : texts.index(b"\0", start)].decode()
        places, keys = places[~ends], [key for key, end in zip(keys, ends, strict=True) if not end]
    return found
