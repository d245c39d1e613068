"""Questions without labels: a sentence of a passage whose gap is filled by a span that the rest of the passage repeats.

Mental model: one sentence becomes the question, with a span taken out; the other sentences are the context, and every
place where the span stands in it is a right answer. That is extractive question answering to the letter, as in
`destila.windows`: `<s> question </s></s> context </s>` and the same head. The question is the sentence, the words
around the gap, or either with an interrogative at its head in place of the gap. Some questions ask for a span that the
context lacks: their answer is position 0, none.

Invariants: a pure function of (tokens, generator); a row has the length asked for and no padding; the labelled tokens
spell the span, and every occurrence of it in the context as whole words is labelled. After Ram et al. 2021 (recurring
spans) and Lewis et al. 2019 (interrogatives instead of gaps).
"""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from destila.lexicon import BOS, EOS, MASK, Ids, Kind, Lexicon
from destila.settings import ClozeSettings

MAX_QUESTION = 64  # tokens; a longer sentence is cut to the neighbourhood of its gap
MAX_SPAN = 6  # words
MIN_SENTENCE = 5  # words; the longest has SPARE tokens
MAX_ANSWERS = 8  # what occurs more often in a passage is not asked for
SPARE = 128  # tokens beyond the row that a passage offers, for what shorter questions leave free
JOINTS = (b"-", b"\xe2\x80\x93", b"/", b"&")  # signs that an answer may hold
NAME_WEIGHT = 4.0  # names and numbers are asked for so much more often than other words
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
_STOP = frozenset(form.encode() for word in STOP_WORDS.split() for form in (word, word.capitalize(), word.upper()))


@dataclass(frozen=True, slots=True)
class Row:
    """One row of pre-training before words are masked. T tokens, M answers.

    Attributes:
        ids: (T,) of exactly the length asked for.
        starts, ends: first and last token of every right answer; (0,) where there is none; empty without a question.
        context: where the context begins.
    """

    ids: Ids
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    context: int


class _Words(NamedTuple):
    """A passage as words.

    Attributes:
        starts: (W + 1,) the token that each word begins with, and the end.
        texts: the bytes of each, without the space before it.
        kinds: `Kind` of each word's first token.
        sentence: (W,) the number of the sentence that each belongs to.
    """

    starts: list[int]
    texts: list[bytes]
    kinds: list[int]
    sentence: list[int]


class _Gap(NamedTuple):
    """A span to ask for: its words [first, last], and the first words of its other occurrences."""

    first: int
    last: int
    others: tuple[int, ...]


def plain_row(passage: Ids, *, length: int, lexicon: Lexicon) -> Row:
    """`<s> passage </s>`, without a question."""
    body = passage[: length - 2].copy()
    body[0] = lexicon.without_space[body[0]]
    return Row(np.concatenate([[BOS], body, [EOS]]), (), (), 1)


def cloze_row(
    passage: Ids, *, length: int, lexicon: Lexicon, settings: ClozeSettings, generator: np.random.Generator
) -> Row | None:
    """A question about a passage, or None where nothing can be asked.

    Args:
        passage: at least length + SPARE tokens that begin a sentence.
        length: T of the row.
    """
    words = _words(passage[: length + SPARE], lexicon)
    answerable = generator.random() >= settings.unanswerable
    stays = answerable and generator.random() < settings.stays
    # Answers must lie where the context surely reaches, even after the longest question.
    reach = _last_word_before(words, length - (3 + MAX_QUESTION if stays else 16))
    sentences = _sentences(words, reach)
    for place in generator.permutation(len(sentences))[:4]:
        first, end = sentences[place]
        gaps = _phrases(words, first, end) if stays else _gaps(words, first, end, reach, recurring=bool(answerable))
        if gaps:
            weights = np.array([_weight(words, gap, first) for gap in gaps])
            gap = gaps[generator.choice(len(gaps), p=weights / weights.sum())]
            question = _question(passage, words, (first, end), gap, lexicon, settings, generator)
            taken = (end, end) if stays else (first, end)
            return _assemble(passage, words, taken, gap, question, length, lexicon)
    return None


