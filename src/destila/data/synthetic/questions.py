"""From a gap in a sentence to a question, in the tokens of the text.

Mental model: the question is the sentence, or the words around the gap, with the gap showing or with an interrogative
at its head (Lewis et al. 2019). So that it looks like a person's, words are left out, stand in another form, or are
others altogether, and its parts change places; the settings say how often.

People leave out phrases, not words, and what they keep stands near what they ask for; the verb comes first: "En 1987,
Ana Ruiz abrió [un taller] en el puerto" gives "¿Qué abrió Ana Ruiz en el puerto?". Phrases are what prepositions,
conjunctions and signs set apart, and verbs are known by their endings, as far as those tell.

Invariant: only the generator decides.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from destila.config import ClozeSettings
from destila.data.synthetic.answer_spans import STOP, TELLING, Gap, Words, is_name, opens
from destila.data.synthetic.question_words import (
    ARTICLES,
    PREPOSITIONS,
    Asked,
    asking_for,
    counting,
    kind_of_answer,
    openings,
)
from destila.data.synthetic.thesaurus import kinds
from destila.data.synthetic.token_table import MASK, Ids, Kind, Lexicon
from destila.data.synthetic.word_variants import WordForms

MAX_QUESTION = 64  # tokens; a longer sentence is cut to the neighborhood of its gap
# Where a question's word is not the text's: shares of its other forms and of words from elsewhere in the passage; the
# rest are strangers.
FORM, NEIGHBOR = 0.35, 0.3


class Asker(NamedTuple):
    """What a question is made with."""

    passage: Ids
    words: Words
    lexicon: Lexicon
    settings: ClozeSettings
    forms: WordForms | None  # other forms of the words, if the settings want any
    generator: np.random.Generator

    def chance(self, share: float) -> bool:
        return bool(self.generator.random() < share)


def question_of(asker: Asker, sentence: tuple[int, int], gap: Gap) -> list[int]:
    """The tokens of a question about a gap, in one of its forms."""
    first, end = sentence
    words, lexicon, settings = asker.words, asker.lexicon, asker.settings
    long = words.starts[end] - words.starts[first] > MAX_QUESTION
    if long or asker.chance(settings.neighborhood):
        left, right = asker.generator.integers(2, 9, 2).tolist()
        first, end = max(first, gap.first - left), min(end, gap.last + 1 + right)
    asks = asker.chance(settings.interrogative)
    opening, stop, resume = _opening(asker, first, end, gap, sentence[0]) if asks else ([MASK], gap.first, gap.last + 1)
    in_clauses = asks and settings.clauses and asker.chance(settings.clauses)
    if in_clauses and (told := _clause(words, first, stop, resume, end, asker.generator)):
        said = _said(asker, told)
        for place in (place for place, word in enumerate(told) if word == sentence[0]):
            _small(said[place], lexicon)
        return [*_clipped([*opening, *_joined(_spaced([said], lexicon))]), lexicon.question_mark]
    rate = asker.generator.random() * settings.dropped
    chosen = _chosen(asker, [*range(first, stop), *range(resume, end)], rate, signs=not asks)
    before = _said(asker, [word for word in chosen if word < stop])
    after = _said(asker, [word for word in chosen if word >= resume])
    if not asks:
        ahead = _joined(before)[-MAX_QUESTION // 2 if long else 0 :]
        return _clipped([*_unspaced(ahead, lexicon), MASK, *_joined(after)])
    while after and lexicon.ends_sentence[after[-1][-1]]:
        after.pop()
    if before and first == sentence[0]:
        _small(before[0], lexicon)
    parts = [before, after]
    if asker.chance(settings.reordered):
        cut = int(asker.generator.integers(len(before) + 1))
        parts = [before[:cut], before[cut:], after]
        parts = [parts[place] for place in asker.generator.permutation(3)]
    if long:
        parts = [part[-MAX_QUESTION // 4 :] for part in parts]
    return [*_clipped([*opening, *_joined(_spaced(parts, lexicon))]), lexicon.question_mark]


def _opening(asker: Asker, first: int, end: int, gap: Gap, start: int) -> tuple[list[int], int, int]:
    """The head of a question, the word that what was before the gap ends before, and that which goes on after it.

    Args:
        first, end: words that the question may repeat.
        start: the first word of the sentence.
    """
    words, lexicon, generator = asker.words, asker.lexicon, asker.generator
    stop, resume, preposition = gap.first, gap.last + 1, ""
    if stop > first and words.texts[stop - 1].lower() in ARTICLES:
        stop -= 1
    if stop > first and (found := PREPOSITIONS.get(words.texts[stop - 1].lower())):
        stop, preposition = stop - 1, found
    if (
        asker.settings.kinds
        and asker.chance(asker.settings.kinds)
        and (told := _told(asker, first, stop, gap, preposition))
    ):
        head, stop = told
        return head, stop, resume
    name = is_name(words, gap.first, start) or is_name(words, gap.last, start)
    asked = kind_of_answer(words.texts[gap.first : resume], name=name)
    if asked == Asked.NUMBER and resume < end:
        noun = words.texts[resume]
        if noun == b"%":
            return lexicon.openings["¿Qué porcentaje"], stop, resume + 1
        if words.kinds[resume] == Kind.LETTERS and noun not in STOP and noun.endswith(b"s"):
            head = [*lexicon.openings[counting(noun)], *_joined(_said(asker, [resume]))]
            return head, stop, resume + 1
    if asked == Asked.OTHER and gap.last > gap.first and asker.chance(0.4):
        head = lexicon.openings[f"¿{preposition.capitalize()} qué" if preposition else "¿Qué"]
        return [*head, *_joined(_said(asker, [gap.first]))], stop, resume
    heads = openings(asked, preposition)
    return lexicon.openings[heads[generator.integers(len(heads))]], stop, resume


def _told(asker: Asker, first: int, stop: int, gap: Gap, preposition: str) -> tuple[list[int], int] | None:
    """A head that says what kind of thing the answer is, and where what was before it ends; None: it is not known.

    Args:
        stop: where it ends without article and preposition, the latter being `preposition`.
    """
    words, generator, known = asker.words, asker.generator, kinds()
    if (
        stop > first
        and preposition in ("", "de")
        and (noun := words.texts[stop - 1].decode(errors="replace")) in known.nouns
    ):
        stop, preposition = stop - 1, ""  # "en la ciudad de Lugo"
        if stop > first and words.texts[stop - 1].lower() in ARTICLES:
            stop -= 1
        if stop > first and (found := PREPOSITIONS.get(words.texts[stop - 1].lower())):
            stop, preposition = stop - 1, found
        called: tuple[str, ...] = (noun,)
    else:
        texts = [text.decode(errors="replace").lower() for text in words.texts[gap.first : gap.last + 1]]
        called = known.of.get(" ".join(texts), ()) or (
            (texts[0],) if len(texts) > 1 and texts[0] in known.nouns else ()
        )
        if not called:
            return None
    return asker.lexicon.openings[asking_for(called[generator.integers(len(called))], preposition)], stop


def _chosen(asker: Asker, asked: list[int], rate: float, *, signs: bool) -> list[int]:
    """The words that a question repeats: without a share of them, and half that share of the function words.

    Args:
        signs: whether it repeats signs.
    """
    words, newline = asker.words, asker.lexicon.newline
    telling = np.array([opens(words, word) for word in asked], np.bool_)
    kept = asker.generator.random(len(asked)) >= np.where(telling, rate, rate / 2)
    if (kept & telling).sum() < TELLING:
        kept[telling] = True
    if not signs:
        kept &= np.array([words.kinds[word] != Kind.SIGNS for word in asked], np.bool_)
    kept &= np.array([asker.passage[words.starts[word]] != newline for word in asked], np.bool_)
    return [word for word, keep in zip(asked, kept.tolist(), strict=True) if keep]


def _said(asker: Asker, asked: Sequence[int]) -> list[list[int]]:
    """The tokens of some words, a share of them others than the text's."""
    passage, words, lexicon = asker.passage, asker.words, asker.lexicon
    found: list[list[int]] = []
    for place, word in enumerate(asked):
        tokens = passage[words.starts[word] : words.starts[word + 1]].tolist()
        if asker.forms and opens(words, word) and asker.chance(asker.settings.varied):
            tokens = _another(asker, word, asker.forms)
        # Words that came together with something between them must not run into one.
        if place > 0 and asked[place - 1] != word - 1 and words.kinds[word] != Kind.SIGNS:
            tokens = lexicon.apart(tokens)
        found.append(tokens)
    return found


