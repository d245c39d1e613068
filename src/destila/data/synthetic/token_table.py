"""What the tokens of a byte-level vocabulary stand for, as tables over their ids.

Mental model: a byte-level BPE never joins letters with digits or punctuation, and a space is always the first byte of
the token after it. So the words and sentences of a text can be seen in its token ids alone, and a text that was
tokenized once need never be a string again. Only full stops that end no sentence ("Sr.", "art.") deceive it.

Invariant: for ids of whole texts, `words` cuts them into runs that hold every token once, in order. This module knows
the ids of `destila.data.tokenizers.train_tokenizer` and neither cuts passages nor masks anything.
"""

import functools
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from destila.core.errors import UserError
from destila.data.synthetic.question_words import all_openings
from destila.data.tokenizers import SPECIAL_TOKENS, pair_template

Ids = NDArray[np.int64]
MASK = SPECIAL_TOKENS.index("<mask>")
SPECIAL_COUNT = len(SPECIAL_TOKENS)


class Kind(IntEnum):
    """What a token is made of."""

    SPECIAL = 0
    SPACE = 1
    LETTERS = 2
    DIGITS = 3
    SIGNS = 4


@functools.cache
def _byte_of_letter() -> dict[str, int]:
    """The letter that a byte-level vocabulary writes for each byte, reversed: printable ones stand for themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


def _kind(text: bytes) -> Kind:
    letters = text.strip().decode("utf-8", errors="replace")
    if not letters:
        return Kind.SPACE
    if letters[0].isdigit():
        return Kind.DIGITS
    # A piece of a letter: 0xc3 to 0xca open the accented letters of the Latin alphabet, and 0x80 to 0xbf go on.
    piece = letters[0] == "\ufffd" and text.strip()[0] <= 0xCA
    return Kind.LETTERS if letters[0].isalpha() or piece else Kind.SIGNS


class Lexicon:
    """Tables over the ids of a byte-level tokenizer.

    Attributes:
        size: ids.
        template: of pairs of a question and a context.
        pieces: the bytes of each token without the space before it; special tokens have none.
        kind: (V,) `Kind` of each.
        spaced: (V,) whether a space stands before it.
        with_space, without_space: (V,) the same token with a space before it or without, itself if there is none.
        lowered: (V,) the same token with a small first letter, itself if there is none.
        ends_sentence: (V,) whether a sentence may end with it.
        newline, question_mark, space: ids.
        openings: ids of the words that may open a question, by their text.

    Raises:
        UserError: the tokenizer is of another kind.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.size = int(tokenizer.get_vocab_size(with_added_tokens=True))
        if [tokenizer.id_to_token(number) for number in range(SPECIAL_COUNT)] != list(SPECIAL_TOKENS):
            problem = f"does not begin with {', '.join(SPECIAL_TOKENS)}"
            raise UserError("text.tokenizer", problem, "Leave text.tokenizer empty: a fitting one is trained.")
        table = _byte_of_letter()
        names = [str(tokenizer.id_to_token(number)) for number in range(SPECIAL_COUNT, self.size)]
        if any(letter not in table for name in names for letter in name):
            raise UserError(
                "text.tokenizer", "is not byte-level", "Leave text.tokenizer empty: a fitting one is trained."
            )
        self.template = pair_template(tokenizer, where="text.tokenizer")
        texts = [b""] * SPECIAL_COUNT + [bytes(table[letter] for letter in name) for name in names]
        self.pieces = [text.removeprefix(b" ") for text in texts]
        self.kind = np.array(
            [Kind.SPECIAL if number < SPECIAL_COUNT else _kind(text) for number, text in enumerate(texts)]
        )
        self.spaced = np.array([text.startswith(b" ") for text in texts])
        ids = {text: number for number, text in enumerate(texts) if text}
        self.with_space = np.array([ids.get(b" " + text, number) for number, text in enumerate(texts)])
        self.without_space = np.array([ids.get(text.removeprefix(b" "), number) for number, text in enumerate(texts)])
        small = [
            text[:1] + text[1:2].lower() + text[2:] if text[:1] == b" " else text[:1].lower() + text[1:]
            for text in texts
        ]
        self.lowered = np.array([ids.get(text, number) for number, text in enumerate(small)])
        self.ends_sentence = np.array(
            [text.rstrip(b"\"')")[-1:] in (b".", b"!", b"?", b";", b":", b"\n") for text in texts]
        )
        self.decimal = np.array([text in (b".", b",", b":", b"/") for text in texts])
        self.newline, self.question_mark, self.space = ids[b"\n"], ids[b"?"], ids[b" "]
        encode = functools.partial(_encode, tokenizer)
        self.openings = {text: encode(text) for text in sorted(all_openings())}

    def word_starts(self, ids: Ids) -> NDArray[np.bool_]:
        """(T,) whether a word begins at each token: a space, another kind of token, or a special one.

        Signs that are glued to both their neighbors hold a number such as 1.200, 3,5 or 10:30 together.
        """
        kinds, spaced = self.kind[ids], self.spaced[ids]
        starts: NDArray[np.bool_] = spaced | (kinds == Kind.SPECIAL) | (kinds == Kind.SPACE)
        starts[1:] |= kinds[1:] != kinds[:-1]
        starts[:1] = True
        digits = kinds == Kind.DIGITS
        glued = self.decimal[ids[1:-1]] & digits[:-2] & digits[2:] & ~spaced[2:]
        starts[1:-1] &= ~glued
        starts[2:] &= ~glued
        return starts

    def sentence_starts(self, ids: Ids) -> NDArray[np.bool_]:
        """(T,) whether a sentence begins at each token: after a sign that ends one, before a space or in a new line."""
        starts = np.ones(len(ids), np.bool_)
        before = ids[:-1]
        starts[1:] = self.ends_sentence[before] & (self.spaced[ids[1:]] | (before == self.newline))
        return starts

    def apart(self, word: Sequence[int]) -> list[int]:
        """The tokens of a word with a space before it; a space of its own where no token has one."""
        first, *rest = word
        spaced = int(self.with_space[first])
        return [spaced, *rest] if self.spaced[spaced] else [self.space, *word]

    def text(self, ids: Sequence[int] | Ids) -> str:
        """The text of some ids; special tokens vanish."""
        numbers = [int(number) for number in ids]
        joined = b"".join(b" " * bool(self.spaced[number]) + self.pieces[number] for number in numbers)
        return joined.decode("utf-8", errors="replace")


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)
