"""Characters that show nothing, and accents: what a text may hold without a person seeing a difference.

Hidden are the characters that Unicode lets a display ignore (Default_Ignorable_Code_Point: soft hyphens, zero-width
spaces and joiners, the byte order mark, marks of direction, fillers, variation selectors, the tags of flags) and
control characters that are no white space.
"""

import re
import unicodedata

# Joiners and selectors may change how their neighbors look; the others never do.
IDLE = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
)
JOINERS, SELECTORS = "\u200c\u200d", "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0001-\U000e01ef"
HIDDEN = re.compile(f"[{IDLE}{JOINERS}{SELECTORS}]")
IS_IDLE = re.compile(f"[{IDLE}]")

# What a terminal obeys, or turns the order of letters around with.
COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """The text with a sign in place of every character that a terminal would obey, but tabs and newlines."""
    return COMMANDS.sub("\ufffd", text)


def visible(text: str) -> str:
    """One harmless line of a text."""
    return harmless(" ".join(text.split()))


def is_hidden(letter: str) -> bool:
    """Whether it shows nothing, wherever it stands."""
    return HIDDEN.match(letter) is not None


def is_idle(letter: str) -> bool:
    """Whether it shows nothing and changes nothing beside it."""
    return IS_IDLE.match(letter) is not None


def without_hidden(text: str) -> str:
    """The text as it looks: words that a hidden character divides are whole."""
    return HIDDEN.sub("", text)


def without_accents(text: str) -> str:
    """The text with every letter bare: ñ becomes n, too."""
    return "".join(letter for letter in unicodedata.normalize("NFD", text) if not unicodedata.combining(letter))
