"""What may be asked for in a passage of tokens: its words, its sentences, and the spans of these that name something.

Mental model: a span is asked for either because the rest of the passage repeats it (Ram et al. 2021) or because it is a
phrase that its sentence sets off: a name, a number, a date, or what follows an article or a preposition. Everything is
seen in words, which `destila.data.synthetic.token_table` sees in tokens. Invariant: pure functions; nothing is drawn at
random.
"""

import itertools
from typing import NamedTuple

import numpy as np

from destila.data.synthetic.question_words import ARTICLES, MONTHS, NUMERALS, PREPOSITIONS
from destila.data.synthetic.token_table import Ids, Kind, Lexicon

MAX_SPAN = 6  # words
MIN_SENTENCE = 5  # words; the longest has SPARE tokens
TELLING = 2  # words other than function words that a question repeats at least
MAX_ANSWERS = 8  # what occurs more often in a passage is not asked for
SPARE = 128  # tokens beyond the row that a passage offers, for what shorter questions leave free
JOINTS = (b"-", b"\xe2\x80\x93", b"/", b"&")  # signs that an answer may hold
NAME_WEIGHT = 4.0  # names and numbers are asked for so much more often than other words
LINKS = frozenset(b"de del la las los el y e".split())  # words that a phrase may hold
# Words that no answer begins or ends with.
STOP_WORDS = """
a al algo ante así aún aunque bajo cada como con contra cual cuando cuándo de del desde donde dónde durante e el
él ella ellas ellos en entonces entre era eran eres es esa esas ese eso esos esta está estaba estaban están estar
estas este esto estos fue fueron ha haber había habían hace hacer han hasta hay he hemos la las le les lo los más
me mi mis mismo mucho muy nada ni no nos nosotros nuestra nuestro o os otra otras otro otros para pero poco por
porque pues que qué quien quién se sea ser será si sí sido sin sobre solo sólo son su sus también tan tanto te
tener tengo ti tiene tienen toda todas todo todos tu un una unas uno unos usted ustedes va vamos y ya yo
cuál cuáles cuánto cuántos cómo éste ésta mientras además según
muchas gracias señor señora señores señorías bueno entonces aquí ahí allí ahora
"""
STOP = frozenset(form.encode() for word in STOP_WORDS.split() for form in (word, word.capitalize(), word.upper()))


class Words(NamedTuple):
    """A passage as words."""

    starts: list[int]  # (W + 1,) the token that each word begins with, and the end
    texts: list[bytes]  # the bytes of each, without the space before it
    kinds: list[int]  # `Kind` of each word's first token
    sentence: list[int]  # (W,) the number of the sentence that each belongs to


class Gap(NamedTuple):
    """A span to ask for: its words [first, last], and the first words of its other occurrences."""

    first: int
    last: int
    others: tuple[int, ...]


def words_of(passage: Ids, lexicon: Lexicon) -> Words:
    starts = np.flatnonzero(lexicon.word_starts(passage)).tolist()
    pieces = [lexicon.pieces[number] for number in passage.tolist()]
    ends = [*starts[1:], len(pieces)]
    texts = [pieces[a] if b == a + 1 else b"".join(pieces[a:b]) for a, b in zip(starts, ends, strict=True)]
    sentence = np.cumsum(lexicon.sentence_starts(passage))[starts].tolist()
    return Words([*starts, len(pieces)], texts, lexicon.kind[passage[starts]].tolist(), sentence)


def last_word_before(words: Words, token: int) -> int:
    return int(np.searchsorted(words.starts, token)) - 1


def sentences(words: Words, reach: int) -> list[tuple[int, int]]:
    """First and last-plus-one word of the sentences that end before `reach` and are long enough to ask something."""

    def fits(first: int, end: int) -> bool:
        return end - first >= MIN_SENTENCE and words.starts[end] - words.starts[first] <= SPARE

    borders = [0, *(w for w in range(1, reach) if words.sentence[w] != words.sentence[w - 1])]
    return [(a, b) for a, b in itertools.pairwise(borders) if fits(a, b)]


