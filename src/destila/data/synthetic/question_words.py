"""How Spanish asks for a span: the words that open a question, by what the span is and what stands before it.

Mental model: an interrogative takes the place of the answer at the head of the question, and a preposition before the
answer goes with it: "nació en Lugo" asks "¿Dónde nació?", "lo firmó con Ana" asks "¿Con quién lo firmó?". What a number
counts goes along, too: "tiene 40 plazas" asks "¿Cuántas plazas tiene?". Invariant: knows words, not tokens.
"""

from collections.abc import Sequence
from enum import Enum

from destila.data.synthetic.thesaurus import kinds

MONTHS = frozenset(
    b"enero febrero marzo abril mayo junio julio agosto septiembre setiembre octubre noviembre diciembre".split()
)
NUMERALS = frozenset(
    b"dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince veinte treinta cuarenta "
    b"cincuenta sesenta setenta ochenta noventa cien doscientos trescientos quinientos mil".split()
)
PREPOSITIONS = {
    b"a": "a", b"al": "a", b"de": "de", b"del": "de", b"en": "en", b"con": "con", b"por": "por", b"para": "para",
    b"desde": "desde", b"hasta": "hasta", b"sobre": "sobre", b"entre": "entre", b"contra": "contra", b"hacia": "hacia",
    b"durante": "durante", b"sin": "sin", b"tras": "tras",
}  # fmt: skip
ARTICLES = frozenset(b"el la los las un una unos unas su sus".split())


class Asked(Enum):
    """What a span is, as far as its words show."""

    YEAR = "year"
    DATE = "date"
    NUMBER = "number"
    NAME = "name"
    OTHER = "other"


def kind_of_answer(words: Sequence[bytes], *, name: bool) -> Asked:
    """What kind of thing a span names.

    Args:
        words: of the span, at least one.
        name: whether it begins or ends with a capital letter that no sentence put there.
    """
    if any(word.lower() in MONTHS for word in words):
        return Asked.DATE
    if len(words) == 1 and len(words[0]) == 4 and words[0].isdigit() and b"1000" <= words[0] <= b"2100":
        return Asked.YEAR
    if words[0][:1].isdigit() or words[0] in NUMERALS:
        return Asked.NUMBER
    return Asked.NAME if name else Asked.OTHER


def openings(asked: Asked, preposition: str) -> tuple[str, ...]:
    """The heads that a question may have, the likely ones more than once.

    Args:
        preposition: before the span, as a value of PREPOSITIONS; empty if there is none.
    """
    if asked == Asked.YEAR:
        return ("¿En qué año", "¿En qué año", "¿Cuándo") if preposition in ("en", "") else _with(preposition, "qué año")
    if asked == Asked.DATE:
        return ("¿Cuándo", "¿Cuándo", "¿En qué fecha", "¿Qué día", "¿En qué mes")
    if asked == Asked.NUMBER:
        if preposition:
            return _with(preposition, "cuánto", "cuántos", "cuántas")
        return ("¿Cuánto", "¿Cuántos", "¿Cuántas", "¿Qué cantidad")
    if asked == Asked.NAME:
        if preposition == "en":
            return ("¿Dónde", "¿Dónde", "¿En qué", "¿En qué lugar", "¿En qué ciudad", "¿En qué país", "¿En quién")
        if preposition:
            return (*_with(preposition, "quién", "qué", "dónde"), "¿Quién", "¿Qué")
        return ("¿Quién", "¿Quién", "¿Qué", "¿Cuál", "¿Cómo se llama", "¿Cuál es el nombre de", "¿Quiénes")
    if preposition == "en":
        return ("¿Dónde", "¿En qué", "¿En qué", "¿Cuándo", "¿Cómo")
    if preposition == "para":
        return ("¿Para qué", "¿Para qué", "¿Por qué", "¿Para quién")
    if preposition == "por":
        return ("¿Por qué", "¿Por qué", "¿Por quién", "¿Cómo")
    if preposition:
        return (*_with(preposition, "qué", "qué", "quién"), "¿Qué", "¿Cómo")
    return ("¿Qué", "¿Qué", "¿Qué", "¿Cuál", "¿Cuáles", "¿Cómo", "¿Quién", "¿Cuál es", "¿Cuál fue", "¿Qué tipo de")


def _with(preposition: str, *interrogatives: str) -> tuple[str, ...]:
    return tuple(f"¿{preposition.capitalize()} {word}" for word in interrogatives)


def asking_for(kind: str, preposition: str) -> str:
    """The head of a question that says what kind of thing it asks for."""
    return f"¿{preposition.capitalize()} qué {kind}" if preposition else f"¿Qué {kind}"


def counting(noun: bytes) -> str:
    """How to ask for the number of something, from the ending of its plural."""
    return "¿Cuántas" if noun.endswith((b"as", b"ones", b"dades")) and not noun.endswith(b"emas") else "¿Cuántos"


def all_openings() -> set[str]:
    """Every head that this module may give."""
    prepositions = {"", *PREPOSITIONS.values()}
    heads = {head for asked in Asked for preposition in prepositions for head in openings(asked, preposition)}
    heads |= {f"¿{preposition.capitalize()} qué" for preposition in PREPOSITIONS.values()}
    heads |= {asking_for(kind, preposition) for kind in kinds().nouns for preposition in prepositions}
    return heads | {"¿Cuántas", "¿Cuántos", "¿Qué porcentaje"}
