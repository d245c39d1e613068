"""Other forms of a word, for questions that do not repeat a text word by word.

Mental model: people ask who founded a club of which the text says that its foundation was somebody's work. Words that
begin with the same letters stand in for what a lemmatizer would know: "fundó", "fundada", "fundadores". A family is
what a sample of the text holds of words with a common beginning, so forms come with the tokens that the text has for
them. Some strangers are in every family; a question with a wrong word is one that a reader meets, too.

Invariant: a pure function of (tokens, lexicon); this module draws nothing at random.
"""

import bisect
from collections import Counter
from typing import NamedTuple

import numpy as np

from destila.core.characters import without_accents
from destila.data.synthetic.thesaurus import Synonyms
from destila.data.synthetic.token_table import Ids, Kind, Lexicon

SAMPLE = 2_000_000  # tokens of the text that are looked through
CHUNK = 50_000
SHORTEST = 5  # letters of a word that has forms
SEEN = 3  # times in the sample that a form needs
BEGINNING = 0.6  # of a word's letters that its forms share, and four at least
DIFFERENCE = 4  # letters by which forms differ in length, at most


class _Form(NamedTuple):
    letters: str
    tokens: tuple[int, ...]


class WordForms:
    """The families of a text's words.

    Args:
        tokens: (N,) ids of a text, perhaps mapped from the disk.
    """

    def __init__(self, tokens: Ids, lexicon: Lexicon) -> None:
        counts: Counter[tuple[int, ...]] = Counter()
        step = max(CHUNK, len(tokens) * CHUNK // SAMPLE)
        for first in range(0, len(tokens), step):
            counts.update(_words(np.asarray(tokens[first : first + CHUNK]).astype(np.int64), lexicon))
        forms = []
        for ids, count in counts.items():
            text = b"".join(lexicon.pieces[number] for number in ids).decode("utf-8", errors="replace")
            if count >= SEEN and len(text) >= SHORTEST and text.isalpha() and text.islower():
                forms.append(_Form(without_accents(text), ids))
        self._forms = sorted(forms)
        self._letters = [form.letters for form in self._forms]
        self._synonyms = Synonyms(self._forms)
        often = np.array([counts[form.tokens] for form in self._forms], np.float64) ** 0.75
        self._borders = np.cumsum(often / max(1.0, often.sum()))

    def __len__(self) -> int:
        return len(self._forms)

    def of(self, word: bytes) -> list[tuple[int, ...]]:
        """The tokens, each with a space before it, of all forms of a word but itself; none of names and short words."""
        text = word.decode("utf-8", errors="replace")
        if len(text) < SHORTEST or not text.isalpha() or not text.islower():
            return []
        letters = without_accents(text)
        beginning = letters[: max(SHORTEST - 1, round(BEGINNING * len(letters)))]
        first = bisect.bisect_left(self._letters, beginning)
        last = bisect.bisect_left(self._letters, beginning + "\uffff")
        return [
            form.tokens
            for form in self._forms[first:last]
            if abs(len(form.letters) - len(letters)) <= DIFFERENCE and form.letters != letters
        ]

    def synonyms(self, word: bytes) -> list[tuple[int, ...]]:
        """The tokens, each with a space before it, of words of the same meaning."""
        return self._synonyms.of(word.decode("utf-8", errors="replace"))

    def any(self, generator: np.random.Generator) -> tuple[int, ...]:
        """The tokens of a word of the text, common ones more often."""
        place = int(np.searchsorted(self._borders, generator.random(), side="right"))
        return self._forms[min(place, len(self._forms) - 1)].tokens


def _words(ids: Ids, lexicon: Lexicon) -> list[tuple[int, ...]]:
    """The words of a stretch of text that have a space before them."""
    starts = np.flatnonzero(lexicon.word_starts(ids))
    kept = lexicon.spaced[ids[starts]] & (lexicon.kind[ids[starts]] == Kind.LETTERS)
    numbers, ends = ids.tolist(), [*starts[1:].tolist(), len(ids)]
    return [
        tuple(numbers[start:end])
        for start, end, keep in zip(starts.tolist(), ends, kept.tolist(), strict=True)
        if keep and end < len(ids)
    ]
