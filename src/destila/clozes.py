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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from destila.interrogatives import ARTICLES, MONTHS, NUMERALS, PREPOSITIONS, Asked, counting, kind_of_answer, openings
from destila.lexicon import BOS, EOS, MASK, Ids, Kind, Lexicon
from destila.settings import ClozeSettings
from destila.wordforms import WordForms

MAX_QUESTION = 64  # tokens; a longer sentence is cut to the neighbourhood of its gap
MAX_SPAN = 6  # words
MIN_SENTENCE = 5  # words; the longest has SPARE tokens
TELLING = 2  # words other than function words that a question repeats at least
MAX_ANSWERS = 8  # what occurs more often in a passage is not asked for
SPARE = 128  # tokens beyond the row that a passage offers, for what shorter questions leave free
JOINTS = (b"-", b"\xe2\x80\x93", b"/", b"&")  # signs that an answer may hold
NAME_WEIGHT = 4.0  # names and numbers are asked for so much more often than other words
# Where a question's word is not the text's: shares of its other forms and of words from elsewhere in the passage; the
# rest are strangers.
FORM, NEIGHBOUR = 0.35, 0.3
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
    passage: Ids,
    *,
    length: int,
    lexicon: Lexicon,
    settings: ClozeSettings,
    generator: np.random.Generator,
    forms: WordForms | None = None,
) -> Row | None:
    """A question about a passage, or None where nothing can be asked.

    Args:
        passage: at least length + SPARE tokens that begin a sentence.
        length: T of the row.
        forms: of the text's words; needed where `settings.varied` is above 0.
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
            weights = np.array([_weight(words, gap, first, stays=stays) for gap in gaps])
            gap = gaps[generator.choice(len(gaps), p=weights / weights.sum())]
            asker = _Asker(passage, words, lexicon, settings, forms, generator)
            question = _question(asker, (first, end), gap)
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
    telling = sum(_opens(words, word) for word in range(first, end))
    for start in range(first, end):
        if not (_opens(words, start) and apart(start - 1) and _nominal(words, start, first)):
            continue
        day = _date_follows(words, start, end)
        for last in range(start + 2 if day else start, min(start + MAX_SPAN, end)):
            if words.kinds[last] == Kind.SIGNS and words.texts[last] not in JOINTS:
                break
            if words.texts[last] in _STOP and words.texts[last] not in LINKS:
                break
            alone = last == start and not _asked_alone(words, start, first)
            inside = sum(_opens(words, word) for word in range(start, last + 1))
            counts = last == start and _counts(words, last)  # "340" of "340 habitantes"
            if _opens(words, last) and (counts or apart(last + 1)) and not alone and telling - inside >= TELLING:
                gaps.append(_Gap(start, last, (start,)))
    return gaps


def _counts(words: _Words, word: int) -> bool:
    return words.kinds[word] == Kind.DIGITS or words.texts[word] in NUMERALS


def _date_follows(words: _Words, word: int, end: int) -> bool:
    """Whether a word is the day of a date: "17 de enero"."""
    return words.kinds[word] == Kind.DIGITS and word + 2 < end and words.texts[word + 2] in MONTHS


def _nominal(words: _Words, word: int, first: int) -> bool:
    """Whether a phrase that begins with a word names something: a name, a number, or what follows an article."""
    if words.texts[word] in MONTHS and word > first + 1 and words.kinds[word - 2] == Kind.DIGITS:
        return False  # "17 de enero" is asked for whole
    if word == first:
        return words.kinds[word] == Kind.DIGITS or (word + 1 < len(words.texts) and _is_name(words, word + 1, first))
    before = words.texts[word - 1].lower()
    return _is_name(words, word, first) or before in ARTICLES or before in PREPOSITIONS


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


def _weight(words: _Words, gap: _Gap, first: int, *, stays: bool) -> float:
    """Names and numbers weigh more, and what stands in many places less."""
    name = _is_name(words, gap.first, first) or _is_name(words, gap.last, first)
    size = 1 + gap.last - gap.first if not stays else 1
    return (NAME_WEIGHT if name else 1.0) * size / max(1, len(gap.others))


# ---------------------------------------------------------------------------------------------------- questions
class _Asker(NamedTuple):
    """What a question is made with.

    Attributes:
        forms: other forms of the words, if the settings want any.
    """

    passage: Ids
    words: _Words
    lexicon: Lexicon
    settings: ClozeSettings
    forms: WordForms | None
    generator: np.random.Generator

    def chance(self, share: float) -> bool:
        return bool(self.generator.random() < share)


def _question(asker: _Asker, sentence: tuple[int, int], gap: _Gap) -> list[int]:
    """The tokens of a question about a gap, in one of its forms."""
    first, end = sentence
    words, lexicon, settings = asker.words, asker.lexicon, asker.settings
    long = words.starts[end] - words.starts[first] > MAX_QUESTION
    if long or asker.chance(settings.neighbourhood):
        left, right = asker.generator.integers(2, 9, 2).tolist()
        first, end = max(first, gap.first - left), min(end, gap.last + 1 + right)
    asks = asker.chance(settings.interrogative)
    opening, stop, resume = _opening(asker, first, end, gap, sentence[0]) if asks else ([MASK], gap.first, gap.last + 1)
    rate = asker.generator.random() * settings.dropped
    chosen = _chosen(asker, [*range(first, stop), *range(resume, end)], rate, signs=not asks)
    before = _said(asker, [word for word in chosen if word < stop])
    after = _said(asker, [word for word in chosen if word >= resume])
    if not asks:
        ahead = _joined(before)[-MAX_QUESTION // 2 if long else 0 :]
        return _clipped([*_unspaced(ahead, lexicon), MASK, *_joined(after)])
    while after and lexicon.ends_sentence[after[-1][-1]]:
        after.pop()
    if before and first == sentence[0] and lexicon.pieces[before[0][0]] in _STOP:  # "El", but no name
        before[0][0] = int(lexicon.lowered[before[0][0]])
    parts = [before, after]
    if asker.chance(settings.reordered):
        cut = int(asker.generator.integers(len(before) + 1))
        parts = [before[:cut], before[cut:], after]
        parts = [parts[place] for place in asker.generator.permutation(3)]
    if long:
        parts = [part[-MAX_QUESTION // 4 :] for part in parts]
    return [*_clipped([*opening, *_joined(_spaced(parts, lexicon))]), lexicon.question_mark]


def _opening(asker: _Asker, first: int, end: int, gap: _Gap, opens: int) -> tuple[list[int], int, int]:
    """The head of a question, the word that what was before the gap ends before, and that which goes on after it.

    Args:
        first, end: words that the question may repeat.
        opens: the first word of the sentence.
    """
    words, lexicon, generator = asker.words, asker.lexicon, asker.generator
    stop, resume, preposition = gap.first, gap.last + 1, ""
    if stop > first and words.texts[stop - 1].lower() in ARTICLES:
        stop -= 1
    if stop > first and (found := PREPOSITIONS.get(words.texts[stop - 1].lower())):
        stop, preposition = stop - 1, found
    name = _is_name(words, gap.first, opens) or _is_name(words, gap.last, opens)
    asked = kind_of_answer(words.texts[gap.first : resume], name=name)
    if asked == Asked.NUMBER and resume < end:
        noun = words.texts[resume]
        if noun == b"%":
            return lexicon.openings["¿Qué porcentaje"], stop, resume + 1
        if words.kinds[resume] == Kind.LETTERS and noun not in _STOP and noun.endswith(b"s"):
            head = [*lexicon.openings[counting(noun)], *_joined(_said(asker, [resume]))]
            return head, stop, resume + 1
    if asked == Asked.OTHER and gap.last > gap.first and asker.chance(0.4):
        head = lexicon.openings[f"¿{preposition.capitalize()} qué" if preposition else "¿Qué"]
        return [*head, *_joined(_said(asker, [gap.first]))], stop, resume
    heads = openings(asked, preposition)
    return lexicon.openings[heads[generator.integers(len(heads))]], stop, resume


def _chosen(asker: _Asker, asked: list[int], rate: float, *, signs: bool) -> list[int]:
    """The words that a question repeats: without a share of them, and half that share of the function words.

    Args:
        signs: whether it repeats signs.
    """
    words, newline = asker.words, asker.lexicon.newline
    telling = np.array([_opens(words, word) for word in asked], np.bool_)
    kept = asker.generator.random(len(asked)) >= np.where(telling, rate, rate / 2)
    if (kept & telling).sum() < TELLING:
        kept[telling] = True
    if not signs:
        kept &= np.array([words.kinds[word] != Kind.SIGNS for word in asked], np.bool_)
    kept &= np.array([asker.passage[words.starts[word]] != newline for word in asked], np.bool_)
    return [word for word, keep in zip(asked, kept.tolist(), strict=True) if keep]


def _said(asker: _Asker, asked: Sequence[int]) -> list[list[int]]:
    """The tokens of some words, a share of them others than the text's."""
    passage, words, lexicon = asker.passage, asker.words, asker.lexicon
    found: list[list[int]] = []
    for place, word in enumerate(asked):
        tokens = passage[words.starts[word] : words.starts[word + 1]].tolist()
        if asker.forms and _opens(words, word) and asker.chance(asker.settings.varied):
            tokens = _another(asker, word) or tokens
        # Words that came together with something between them must not run into one.
        if place > 0 and asked[place - 1] != word - 1 and words.kinds[word] != Kind.SIGNS:
            tokens = lexicon.apart(tokens)
        found.append(tokens)
    return found


def _another(asker: _Asker, word: int) -> list[int]:
    """The tokens of a word that a question may hold in place of one: another form of it, one of the passage, or any."""
    assert asker.forms is not None
    words, generator = asker.words, asker.generator
    draw = generator.random()
    if draw < FORM and (others := asker.forms.of(words.texts[word])):
        return list(others[generator.integers(len(others))])
    if draw < FORM + NEIGHBOUR:
        other = int(generator.integers(len(words.texts)))
        if _opens(words, other):
            found: list[int] = asker.passage[words.starts[other] : words.starts[other + 1]].tolist()
            return asker.lexicon.apart(found)
    return list(asker.forms.any(generator))


def _joined(words: list[list[int]]) -> list[int]:
    return [number for word in words for number in word]


def _spaced(parts: list[list[list[int]]], lexicon: Lexicon) -> list[list[int]]:
    """Parts of a question one after the other, with a space before each."""
    for part in parts:
        if part:
            part[0] = lexicon.apart(part[0])
    return [word for part in parts for word in part]


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