def _words(passage: Ids, lexicon: Lexicon) -> _Words:
    starts = np.flatnonzero(lexicon.word_starts(passage)).tolist()
    pieces = [lexicon.pieces[number] for number in passage.tolist()]
    ends = [*starts[1:], len(pieces)]
    texts = [pieces[a] if b == a + 1 else b"".join(pieces[a:b]) for a, b in zip(starts, ends, strict=True)]
    sentence = np.cumsum(lexicon.sentence_starts(passage))[starts].tolist()
    return _Words([*starts, len(pieces)], texts, lexicon.kind[passage[starts]].tolist(), sentence)


def _last_word_before(words: _Words, token: int) -> int:
    return int(np.searchsorted(words.starts, token)) - 1


def _sentences(words: _Words, reach: int) -> list[tuple[int, int]]:
    """First and last-plus-one word of the sentences that end before `reach` and are long enough to ask something."""

    def fits(first: int, end: int) -> bool:
        return end - first >= MIN_SENTENCE and words.starts[end] - words.starts[first] <= SPARE

    borders = [0, *(w for w in range(1, reach) if words.sentence[w] != words.sentence[w - 1])]
    return [(a, b) for a, b in itertools.pairwise(borders) if fits(a, b)]


def _gaps(words: _Words, first: int, end: int, reach: int, *, recurring: bool) -> list[_Gap]:
    """Spans of a sentence that the rest of the passage repeats or, if not `recurring`, that stand here alone."""
    places: dict[bytes, list[int]] = {}
    for word, text in enumerate(words.texts):
        if not first <= word < end:
            places.setdefault(text, []).append(word)
    gaps = []
    for start in range(first, end):
        if not _opens(words, start):
            continue
        others = places.get(words.texts[start], [])
        if not recurring:
            if not others and _asked_alone(words, start, first):
                gaps.append(_Gap(start, start, ()))
            continue
        for last in range(start, min(start + MAX_SPAN, end)):
            others = [word for word in others if _goes_on(words, word + last - start, last, first, end)]
            inside = words.kinds[last] != Kind.SIGNS or words.texts[last] in JOINTS
            if not others or not inside or others[0] + last - start >= reach:
                break
            alone = last == start and not _asked_alone(words, start, first)
            if _opens(words, last) and not alone and len(others) <= MAX_ANSWERS:
                gaps.append(_Gap(start, last, tuple(others)))
    return gaps


def _phrases(words: _Words, first: int, end: int) -> list[_Gap]:
    """Spans of a sentence that function words or signs set off on both sides: names, numbers, nouns and company."""

    def apart(word: int) -> bool:
        return not first <= word < end or not _opens(words, word)

    gaps = []
    for start in range(first, end):
        if not (_opens(words, start) and apart(start - 1)):
            continue
        for last in range(start, min(start + MAX_SPAN, end)):
            if words.kinds[last] == Kind.SIGNS and words.texts[last] not in JOINTS:
                break
            alone = last == start and not _asked_alone(words, start, first)
            if _opens(words, last) and apart(last + 1) and not alone:
                gaps.append(_Gap(start, last, (start,)))
    return gaps


def _opens(words: _Words, word: int) -> bool:
    """Whether an answer may begin or end with a word."""
    return words.kinds[word] in (Kind.LETTERS, Kind.DIGITS) and words.texts[word] not in _STOP


def _goes_on(words: _Words, word: int, like: int, first: int, end: int) -> bool:
    """Whether a word outside of the sentence is the same as one in it."""
    outside = word < len(words.texts) and not first <= word < end
    return outside and words.texts[word] == words.texts[like]


def _is_name(words: _Words, word: int, first: int) -> bool:
    text = words.texts[word]
    return words.kinds[word] == Kind.DIGITS or (word > first and text[:1].isupper())


def _asked_alone(words: _Words, word: int, first: int) -> bool:
    """Single words are asked for if they are names, numbers or long; what opens a sentence may be anything."""
    return _is_name(words, word, first) or (word > first and len(words.texts[word]) > 6)


def _weight(words: _Words, gap: _Gap, first: int) -> float:
    """Names and numbers weigh more, and what stands in many places less."""
    name = _is_name(words, gap.first, first) or _is_name(words, gap.last, first)
    return (NAME_WEIGHT if name else 1.0) * (1 + gap.last - gap.first) / max(1, len(gap.others))