def _another(asker: Asker, word: int, forms: WordForms) -> list[int]:
    """The tokens of a word that a question may hold in place of one: another form of it, one of the passage, or any."""
    words, generator = asker.words, asker.generator
    means_it = asker.settings.synonyms and asker.chance(asker.settings.synonyms)
    if means_it and (same := forms.synonyms(words.texts[word])):
        return list(same[generator.integers(len(same))])
    draw = generator.random()
    if draw < FORM and (others := forms.of(words.texts[word])):
        return list(others[generator.integers(len(others))])
    if draw < FORM + NEIGHBOR:
        other = int(generator.integers(len(words.texts)))
        if opens(words, other):
            found: list[int] = asker.passage[words.starts[other] : words.starts[other + 1]].tolist()
            return asker.lexicon.apart(found)
    return list(forms.any(generator))


def _small(word: list[int], lexicon: Lexicon) -> None:
    """Take the capital letter from a word that only opened its sentence: "El", but no name."""
    if lexicon.pieces[word[0]] in STOP:
        word[0] = int(lexicon.lowered[word[0]])


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


# ---------------------------------------------------------------------------------------------------- whole phrases
FEWEST, MOST = 2, 7  # words that carry meaning, of which a question gets about so many
SKIPPED = 0.15  # share of the phrases that are left out although nearer ones are there
JOINED = 0.7  # how often "de" belongs to what is before it
CONJUNCTIONS = frozenset(
    b"""
    y e o u que pero sino cuando donde como mientras porque pues si aunque cuyo cuya cuyos cuyas quien quienes
    """.split()
)
WEAK = frozenset(b", \" ' \xc2\xab \xc2\xbb".split())  # signs that a question may reach across
CLITICS = frozenset("se no lo le les me te nos ya también".encode().split())
AUXILIARIES = frozenset(
    "ha han había habían fue fueron es son era eran ser sido está están estaba estaban".encode().split()
)
VERB_ENDINGS = tuple("ó aron ieron aba aban ían ará arán erá erán irá irán aría arían ería erían".encode().split())
VERBS = AUXILIARIES | frozenset(
    """
    tiene tienen tenía tuvo hay hubo puede pueden podía pudo debe deben debía hace hacen hacía hizo dio dieron da dan
    dijo dice dicen vive viven vivía llama llaman consiste incluye incluyen contiene contienen permite permiten existe
    existen representa representan significa produce producen produjo encuentra encuentran utiliza utilizan usa usan
    recibe reciben forma forman ocupa ocupan comienza termina llega llegan sale sabe quiere quieren cree creen pone puso
    vino fui va van viene vienen sigue siguen pertenece pertenecen mide pesa cuesta dura duran trabaja trabajan dirige
    gobierna cubre cubren abre cierra causa causan afecta afectan depende dependen ayuda necesita necesitan requiere
    muestra muestran indica presenta presentan ofrece ofrecen constituye constituyen compone considera consideran
    define controla protege evita nace muere crece vuelve convierte conoce conocen cuenta cuentan habla hablan juega
    juegan gana pierde perdió obtuvo mantiene mantuvo trajo condujo tradujo quedó
    """.encode().split()
)


