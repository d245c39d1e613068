"""How a text is read: as it looks, composed, not in capitals alone; with the way back to the text as it was given.

Mental model: people type `MÉXICO` on a phone, paste text whose accents stand beside their letters or whose words hold
soft hyphens, and copy notices that are all capitals. A reader has met few of these. So it reads another form of the
text, and every character of that form knows which characters of the original it stands for.

- Characters that show nothing and change nothing beside them are left out.
- NFC, cluster by cluster: a character and the combining marks that follow it become one, if there is such a character.
- A text that has capital letters and no small ones is read in small letters, one for one.

Invariant: a text that is in this form already comes back as the same object, and without a map. The page of the web
export does the same in JavaScript.
"""

import unicodedata
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from destila.core.characters import IS_IDLE, is_idle

Spans = NDArray[np.int32]


def reading_form(text: str) -> tuple[str, Spans | None]:
    """The form of a text that a model reads.

    Returns:
        The form, and for each of its N characters which original ones [start, end) it stands for, (N, 2); None where
        each stands for the one at its own place.

    Example:
        >>> form, spans = reading_form("CANCIO\\u0301N")
        >>> form, spans[5].tolist()
        ('canción', [5, 7])
    """
    spans: Spans | None = None
    if IS_IDLE.search(text):
        places = np.array([place for place, letter in enumerate(text) if not is_idle(letter)], np.int32)
        text, spans = IS_IDLE.sub("", text), np.stack([places, places + 1], axis=1)
    if not unicodedata.is_normalized("NFC", text):
        text, composed = _composed(text)
        spans = in_original(composed, spans)
    if any(map(str.isupper, text)) and not any(map(str.islower, text)):
        text = "".join(small if len(small := letter.lower()) == 1 else letter for letter in text)
    return text, spans


def in_original(offsets: NDArray[np.int32], spans: Spans | None) -> NDArray[np.int32]:
    """Offsets (N, 2) into the form of a text as offsets into the text; one without width stands behind a character."""
    if spans is None:
        return offsets
    starts, ends = np.append(spans[:, 0], 0), np.append(0, spans[:, 1])
    firsts, lasts = offsets.clip(0, len(spans)).T
    return np.stack([np.where(lasts > firsts, starts[firsts], ends[lasts]), ends[lasts]], axis=1).astype(np.int32)


def clusters(text: str) -> Iterator[tuple[int, int]]:
    """First character and one past the last of each cluster: a character and the combining marks that follow it."""
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or not unicodedata.combining(text[end]):
            yield start, end
            start = end


def _composed(text: str) -> tuple[str, Spans]:
    """NFC of each cluster, and for each character the cluster [start, end), or itself where nothing was composed."""
    pieces, spans = list[str](), list[tuple[int, int]]()
    for start, end in clusters(text):
        piece = unicodedata.normalize("NFC", text[start:end])
        pieces.append(piece)
        same = piece == text[start:end]
        spans += zip(range(start, end), range(start + 1, end + 1), strict=True) if same else [(start, end)] * len(piece)
    return "".join(pieces), np.array(spans, np.int32).reshape(-1, 2)
