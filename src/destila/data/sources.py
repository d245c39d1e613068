"""Names for published Spanish data sets, and the way from a name, or a path, to a checked local file.

A `Source` is one file of a data set: where it is published, under which license, and the SHA-256 of what is published
there. Files live under `<cache>/<name>/<split>.json`; a file put there by hand is as good as a fetched one.

Invariant: a file is in the cache whole or not at all, and its digest is compared on every use: with the published one
where that is known, else with the one written beside it (`.sha256`) when it was first seen. How files are downloaded is
`destila.data.download`'s matter; this module does not look into them, except to take one out of a zip archive.
"""

import logging
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from destila.core.caches import optional, temporary, with_cache
from destila.core.errors import UserError
from destila.core.records import Example
from destila.core.runs import atomic_file, write_text
from destila.core.suggestions import nearest, nearest_path
from destila.data.download import digest, download
from destila.data.repair import ANSWER_FAULTS, QUESTION_FAULTS, Counts, Gold
from destila.data.squad import read_gold

LOG = logging.getLogger(__name__)
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a published data set."""

    name: str
    split: str
    address: str  # what is downloaded
    license: str
    sha256: str | None = None  # digest of what is downloaded; None where none is published
    member: str = ""  # the file's path inside the download, if that is a zip archive

    @property
    def key(self) -> str:
        """The name that users give, such as `sqac/dev`."""
        return f"{self.name}/{self.split}"

    def path(self, cache: Path) -> Path:
        """Where the file lives."""
        return cache / self.name / f"{self.split}.json"


_TRANSLATED = "https://raw.githubusercontent.com/ccasimiro88/TranslateAlignRetrieve"
_TRANSLATED_2 = f"{_TRANSLATED}/c84784219785c1fc05884b26081d9b7b4156c019/SQuAD-es-v2.0"
_XQUAD = "https://raw.githubusercontent.com/google-deepmind/xquad/7d30520c717524000f0d9d2f9c10a069acd9d285"
_MLQA = "https://dl.fbaipublicfiles.com/MLQA/MLQA_V1.zip"
_MLQA_SHA256 = "246e8089933d13007fe80684d5c5c0713d6834cf8b3b4a0ec7c66f0a0d2baac8"
_SQAC = "https://huggingface.co/datasets/PlanTL-GOB-ES/SQAC/resolve/f9928e8819596a601b8887cc5f8598b15d589a82"

SOURCES: tuple[Source, ...] = (
    Source(
        "squad-es-v1.1",
        "train",
        f"{_TRANSLATED}/master/SQuAD-es-v1.1/train-v1.1-es.json",
        "CC BY 4.0",
        "196cfa14b6ba7d903f02e6edc20485bb959b72c965b6a2d6883b8ffd74dc2c3b",
    ),
    Source(
        "squad-es-v1.1",
        "dev",
        f"{_TRANSLATED}/master/SQuAD-es-v1.1/dev-v1.1-es.json",
        "CC BY 4.0",
        "969c846df740ee2725ac23b4d2882a58ef19a4c696767b306227c243ed99f461",
    ),
    Source("squad-es-v2.0", "train", f"{_TRANSLATED_2}/train-v2.0-es.json", "CC BY 4.0"),
    Source("squad-es-v2.0", "dev", f"{_TRANSLATED_2}/dev-v2.0-es.json", "CC BY 4.0"),
    Source(
        "xquad-es",
        "test",
        f"{_XQUAD}/xquad.es.json",
        "CC BY-SA 4.0",
        "dcbae93ec3a9f4b9e78fd834a171d6f96c1a875e10e15b7530b7e4ef4971e37e",
    ),
    Source("mlqa-es", "dev", _MLQA, "CC BY-SA 3.0", _MLQA_SHA256, member="MLQA_V1/dev/dev-context-es-question-es.json"),
    Source(
        "mlqa-es", "test", _MLQA, "CC BY-SA 3.0", _MLQA_SHA256, member="MLQA_V1/test/test-context-es-question-es.json"
    ),
    Source(
        "sqac",
        "train",
        f"{_SQAC}/train.json",
        "CC BY-SA 4.0",
        "1d5c76176646e2ae7bdcd8b5ec6f18349102a9363aa25ad7d0e48262d7480d43",
    ),
    Source(
        "sqac",
        "dev",
        f"{_SQAC}/dev.json",
        "CC BY-SA 4.0",
        "ec748f222626e5081a34193ca469bcf8112092837678a6948a2d6ae7d6629d1a",
    ),
    Source("sqac", "test", f"{_SQAC}/test.json", "CC BY-SA 4.0"),
)


def cache_directory() -> Path:
    """$DESTILA_CACHE, else ~/.cache/destila."""
    named = Path(os.environ.get("DESTILA_CACHE") or "~/.cache/destila")
    try:
        return named.expanduser()
    except RuntimeError:  # a user without a home, as in some containers
        return temporary(named, "nobody knows where that is")


def find(name: str) -> list[Source]:
    """The files that a name means: one for `sqac/dev`, all of them for `sqac`, none for an unknown name."""
    return [source for source in SOURCES if name in (source.key, source.name)]


def unknown(name: str) -> UserError:
    """The error for a name that is neither a file nor a source; it lists the names."""
    keys = [source.key for source in SOURCES]
    hint = nearest(name, [*keys, *dict.fromkeys(source.name for source in SOURCES)]) or nearest_path(name)
    remedy = f"{hint[2:3].upper()}{hint[3:]} Named data sets: {', '.join(keys)}.".lstrip()
    return UserError(name, "no such file, and no data set of that name", remedy)


def resolve(name: str, *, cache: Path | None = None, timeout: float = 30.0) -> Path:
    """The local file of a path or a name; a file that exists wins, a named one is fetched if need be.

    Raises:
        UserError: neither a file nor a name; a name of several files; it cannot be fetched.
    """
    path, sources = Path(name), find(name)
    if path.is_file() or (path.exists() and not sources):
        return path
    if not sources:
        raise unknown(name)
    if len(sources) > 1:
        keys = " or ".join(source.key for source in sources)
        raise UserError(name, f"is a data set of {len(sources)} files", f"Say which: {keys}.")
    return fetch(sources[0], cache=cache, timeout=timeout)


def load_examples(names: Sequence[str], *, repair: bool = True, limit: int = 0) -> list[Example]:
    """Read files and named sources together; what was repaired is a warning in the log.

    Args:
        names: paths and names.
        repair: mend or drop answers that do not match their context; false: refuse them.
        limit: hand out the first so many examples only; 0: all.

    Raises:
        UserError: nothing was named; a file cannot be had, read or taken as it is; an id occurs in two files.
    """
    return _together(names, "repaired" if repair else "checked", limit)


def load_gold(names: Sequence[str], *, repair: bool = False, limit: int = 0) -> list[Example]:
    """Read files and named sources to score with: gold answers as published, whether they match their context or not.

    Args:
        repair: mend or drop answers that do not match their context; scores are no longer the official ones then.
        limit: hand out the first so many examples only; 0: all.

    Raises:
        UserError: as `load_examples`; files are refused only for what no script can score.
    """
    return _together(names, "repaired" if repair else "published", limit)


def require_labeled(examples: Sequence[Example], where: str) -> None:
    """Refuse examples of which none can be scored; `where` names them."""
    if not any(example.labeled for example in examples):
        raise UserError(where, "holds no labeled example", "Give data with gold answers.")


def _together(names: Sequence[str], gold: Gold, limit: int) -> list[Example]:
    examples = [example for found in load_by_name(names, gold=gold).values() for example in found]
    return examples[:limit] if limit else examples


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` items, evenly spread over all; 0: all."""
    if not count or len(items) <= count:
        return list(items)
    return [items[place * len(items) // count] for place in range(count)]


def load_by_name(names: Sequence[str], *, gold: Gold) -> dict[str, list[Example]]:
    """The examples of each file or named source apart; `gold` says what becomes of answers that do not match."""
    if not names:
        raise UserError("data", "no file and no named data set is given", "Give at least one.")
    found: dict[str, list[Example]] = {}
    owner: dict[str, str] = {}
    for name in names:
        more, counts = read_gold(resolve(name), gold=gold)
        if said := _as_published(more, counts) if gold == "published" else counts.changes:
            LOG.warning(f"{name}: {said} (destila data check tells more)")
        shared = [f"id {example.id} is in {owner[example.id]} too" for example in more if example.id in owner]
        if shared:
            raise UserError.from_problems(name, shared, "Ids must be unique over all files that are loaded together.")
        owner.update((example.id, name) for example in more)
        found[name] = more
    return found


def _as_published(examples: Sequence[Example], counts: Counts) -> str:
    """What is odd about gold answers that are taken as published, in one sentence; empty if nothing is."""
    kinds = {kind: counts.problems[kind] for kind in (*ANSWER_FAULTS, *QUESTION_FAULTS) if kind in counts.problems}
    if not kinds:
        return ""
    found = ", ".join(f"{number:,} {kind}" for kind, number in kinds.items())
    lost = sum(answer.start is None for example in examples for answer in example.answers)
    return f"gold answers are taken as published ({found}); {lost:,} have no place in their context, only a text"


# ---------------------------------------------------------------------------------------------------- fetching
def fetch(source: Source, *, cache: Path | None = None, timeout: float = 30.0) -> Path:
    """The local file of a source, downloaded if it is not in the cache.

    Args:
        cache: directory of the cache; None: `cache_directory()`, or a temporary one where that cannot be written.
        timeout: seconds to wait for the server.

    Raises:
        UserError: it cannot be downloaded, or is not what it should be; says where to put the file by hand.
    """
    if cache is None:
        return with_cache(cache_directory(), lambda place: fetch(source, cache=place, timeout=timeout))
    path = source.path(cache)
    if source.member:
        if not path.exists():
            archive = path.with_name(source.address.rpartition("/")[2])
            _obtain(source, archive, by_hand=path, timeout=timeout)
            _extract(archive, source.member, path)
        _check_digest(path, None)
    else:
        _obtain(source, path, by_hand=path, timeout=timeout)
    return path


def _obtain(source: Source, path: Path, *, by_hand: Path, timeout: float) -> None:
    if not path.exists():
        download(source.address, path, sha256=source.sha256, by_hand=by_hand, what=source.key, timeout=timeout)
    _check_digest(path, source.sha256)


def _extract(archive: Path, member: str, path: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            content = opened.read(member)
    except (KeyError, zipfile.BadZipFile) as error:
        remedy = "Delete it and fetch again."
        raise UserError(str(archive), f"cannot give {member} ({error})", remedy) from error
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def _check_digest(path: Path, expected: str | None) -> None:
    """Compare a file with its digest; where none is known, with the one recorded beside it at first sight.

    Raises:
        UserError: they differ.
    """
    record = path.with_name(f"{path.name}.sha256")
    found = digest(path)
    if expected is None and not record.exists():
        with optional("its digest"):
            write_text(record, f"{found}\n")
        return
    expected = expected or record.read_text(encoding="utf-8").strip()
    if found != expected:
        remedy = f"Delete it{'' if not record.exists() else f' and {record.name}'} and fetch it again."
        raise UserError(str(path), f"has SHA-256 {found} where {expected} was expected", remedy)