def _clause(words: Words, first: int, stop: int, resume: int, end: int, generator: np.random.Generator) -> list[int]:
    """The words of a question about the gap between `stop` and `resume`, in its order; none if they say too little.

    Args:
        first, end: of the sentence, its words first to end - 1.
        stop, resume: where what is before the gap ends, and where that which is after it begins.
    """
    left = _phrases(words, range(stop - 1, first - 1, -1), generator)
    right = _phrases(words, range(resume, end), generator)
    wanted = int(generator.integers(FEWEST, MOST + 1))
    before, after = list[int](), list[int]()
    while (left or right) and sum(opens(words, word) for word in (*before, *after)) < wanted:
        here = left if left and (not right or generator.random() < 0.5) else right
        phrase = here.pop(0)
        if (before or after) and generator.random() < SKIPPED:
            continue
        (before if here is left else after).extend(phrase)
    before.sort()
    if sum(opens(words, word) for word in (*before, *after)) < FEWEST:
        return []
    if (verb := _verb(words, before)) is not None:
        return [*before[verb:], *before[:verb], *after]
    return [*after, *before] if generator.random() < 0.7 else [*before, *after]


def _phrases(words: Words, walk: Sequence[int], generator: np.random.Generator) -> list[list[int]]:
    """The phrases on one side of a gap, from the gap outwards, up to a sign that a question does not reach across."""
    backwards = len(walk) > 1 and walk[0] > walk[-1]
    found, current = list[list[int]](), list[int]()
    for word in walk:
        if words.kinds[word] == Kind.SPACE and words.texts[word] != b"\n":
            continue
        if words.kinds[word] in (Kind.SIGNS, Kind.SPACE):
            if words.texts[word] not in WEAK:
                break
            found, current = [*found, current], []
        elif _begins(words, word, generator):
            if backwards:
                found, current = [*found, [*current, word]], []
            else:
                found, current = [*found, current], [word]
        else:
            current.append(word)
    return [phrase for phrase in [*found, current] if any(opens(words, word) for word in phrase)]


def _begins(words: Words, word: int, generator: np.random.Generator) -> bool:
    """Whether a phrase begins with a word."""
    text = words.texts[word].lower()
    if text in (b"de", b"del"):
        return bool(generator.random() >= JOINED)
    return text in PREPOSITIONS or text in CONJUNCTIONS


def _verb(words: Words, before: Sequence[int]) -> int | None:
    """Where in some words the last finite verb begins, with what leans on it; None: there is none."""
    for place in range(len(before) - 1, -1, -1):
        text = words.texts[before[place]]
        if text in VERBS or (len(text) > 4 and text.islower() and text.endswith(VERB_ENDINGS)):
            while place > 0 and words.texts[before[place - 1]].lower() in CLITICS | AUXILIARIES:
                place -= 1
            return place
    return None
