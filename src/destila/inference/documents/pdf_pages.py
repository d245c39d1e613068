"""From the letters of each page of a PDF to pages of whole words and sentences.

Mental model: a page is a head, a body and a foot. Its head are the first lines that begin a neighboring page, too, and
its foot the last lines that end one; digits aside, and the neighbor of a left page may be the next left one. All three
stay where they stand, as paragraphs of their own, but words go on from body to body only: one that a page divides is
put together on the first of the two pages.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from destila.inference.documents.tidy import tidy

HYPHEN = "\ufffe"  # PDFium's mark of a hyphen at the end of a line; the newline after it is gone
LIGATURES = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)}

# Where a line or a page ends within a word: a small letter goes on, or capitals do that can be a syllable.
SMALL, CAPITAL = "a-zà-öø-ÿ", "A-ZÀ-ÖØ-Þ"
SYLLABLE = f"(?=[{CAPITAL}]*[AEIOUÁÉÍÓÚÜ])[{CAPITAL}]{{2,}}(?![{SMALL}])"
DIVIDED = re.compile(
    rf"(?<=[^\W\d_])(?:\ufffe|[-\u2010]\n)(?=[{SMALL}])|(?<=[{CAPITAL}][AEIOUÁÉÍÓÚÜ])(?:\ufffe|[-\u2010]\n)(?={SYLLABLE})"
    rf"|(?<=[AEIOUÁÉÍÓÚÜ][{CAPITAL}])(?:\ufffe|[-\u2010]\n)(?={SYLLABLE})"
)
CUT_BY_PAGE = re.compile(r"(?<=[^\W\d_])[-\u2010]\Z")
WORD_REST = re.compile(rf"([{SMALL}][^\W\d_]*|{SYLLABLE})([^\w\s]*)\s*")

NEAR = (-2, -1, 1, 2)  # left and right pages may have heads of their own
MOST_REPEATED = 6  # lines of a letterhead; pages that share more are copies of one text, such as a form
NUMBER = re.compile(r"[-–— ]*(\d{1,4})[-–— ]*")
ROMAN = re.compile(r"[-–— ]*(?=[ivxlc])[xlc]*(?:ix|iv|v?i{0,3})[-–— ]*", re.IGNORECASE)


@dataclass(slots=True)
class _Page:
    """The parts of a page, from top to bottom."""

    head: str
    body: str
    foot: str


def whole_pages(texts: Sequence[str]) -> list[str]:
    """Pages with their letters, words and sentences put together.

    Args:
        texts: what PDFium says of each page, with its accents on their letters.

    Example:
        >>> whole_pages(["Actas\\nla coope-\\n1 de 2", "Actas\\nración sigue.\\n2 de 2"])
        ['Actas\\n\\nla cooperación\\n\\n1 de 2', 'Actas\\n\\nsigue.\\n\\n2 de 2']
    """
    lines = [_lines(text) for text in texts]
    backward = [page[::-1] for page in lines]
    parts = list[tuple[list[str], list[str], list[str]]]()
    for place, own in enumerate(lines):
        top = _repeated(lines, place)
        bottom = max(top, len(own) - _repeated(backward, place))
        parts.append((own[:top], own[top:bottom], own[bottom:]))
    for (_, body, _), (_, following, _) in pairwise(parts):
        _part_last_line(body, following)
    pages = [_Page(*map(_mended, each)) for each in parts]
    _join_bodies(pages)
    return ["\n\n".join(filter(None, (page.head, page.body, page.foot))) for page in pages]


def _lines(text: str) -> list[str]:
    text = text.replace("\r\n", "\n").replace("\x02", HYPHEN)
    text = re.sub(r"\xad(?:\n|\Z)", HYPHEN, text.strip())
    return re.split(rf"\n|(?<={HYPHEN})(?!\Z)", text) if text else []


def _repeated(pages: Sequence[Sequence[str]], place: int) -> int:
    """How many first lines of a page begin a page near it, too."""
    near = [(pages[place + step], step) for step in NEAR if 0 <= place + step < len(pages)]
    counts = [_shared(pages[place], other, step) for other, step in near]
    return max((count for count in counts if count <= MOST_REPEATED), default=0)


def _shared(page: Sequence[str], other: Sequence[str], step: int) -> int:
    pairs = list(zip(page[: MOST_REPEATED + 1], other, strict=False))
    return next((place for place, pair in enumerate(pairs) if not _same(*pair, step)), len(pairs))


def _same(line: str, other: str, step: int) -> bool:
    """Whether two lines are one but for their digits. A bare number is that of its page: it goes on with the pages."""
    number, then = NUMBER.fullmatch(line), NUMBER.fullmatch(other)
    if number and then:
        return int(then[1]) - int(number[1]) == step
    return _without_digits(line) == _without_digits(other)


def _without_digits(line: str) -> str:
    return "#" if ROMAN.fullmatch(line) else re.sub(r"\d+", "#", " ".join(line.split()))


def _part_last_line(body: list[str], following: Sequence[str]) -> None:
    """Keep the newline after a divided word whose rest seems to be on the next page: what is between may be a foot."""
    goes_on = following and re.match(f"[{SMALL}]", following[0])
    if goes_on and len(body) > 1 and body[-2].endswith(HYPHEN) and not NUMBER.fullmatch(body[-1]):  # covid-19
        body[-2] = body[-2].replace(HYPHEN, "-")


def _mended(lines: Sequence[str]) -> str:
    """Lines with letters, words and paragraphs put together."""
    text = "\n".join(lines).replace(f"{HYPHEN}\n", HYPHEN)
    text = DIVIDED.sub("", text).replace(HYPHEN, "-")
    # A line that goes on in small letters is one sentence with the one before.
    return re.sub(rf"\n(?=[{SMALL}])", " ", tidy(text.translate(LIGATURES)))


def _join_bodies(pages: Sequence[_Page]) -> None:
    """Put the words that pages divide on the first of the two."""
    for page, following in pairwise(pages):
        cut, rest = CUT_BY_PAGE.search(page.body), WORD_REST.match(following.body)
        if cut and rest and rest[1].isupper() == page.body[: cut.start()][-2:].isupper():
            page.body = page.body[: cut.start()] + rest[1] + rest[2]
            following.body = following.body[rest.end() :]
