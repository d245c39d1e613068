"""Which words of a sentence a question repeats when it asks as people do, and in which order.

Mental model: people leave out phrases, not words, and what they keep stands near what they ask for; the verb comes
first: "En 1987, Ana Ruiz abrió [un taller] en el puerto" gives "¿Qué abrió Ana Ruiz en el puerto?". Phrases are what
prepositions, conjunctions and signs set apart, and verbs are known by their endings, as far as those tell.
Invariant: only the generator decides.
"""

from collections.abc import Sequence

import numpy as np

from destila.data.synthetic.answer_spans import Words, opens
from destila.data.synthetic.question_words import PREPOSITIONS
from destila.data.synthetic.token_table import Kind

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


def clause(words: Words, first: int, stop: int, resume: int, end: int, generator: np.random.Generator) -> list[int]:
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
