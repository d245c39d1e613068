"""Which tokens texts use, and how often: counted in a stream, so that memory does not grow with the texts."""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from destila.core.progress import Progress
from destila.data.reading_form import reading_form
from destila.data.tokenizers import encodable

TEXTS_AT_ONCE, CHARACTERS_AT_ONCE = 1024, 1_000_000  # whichever comes first bounds what is held


@dataclass
class Usage:
    """What texts use of a vocabulary of V tokens."""

    counts: NDArray[np.int64]  # (V,) how often each token occurs
    texts: int = 0
    characters: int = 0
    # pieces of WordPiece words that are unknown as a whole; without these they might be known
    dead_ends: set[str] = field(default_factory=set)
    checks: list[int] = field(default_factory=list)  # one number for each batch of texts, of its token ids

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.counts + other.counts,
            self.texts + other.texts,
            self.characters + other.characters,
            self.dead_ends | other.dead_ends,
            self.checks + other.checks,
        )


def text_batches(texts: Iterable[str], *, what: str) -> Iterator[list[str]]:
    """Texts that every tokenizer takes, in batches of bounded size; the same texts give the same batches."""
    batch, characters = list[str](), 0
    progress = Progress(None, what=what, unit="text")
    for text in texts:
        batch.append(encodable(text))
        characters += len(text)
        if len(batch) == TEXTS_AT_ONCE or characters > CHARACTERS_AT_ONCE:
            yield batch
            progress.advance(len(batch))
            batch, characters = [], 0
    if batch:
        yield batch
    progress.close()


def both_forms(texts: Iterable[str]) -> Iterator[str]:
    """Each text, and the form in which a reader reads it, if that is another."""
    for text in texts:
        yield text
        form, _ = reading_form(text)
        if form != text:
            yield form


def token_ids(tokenizer: Tokenizer, batch: Sequence[str]) -> list[NDArray[np.int64]]:
    """The ids of each text, without special tokens around it."""
    encodings = tokenizer.encode_batch_fast(list(batch), add_special_tokens=False)
    return [np.array(encoding.ids, np.int64) for encoding in encodings]


def usage_of(tokenizer: Tokenizer, texts: Iterable[str]) -> Usage:
    """Count the tokens of texts."""
    size = _size(tokenizer)
    usage, wordpiece = Usage(np.zeros(size, np.int64)), _WordPiece.of(tokenizer)

    def noted() -> Iterator[str]:
        for text in texts:
            usage.texts += 1
            usage.characters += len(text)
            yield text

    for batch in text_batches(both_forms(noted()), what="counting tokens"):
        rows = token_ids(tokenizer, batch)
        ids = np.concatenate(rows)
        usage.counts += np.bincount(ids, minlength=size)
        usage.checks.append(checksum(ids))
        if wordpiece is not None:
            for text, row in zip(batch, rows, strict=True):
                if (row == wordpiece.unknown).any():
                    usage.dead_ends |= wordpiece.dead_ends(text)
    return usage


def _size(tokenizer: Tokenizer) -> int:
    """One more than the largest id: vocabularies may have holes."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


def checksum(ids: NDArray[np.int64]) -> int:
    """A number that token ids share with few others."""
    return zlib.crc32(np.ascontiguousarray(ids).data)


@dataclass(frozen=True)
class _WordPiece:
    """A WordPiece as this module imitates it, to see where words come to a dead end."""

    tokenizer: Tokenizer
    vocabulary: Mapping[str, int]
    prefix: str
    longest: int
    unknown: int | None

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "_WordPiece | None":
        """None where the tokenizer is of another kind."""
        model = tokenizer.model
        if type(model).__name__ != "WordPiece":
            return None
        unknown = tokenizer.token_to_id(model.unk_token)
        vocabulary = tokenizer.get_vocab(with_added_tokens=False)
        return cls(tokenizer, vocabulary, model.continuing_subword_prefix, model.max_input_chars_per_word, unknown)

    def dead_ends(self, text: str) -> set[str]:
        """The pieces that are taken from words whose end is never reached."""
        normalizer = self.tokenizer.normalizer
        normalized = normalizer.normalize_str(text) if normalizer else text
        splitter = self.tokenizer.pre_tokenizer
        words = {word for word, _ in splitter.pre_tokenize_str(normalized)} if splitter else {normalized}
        return set[str]().union(*map(self._dead_end, words))

    def _dead_end(self, word: str) -> set[str]:
        pieces: set[str] = set()
        start = 0 if len(word) <= self.longest else len(word)
        while start < len(word):
            prefix = self.prefix if start else ""
            candidates = (prefix + word[start:end] for end in range(len(word), start, -1))
            piece = next((candidate for candidate in candidates if candidate in self.vocabulary), None)
            if piece is None:
                return pieces
            pieces.add(piece)
            start += len(piece) - len(prefix)
        return set()