# ---------------------------------------------------------------------------------------------------- questions
def _question(
    passage: Ids,
    words: _Words,
    sentence: tuple[int, int],
    gap: _Gap,
    lexicon: Lexicon,
    settings: ClozeSettings,
    generator: np.random.Generator,
) -> list[int]:
    """The tokens of a question about a gap, in one of its forms."""
    first, end = sentence
    long = words.starts[end] - words.starts[first] > MAX_QUESTION
    if long or generator.random() < settings.neighbourhood:
        left, right = generator.integers(2, 9, 2).tolist()
        first, end = max(first, gap.first - left), min(end, gap.last + 1 + right)
    rate = generator.random() * settings.dropped
    before = _thinned(passage, words, range(first, gap.first), rate, lexicon, generator)
    after = _thinned(passage, words, range(gap.last + 1, end), rate, lexicon, generator)
    if long:
        before = before[-MAX_QUESTION // 2 :]
    while after and after[-1] == lexicon.newline:
        after.pop()
    if generator.random() >= settings.interrogative:
        return _clipped([*_unspaced(before, lexicon), MASK, *after])
    kind = Kind.DIGITS if words.kinds[gap.first] == Kind.DIGITS else Kind.LETTERS
    if kind == Kind.LETTERS and _is_name(words, gap.first, sentence[0]):
        kind = Kind.SPECIAL
    openings = lexicon.openings[kind]
    while after and lexicon.ends_sentence[after[-1]]:
        after.pop()
    if before:
        opens = first == sentence[0] and lexicon.pieces[before[0]] in _STOP  # "El", but no name
        before[0] = int(lexicon.with_space[lexicon.lowered[before[0]] if opens else before[0]])
    opening = openings[generator.integers(len(openings))]
    if settings.dropped and generator.random() < 0.5:
        before, after = after, before
    return [*_clipped([*opening, *before, *after]), lexicon.question_mark]


def _thinned(
    passage: Ids, words: _Words, asked: range, rate: float, lexicon: Lexicon, generator: np.random.Generator
) -> list[int]:
    """The tokens of some words, without the share of them that a question leaves unsaid."""
    said = generator.random(len(asked)) >= rate if rate else np.ones(len(asked), np.bool_)
    tokens: list[int] = []
    for place, word in enumerate(asked):
        if said[place]:
            first, *rest = passage[words.starts[word] : words.starts[word + 1]].tolist()
            # Words that came together with a sign between them must not run into one.
            alone = place > 0 and not said[place - 1] and words.kinds[word] != Kind.SIGNS
            tokens += [int(lexicon.with_space[first]) if alone else first, *rest]
    return tokens


def _unspaced(ids: list[int], lexicon: Lexicon) -> list[int]:
    return [int(lexicon.without_space[ids[0]]), *ids[1:]] if ids else []


def _clipped(ids: list[int]) -> list[int]:
    """A few words can be many tokens; the gap lies in the first half."""
    return ids[:MAX_QUESTION]


def _assemble(
    passage: Ids,
    words: _Words,
    sentence: tuple[int, int],
    gap: _Gap,
    question: list[int],
    length: int,
    lexicon: Lexicon,
) -> Row:
    """Question and context side by side, and the tokens of the answers."""
    cut, resume = words.starts[sentence[0]], words.starts[sentence[1]]
    context_start = len(question) + 3
    room = length - context_start - 1
    context = np.concatenate([passage[:cut], passage[resume:]])[:room]
    context[0] = lexicon.without_space[context[0]]
    ids = np.concatenate([[BOS], question, [EOS, EOS], context, [EOS]]).astype(np.int64)
    starts, ends = [], []
    for word in gap.others:
        shift = context_start - (resume - cut if word >= sentence[1] else 0)
        start, end = words.starts[word] + shift, words.starts[word + 1 + gap.last - gap.first] - 1 + shift
        if end < length - 1:
            starts.append(start)
            ends.append(end)
    return Row(ids, tuple(starts) or (0,), tuple(ends) or (0,), context_start)
