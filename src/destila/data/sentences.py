"""Where a text may be cut: sentences, and passages of whole sentences that a reader takes in at once.

Invariants: spans are [start, end) in code points of the text, in order, without white space at their edges; together
they hold every character that is not white space; a passage is no longer than asked. Time is linear in the text. The
rules are for Spanish and small on purpose: a wrong cut costs a passage its neighbor's context, no answer its text.
"""

import re
from collections.abc import Iterator

Span = tuple[int, int]

# Marks that end a sentence with the quotes that close after them, or an empty line. The lookbehind keeps rows of dots
# linear.
BOUNDARY = re.compile(r"(?<![.!?…])[.!?…]++[\"»”’)\]]*+(?=\s)|\n[^\S\n]*+\n")
BEGINNING = re.compile(r"\s*[¿¡«\"“‘'(\[—–-]*\s?[^\Wa-zà-ÿ_]")
# The word before a dot.
LAST_WORD = re.compile(r"(?<![^\W_])[^\W\d_]++(?=\.\Z)")
LONGEST_ABBREVIATION = 12

# Shortened words with which no sentence ends: a name, a number or an example follows.
ABBREVIATIONS = (
    "abg acad adm afmo agr apdo arq art arts arz av avd avda ayto bibl bto cap caps cf cfr cmdte cnel comdte comp "
    "coord coords cta ctra cód depto dir disp dn dna dpto dr dra dras dres dto dña ed eds edo ej entlo excma excmo "
    "exp fdo fig figs fr gdor gob gral hna hno ibíd ilma ilmo ilust imp ing ingª lcda lcdo lda ldo lic licda licdo "
    "lám láms mons mr mrs mtra mtro ntra ntro núm núms ob op pag pags pbro pdta pdte pg pgs pl pral pres presb prof "
    "profa profra profs prov pza párr párrs pág págs rdo rda ref rep rev rvda rvdo sec secr sgt sgto smo sr sra "
    "sras sres srta srtas srto st sta sto supl tel teléf tels tfno tlf trad tte tít univ urb vda vol vols vs vto"
)
# Those that are words, too, unless a capital begins them or a number follows.
CAPITAL_ABBREVIATIONS = "Alm Card Col Com Cor Gen Mag May Min Pte Sen"
NUMBERED_ABBREVIATIONS = (
    "No Nos N abr ago ap c ca dic ene esc fasc feb fol inc jul jun l lib lín n nov nro oct p par pp s sept ss t tom v "
    "vers vv"
)
NUMBER = re.compile(r"\s*(?:\d|[IVXLCDM]+\b)")
# Those with which a sentence may end or not.
OPEN_ABBREVIATIONS = (
    "admón aprox cía co corp dcha dcho etc hnos inc izda izdo izq jr ltd ltda máx mín sl ss ud uds vd vds"
)
NEVER, CAPITAL, NUMBERED, OPEN = (
    frozenset(words.split())
    for words in (ABBREVIATIONS, CAPITAL_ABBREVIATIONS, NUMBERED_ABBREVIATIONS, OPEN_ABBREVIATIONS)
)
# Of more than one part: the first letters of a plural (EE. UU.), eras (a. C.), hours (p. m.), companies (S. A.).
PLURAL = re.compile(r"([A-ZÑ])\1\Z")
PLURAL_BEFORE = re.compile(r"(?<![^\W_])([A-ZÑ])\1\.\s?\Z")
PLURAL_AFTER = re.compile(r"\s?([A-ZÑ])\1\.")
PARTS_BEFORE = {
    "C": re.compile(r"(?<![^\W_])[ad]\.\s?(?:de\s)?\Z"),
    "m": re.compile(r"(?<![^\W_])[ap]\.\s?\Z"),
    "A": re.compile(r"(?<![^\W_])S\.\s?\Z"),
    "L": re.compile(r"(?<![^\W_])S\.\s?\Z"),
}
ERA = re.compile(r"\s?(?:de\s)?C\.")
# A sentence that follows one of those begins with such a word, or with a verb in the past; a name goes on.
SENTENCE_BEGINS = re.compile(
    r"\s*[«\"“‘'(\[—–-]*\s?(?:[¿¡]|(?:A|Además|Al|Algun[ao]s|Allí|Antes|Así|Aunque|Aquel(?:la|los|las|lo)?|Aquí|Ayer|Cada|"
    r"Como|Con|Contra|Cuando|De|Del|Desde|Después|Durante|E|El|Ellas?|Ellos?|En|Entonces|Entre|Era|Eran|Es|Es[ae]s?|Esos?|"
    r"Est[ae]s?|Estos?|Fue|Fueron|Ha|Han|Había|Hasta|Hay|Hoy|La|Las|Le|Les|Lo|Los|Luego|Me|Mientras|Much[ao]s|Más|Nadie|No|"
    r"Nos|Nunca|O|Otr[ao]s?|Para|Pero|Poco|Por|Porque|Pues|Que|Quien|Se|Según|Si|Siempre|Sin|Sobre|Solo|Son|Su|Sus|Sólo|"
    r"También|Tampoco|Tal|Tanto|Te|Tiene|Tod[ao]s?|Tras|Un|Una|Un[ao]s|Vari[ao]s|Y|Ya|"
    r"[^\W\d_a-zà-ÿ][^\W\d_]*(?:ó|aron|ieron|eron))\b)"
)
OVERLAP = 3  # a passage repeats the sentence before it if that takes no more than this part of it
SHOWN = 400  # most characters of a sentence that is shown around an answer


