"""A charsmap of SentencePiece, made in code: what readers of the XLM-R family normalize texts with."""

import struct
import unicodedata
from collections.abc import Mapping
from typing import Any

LAST = 0xFFFF  # of the code points that the tests' charsmap knows
CONTROLS = [*range(0x1, 0x9), 0xB, *range(0xE, 0x20), 0x7F]
SPACES = [0x9, 0xA, 0xC, 0xD, 0x200B, 0x2028, 0xFEFF]


def nfkc_charsmap() -> bytes:
    """Letters and their accents become one, white space a space, control characters nothing."""
    keys = {chr(code): "" for code in CONTROLS} | {chr(code): " " for code in SPACES}
    letters = [chr(code) for code in range(0xA0, LAST) if not 0xAC00 <= code < 0xE000]
    for letter in letters:
        composed, parts = unicodedata.normalize("NFKC", letter), unicodedata.normalize("NFD", letter)
        if composed != letter:
            keys[letter] = composed
        elif parts != letter:
            keys[parts] = letter
    keys["\u0958"] = "\u0915\u093c"
    return charsmap({key.encode(): value for key, value in keys.items()})


def charsmap(keys: Mapping[bytes, str]) -> bytes:
    """The bytes of one: a double array as Darts has it, and what its keys become."""
    texts, trie = bytearray(), dict[int, Any]()
    for key, value in keys.items():
        node = trie
        for byte in key:
            node = node.setdefault(byte, {})
        node[0] = len(texts)
        texts += value.encode() + b"\0"
    units = _double_array(trie)
    return struct.pack(f"<I{len(units)}I", 4 * len(units), *units) + bytes(texts)


def _double_array(trie: dict[int, Any]) -> list[int]:
    """Node at `place`: its children at `base ^ byte`, and its value, if any, at `base`."""
    units, waiting, free = {0: 0}, [(trie, 0, 0)], 256
    for node, place, label in waiting:
        base, free = free, free + 256  # a block for each node: simple, and large
        units[place] = _offset(place ^ base) | (0 in node) << 8 | label
        for byte, child in node.items():
            if byte:
                waiting.append((child, base ^ byte, byte))
            else:
                units[base] = 1 << 31 | child
    return [units.get(place, 0) for place in range(free)]


def _offset(distance: int) -> int:
    """As Darts writes it: large ones, which end in eight zeros, without them."""
    return distance << 10 if distance < 1 << 21 else (distance >> 8) << 10 | 1 << 9
