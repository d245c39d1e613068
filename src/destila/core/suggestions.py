"""Did you mean ...? The one place that guesses which name a misspelled one was to be."""

import difflib
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

ALIKE = 0.5  # share of letters in common, from which on a name is suggested
MOST_ENTRIES = 10_000  # of a directory that are compared


def nearest(key: str, known: Sequence[str], *, dotted: bool = False) -> str:
    """ "; did you mean X?" for the known name that `key` begins, or that is most like it; or nothing.

    Args:
        dotted: names are settings, of which one may stand in the wrong table: then their last parts are compared.
    """
    begun = [name for name in known if name.lower().startswith(key.lower())] if len(key) > 2 else []
    found = min(begun, key=len, default="") or _most_alike(key, known, ALIKE)
    if dotted and not found:
        last = {name.rpartition(".")[2]: name for name in known}
        found = last.get(_most_alike(key.rpartition(".")[2], last, 0.7), "")
    return f"; did you mean {found}?" if found else ""


def nearest_path(path: str | Path, *, directories: bool = False) -> str:
    """ "; did you mean X?" for what lies where `path` should, under the name that is most like it; or nothing.

    Args:
        directories: files are not meant.
    """
    place = Path(path)
    while place != place.parent and not place.parent.is_dir():
        place = place.parent
    try:
        others = (one for one in islice(place.parent.iterdir(), MOST_ENTRIES) if one.name != place.name)
        entries = [one.name for one in others if one.is_dir() or not directories]
    except OSError:
        return ""
    found = _most_alike(place.name, entries, 0.6)
    return f"; did you mean {place.with_name(found)}?" if found else ""


def _most_alike(key: str, known: Iterable[str], cutoff: float) -> str:
    by_small = {name.lower(): name for name in known}
    return next((by_small[name] for name in difflib.get_close_matches(key.lower(), by_small, n=1, cutoff=cutoff)), "")