def sentences(text: str) -> list[Span]:
    """The sentences of a text."""
    return list(_stripped(text, _cuts(text)))


def _cuts(text: str) -> Iterator[int]:
    """Where one sentence ends and another may begin, in order; the end of the text comes last."""
    for found in BOUNDARY.finditer(text):
        cut = found.end()
        if found[0].startswith("\n") or (BEGINNING.match(text, cut) and not _abbreviates(text, found)):
            yield cut
    yield len(text)


def _abbreviates(text: str, found: re.Match[str]) -> bool:
    """Whether a boundary is the dot of an abbreviation after which the sentence goes on."""
    dot = found.start()
    word = LAST_WORD.search(text, max(0, dot - LONGEST_ABBREVIATION), dot + 1) if found[0] == "." else None
    if word is None:
        return False
    may_end = _may_end(word[0], text[max(0, word.start() - LONGEST_ABBREVIATION) : word.start()], text, dot + 1)
    return may_end is False or (may_end is True and not SENTENCE_BEGINS.match(text, dot + 1))


def _may_end(word: str, before: str, text: str, after: int) -> bool | None:
    """Whether a sentence may end with an abbreviation; None: it is none. The text goes on at `after`."""
    name = word.lower()
    if name in OPEN and not (name in NUMBERED and NUMBER.match(text, after)):
        return True
    if word in PARTS_BEFORE and PARTS_BEFORE[word].search(before):
        return True
    if PLURAL.match(word) and PLURAL_BEFORE.search(before):
        return True
    if PLURAL.match(word) and PLURAL_AFTER.match(text, after):
        return False
    if (len(word) == 1 and word.isupper()) or name in NEVER or word in CAPITAL:
        return False  # an initial, a title
    followed = NUMBER if word in NUMBERED else ERA if word in ("a", "d") else None
    return False if followed and followed.match(text, after) else None


def _stripped(text: str, cuts: Iterator[int]) -> Iterator[Span]:
    start = 0
    for end in cuts:
        piece = text[start:end]
        left = len(piece) - len(piece.lstrip())
        if left < len(piece):
            yield start + left, start + len(piece.rstrip())
        start = end


def passages(text: str, most: int) -> list[Span]:
    """Passages of at most `most` characters that together hold all of the text.

    A passage is as many whole sentences as fit; it begins with the last sentence of the one before if that is short, so
    that a sentence is read beside what it refers to.
    """
    pieces = [piece for span in sentences(text) for piece in _pieces(text, span, most)]
    found, first = list[Span](), 0
    while first < len(pieces):
        start, last = pieces[first][0], first
        while last + 1 < len(pieces) and pieces[last + 1][1] - start <= most:
            last += 1
        found.append((start, pieces[last][1]))
        short = pieces[last][1] - pieces[last][0] <= most // OVERLAP
        # Going back one sentence must leave room for the next, or the passage after would hold nothing new.
        again = last + 1 < len(pieces) and last > first and pieces[last + 1][1] - pieces[last][0] <= most
        first = last if short and again else last + 1
    return found


def _pieces(text: str, span: Span, most: int) -> Iterator[Span]:
    """A sentence, cut between words if it is too long for a passage."""
    start, end = span
    while end - start > most:
        space = max(text.rfind(" ", start + 1, start + most), text.rfind("\n", start + 1, start + most))
        cut = space if space > 0 else start + most
        yield from _stripped_span(text, start, cut)
        start = cut
    yield from _stripped_span(text, start, end)


def _stripped_span(text: str, start: int, end: int) -> Iterator[Span]:
    for left, right in _stripped(text[start:end], iter((end - start,))):
        yield start + left, start + right


def sentence_around(text: str, start: int, end: int) -> Span:
    """The sentence, or sentences, that hold the span [start, end); of a very long one the words around it."""
    left, right = max(0, start - SHOWN), min(len(text), end + SHOWN)
    touched = [(a + left, b + left) for a, b in sentences(text[left:right]) if a + left < end and b + left > start]
    first, last = touched[0][0], touched[-1][1]
    if last - first > SHOWN:
        room = max(0, SHOWN - (end - start)) // 2
        first, last = max(first, start - room), min(last, end + room)
    if first > 0 and not text[first - 1].isspace():  # it was cut within a word
        first = min(start, text.find(" ", first, start) + 1 or start)
    if last < len(text) and not text[last].isspace():
        last = max(end, text.rfind(" ", end, last))
    return first, last