def gaps_of(words: Words, first: int, end: int, reach: int, *, recurring: bool) -> list[Gap]:
    """Spans of a sentence that the rest of the passage repeats or, if not `recurring`, that stand here alone."""
    places: dict[bytes, list[int]] = {}
    for word, text in enumerate(words.texts):
        if not first <= word < end:
            places.setdefault(text, []).append(word)
    gaps = []
    for start in range(first, end):
        if not opens(words, start):
            continue
        others = places.get(words.texts[start], [])
        if not recurring:
            if not others and _asked_alone(words, start, first):
                gaps.append(Gap(start, start, ()))
            continue
        for last in range(start, min(start + MAX_SPAN, end)):
            others = [word for word in others if _goes_on(words, word + last - start, last, first, end)]
            inside = words.kinds[last] != Kind.SIGNS or words.texts[last] in JOINTS
            if not others or not inside or others[0] + last - start >= reach:
                break
            alone = last == start and not _asked_alone(words, start, first)
            if opens(words, last) and not alone and len(others) <= MAX_ANSWERS:
                gaps.append(Gap(start, last, tuple(others)))
    return gaps


def phrases_of(words: Words, first: int, end: int) -> list[Gap]:
    """Spans of a sentence that function words or signs set off on both sides: names, numbers, nouns and company."""

    def apart(word: int) -> bool:
        return not first <= word < end or not opens(words, word)

    gaps = []
    telling = sum(opens(words, word) for word in range(first, end))
    for start in range(first, end):
        if not (opens(words, start) and apart(start - 1) and _nominal(words, start, first)):
            continue
        day = _date_follows(words, start, end)
        for last in range(start + 2 if day else start, min(start + MAX_SPAN, end)):
            if words.kinds[last] == Kind.SIGNS and words.texts[last] not in JOINTS:
                break
            if words.texts[last] in STOP and words.texts[last] not in LINKS:
                break
            alone = last == start and not _asked_alone(words, start, first)
            inside = sum(opens(words, word) for word in range(start, last + 1))
            counts = last == start and _counts(words, last)  # "340" of "340 habitantes"
            if opens(words, last) and (counts or apart(last + 1)) and not alone and telling - inside >= TELLING:
                gaps.append(Gap(start, last, (start,)))
    return gaps


def _counts(words: Words, word: int) -> bool:
    return words.kinds[word] == Kind.DIGITS or words.texts[word] in NUMERALS


def _date_follows(words: Words, word: int, end: int) -> bool:
    """Whether a word is the day of a date: "17 de enero"."""
    return words.kinds[word] == Kind.DIGITS and word + 2 < end and words.texts[word + 2] in MONTHS


def _nominal(words: Words, word: int, first: int) -> bool:
    """Whether a phrase that begins with a word names something: a name, a number, or what follows an article."""
    if words.texts[word] in MONTHS and word > first + 1 and words.kinds[word - 2] == Kind.DIGITS:
        return False  # "17 de enero" is asked for whole
    if word == first:
        return words.kinds[word] == Kind.DIGITS or (word + 1 < len(words.texts) and is_name(words, word + 1, first))
    before = words.texts[word - 1].lower()
    return is_name(words, word, first) or before in ARTICLES or before in PREPOSITIONS


def opens(words: Words, word: int) -> bool:
    """Whether an answer may begin or end with a word."""
    return words.kinds[word] in (Kind.LETTERS, Kind.DIGITS) and words.texts[word] not in STOP


def _goes_on(words: Words, word: int, like: int, first: int, end: int) -> bool:
    """Whether a word outside of the sentence is the same as one in it."""
    outside = word < len(words.texts) and not first <= word < end
    return outside and words.texts[word] == words.texts[like]


def is_name(words: Words, word: int, first: int) -> bool:
    text = words.texts[word]
    return words.kinds[word] == Kind.DIGITS or (word > first and text[:1].isupper())


def _asked_alone(words: Words, word: int, first: int) -> bool:
    """Single words are asked for if they are names, numbers or long; what opens a sentence may be anything."""
    return is_name(words, word, first) or (word > first and len(words.texts[word]) > 6)


def weight_of(words: Words, gap: Gap, first: int, *, stays: bool) -> float:
    """Names and numbers weigh more, and what stands in many places less."""
    name = is_name(words, gap.first, first) or is_name(words, gap.last, first)
    size = 1 + gap.last - gap.first if not stays else 1
    return (NAME_WEIGHT if name else 1.0) * size / max(1, len(gap.others))
