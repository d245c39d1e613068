"""Breaks and white space: from the pieces that a parser finds to a text that is clean.

Mental model: a parser yields texts and, between them, marks of where a paragraph, a line or a cell ends. `settle` turns
each run of marks into the strongest break among them. Invariant: a settled or tidy text is NFC, without control
characters but tab and newline and without characters that show nothing (`destila.core.characters`).
"""

import re
import unicodedata

from destila.core.characters import IDLE, JOINERS

# Marks between pieces; no piece can hold them: XML forbids them, and in HTML they are white space.
PARAGRAPH, LINE, CELL = "\x1d", "\x1e", "\x1f"
BREAKS = {PARAGRAPH: "\n\n", LINE: "\n", CELL: "\t"}
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Joiners shape the letters of some scripts and make one picture of several; elsewhere they show nothing.
JOINED = "\u0590-\u1fff\u2100-\u2bff\ufb1d-\ufdff\ufe00-\ufe0f\ufe70-\ufefc\U00010000-\U0010ffff"
UNSEEN = re.compile(f"[{IDLE}]|(?<![{JOINED}])[{JOINERS}]|[{JOINERS}](?![{JOINED}])")

SUPERSCRIPTS = str.maketrans("0123456789+-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻")


def raised(text: str) -> str:
    """A raised text: a number in raised digits, anything else as it is."""
    return text.translate(SUPERSCRIPTS) if re.fullmatch(r"\s*[+−-]?\d[\d\s,]*", text) else text


def clean(text: str) -> str:
    """NFC, with spaces in place of control characters and nothing in place of characters that show nothing."""
    return unicodedata.normalize("NFC", UNSEEN.sub("", CONTROLS.sub(" ", text.replace("\xa0", " "))))


def settle(text: str) -> str:
    """Tidy text in which the marks of a run, and the spaces around them, have become the strongest break among them."""
    return tidy(re.sub(f"[ {CELL}{LINE}{PARAGRAPH}]+", _strongest, text))


def _strongest(run: re.Match[str]) -> str:
    return next((BREAKS[mark] for mark in BREAKS if mark in run[0]), " ")


def tidy(text: str) -> str:
    """Clean text without spaces at the edges of lines and without more than one empty line."""
    lines = [re.sub(" {2,}", " ", line).strip() for line in clean(text).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
