"""Raw text -> one long array of token ids on the disk, made once and memory-mapped ever after.

Mental model: text files hold a paragraph a line and a blank line between documents. Every file belongs to a source, the
part of its name before the first "-" or ".". The store holds the tokens of all kept paragraphs, source after source, a
newline token after each paragraph and another after each document; passages are cut from it freely.

Invariants: a paragraph is kept where it occurs first; two are the same if they differ in case, digits, signs and white
space only, and one without letters is dropped. A tokenizer is a pure function of the files' content and names and of
the settings that shape it, and a store one of the files and the tokenizer; digests of these are their names, so whoever
goes on with a tokenizer finds the tokens that it has made. Both appear whole or not at all. Memory does not grow with
the text, but for twelve bytes a paragraph.

This module chooses no passages and makes no rows.
"""

import functools
import gzip
import hashlib
import lzma
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from destila.config import TextSettings
from destila.core.cpus import thread_count, usable_cores
from destila.core.errors import UserError
from destila.core.model_files import TOKENIZER_FILE
from destila.core.progress import track
from destila.core.runs import atomic_directory, read_json
from destila.core.strict_json import dumps
from destila.data.synthetic.token_table import Lexicon
from destila.data.tokenizers import encodable, load_tokenizer, train_tokenizer

Job = TypeVar("Job")
Result = TypeVar("Result")

FORMAT = 1  # of the store; part of its name
OPENERS: dict[str, Callable[..., Any]] = {".txt": open, ".txt.gz": gzip.open, ".txt.xz": lzma.open}
STORE_FILE, TOKENS_FILE = "store.json", "tokens.bin"
NOT_LETTERS = re.compile(r"[\W\d_]+")
PARAGRAPHS_PER_BATCH = 1000


@dataclass(frozen=True)
class TokenStore:
    """Tokenized text."""

    path: Path
    tokenizer: Tokenizer
    tokens: NDArray[Any]  # all ids, memory-mapped, uint16 or uint32
    sources: dict[str, tuple[int, int]]  # where the tokens of each source begin and end
    counts: dict[str, int]  # paragraphs read and kept


# ---------------------------------------------------------------------------------------------------- reading
def text_files(names: Sequence[str]) -> list[Path]:
    """The text files that are named or lie in named directories, ordered by source and name.

    Raises:
        UserError: one is missing, is no text file, or there are none.
    """
    problems, found = [], list[Path]()
    for name in names:
        path = Path(name)
        inside = sorted(item for item in path.glob("*") if _ending(item)) if path.is_dir() else [path]
        if not path.exists():
            problems.append(f"{name} does not exist")
        elif not inside or not all(_ending(item) for item in inside):
            problems.append(f"{name} is no text file, or holds none, by its ending")
        found += inside
    if problems or not found:
        remedy = f"Give files that end in {', '.join(OPENERS)}, or directories of them."
        raise UserError.from_problems("text.files", problems or ["names no text"], remedy)
    return sorted(dict.fromkeys(found), key=lambda path: (source_of(path), path.name, str(path)))


def _ending(path: Path) -> str:
    return next((ending for ending in OPENERS if path.name.endswith(ending)), "")


def source_of(path: Path) -> str:
    """The source that a file belongs to: law for law-00.txt.xz."""
    return re.split(r"[-.]", path.name, maxsplit=1)[0]


def paragraphs(path: Path) -> Iterator[str]:
    """The lines of a file without the white space around them; "" for a blank one, which ends a document.

    Raises:
        UserError: it is not UTF-8, or its compression is torn.
    """
    try:
        with OPENERS[_ending(path)](path, "rt", encoding="utf-8-sig", newline="\n") as lines:
            for line in lines:
                yield line.strip()
    except UnicodeDecodeError as error:
        raise UserError(str(path), f"is not UTF-8 ({error.reason})", "Save it as UTF-8.") from error
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise UserError(str(path), f"cannot be unpacked ({error})", "Was it cut short? Get it again.") from error


def paragraph_hash(text: str) -> int:
    """64 bits that paragraphs with the same letters share, never 0; 0 for one without letters."""
    letters = NOT_LETTERS.sub("", text).casefold()
    if not letters:
        return 0
    return int.from_bytes(hashlib.blake2b(letters.encode("utf-8", "replace"), digest_size=8).digest(), "little") or 1


# ---------------------------------------------------------------------------------------------------- building
def open_store(settings: TextSettings, *, tokenizer: Tokenizer | None = None) -> TokenStore:
    """The store of these files and settings; built first if it is not on the disk yet.

    Args:
        tokenizer: to use instead of what the settings say of one.

    Raises:
        UserError: no text, an unreadable file, a tokenizer of another kind, or a weight of an unknown source.
    """
    files = text_files(settings.files)
    strange = sorted(set(settings.weights) - {source_of(path) for path in files})
    if strange:
        known = ", ".join(sorted({source_of(path) for path in files}))
        raise UserError("text.weights", f"no file is of source {', '.join(strange)}", f"The sources are {known}.")
    first = _FirstPass(files, _workers(settings, len(files)))
    contents = [_content(path) for path in files]
    if tokenizer is None and settings.tokenizer:
        tokenizer = load_tokenizer(settings.tokenizer)
    if tokenizer is None:
        vocabulary = [settings.vocabulary_size, settings.tokenizer_megabytes, sorted(settings.weights.items())]
        place = Path(settings.store) / f"tokenizer-{_digest(vocabulary, contents)}"
        if not place.exists():
            with atomic_directory(place) as directory:
                _train(first, settings).save(str(directory / TOKENIZER_FILE))
        tokenizer = load_tokenizer(place)
    path = Path(settings.store) / _digest([tokenizer.to_str(pretty=True)], contents)
    if not path.exists():
        with atomic_directory(path) as directory:
            _build(directory, first, tokenizer)
    return load_store(path)


def _content(path: Path) -> str:
    with open(path, "rb") as file:
        return f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n"


def _digest(vocabulary: Sequence[Any], contents: Sequence[str]) -> str:
    """A name for what is made of these files and of this tokenizer, or of the settings of one."""
    digest = hashlib.sha256(dumps([FORMAT, vocabulary], ascii=True).encode())
    for content in contents:
        digest.update(content.encode())
    return digest.hexdigest()[:16]


def load_store(path: Path) -> TokenStore:
    """Open a store that is on the disk."""
    record = read_json(path / STORE_FILE)
    tokens = np.memmap(path / TOKENS_FILE, dtype=record["dtype"], mode="r")
    sources = {name: (int(start), int(end)) for name, (start, end) in record["sources"].items()}
    return TokenStore(path, load_tokenizer(path), tokens, sources, record["counts"])


class _FirstPass:
    """The files and what a first pass over them finds: read when first asked for, and once."""

    def __init__(self, files: Sequence[Path], workers: int) -> None:
        self.files, self.workers = files, workers

    @functools.cached_property
    def paragraphs(self) -> list[tuple[NDArray[np.uint64], NDArray[np.uint32]]]:
        """Hash and bytes of every paragraph, for each file."""
        return _map(_scan, [(path,) for path in self.files], self.workers, what="reading")

    @functools.cached_property
    def kept(self) -> list[NDArray[np.bool_]]:
        """Which paragraphs are kept, for each file."""
        return first_occurrences([hashes for hashes, _ in self.paragraphs])


def _train(first: _FirstPass, settings: TextSettings) -> Tokenizer:
    chosen = _samples(first, settings)
    samples = _map(_chosen, list(zip(first.files, chosen, strict=True)), first.workers, what="sampling")
    return train_tokenizer((text for sample in samples for text in sample), vocabulary_size=settings.vocabulary_size)


def _build(directory: Path, first: _FirstPass, tokenizer: Tokenizer) -> None:
    files, kept = first.files, first.kept
    lexicon = Lexicon(tokenizer)
    tokenizer.save(str(directory / TOKENIZER_FILE))
    dtype = "uint16" if lexicon.size <= 2**16 else "uint32"
    parts = [directory / f"part-{number:05d}.bin" for number in range(len(files))]
    jobs = [(path, keep, part, dtype, lexicon.newline) for path, keep, part in zip(files, kept, parts, strict=True)]
    counts = _map(_tokenize, jobs, first.workers, what="tokenizing")
    _join(directory / TOKENS_FILE, parts)
    read = {"paragraphs": sum(map(len, kept)), "kept": int(sum(keep.sum() for keep in kept)), "tokens": sum(counts)}
    record = {"format": FORMAT, "dtype": dtype, "sources": _ranges(files, counts), "counts": read}
    (directory / STORE_FILE).write_text(dumps(record, indent=2) + "\n", encoding="utf-8")


def _workers(settings: TextSettings, files: int) -> int:
    workers = usable_cores() if settings.workers < 0 else settings.workers
    return min(thread_count(workers, what="workers") if workers else 0, files)


def _map(function: Callable[[Any], Result], jobs: Sequence[Any], workers: int, *, what: str) -> list[Result]:
    """The results for all jobs, in order; in this process unless there is work for several."""
    if workers <= 1:
        return list(track(map(function, jobs), what=what, total=len(jobs), unit="file"))
    # Not forked: tokenizers and torch hold threads that a fork would break.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        return list(track(pool.map(function, jobs), what=what, total=len(jobs), unit="file"))


def _one_thread() -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _scan(job: tuple[Path]) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Hash and bytes of every paragraph."""
    texts = [(paragraph_hash(text), len(text.encode("utf-8", "replace"))) for text in paragraphs(job[0]) if text]
    hashes, sizes = zip(*texts, strict=True) if texts else ((), ())
    return np.array(hashes, np.uint64), np.array(sizes, np.uint32)


def first_occurrences(hashes: Sequence[NDArray[np.uint64]]) -> list[NDArray[np.bool_]]:
    """For each file, which of its paragraphs are new when the files are read in order; hash 0 never is."""
    everything = np.concatenate(hashes) if hashes else np.empty(0, np.uint64)
    keep = np.zeros(len(everything), np.bool_)
    keep[np.unique(everything, return_index=True)[1]] = True
    keep &= everything != 0
    return np.split(keep, np.cumsum([len(part) for part in hashes])[:-1])


def _samples(first: _FirstPass, settings: TextSettings) -> list[NDArray[np.bool_]]:
    """Which paragraphs the tokenizer is trained on; their hashes are the dice."""
    weights = [settings.weights.get(source_of(path), 1.0) for path in first.files]
    weighted = sum(
        weight * int(sizes[keep].sum(dtype=np.int64))
        for weight, (_, sizes), keep in zip(weights, first.paragraphs, first.kept, strict=True)
    )
    rate = settings.tokenizer_megabytes * 1e6 / max(weighted, 1.0)
    return [
        keep & ((hashes >> np.uint64(11)).astype(np.float64) / 2**53 < rate * weight)
        for weight, (hashes, _), keep in zip(weights, first.paragraphs, first.kept, strict=True)
    ]


def _chosen(job: tuple[Path, NDArray[np.bool_]]) -> list[str]:
    path, chosen = job
    texts = (text for text in paragraphs(path) if text)
    return [text for text, wanted in zip(texts, chosen, strict=True) if wanted]


def _tokenize(job: tuple[Path, NDArray[np.bool_], Path, str, int]) -> int:
    """Write the tokens of a file's kept paragraphs; returns how many."""
    path, keep, part, dtype, newline = job
    tokenizer, written = load_tokenizer(part.parent), 0
    with open(part, "wb") as out:
        for batch in _batches(path, keep):
            encodings = iter(tokenizer.encode_batch([text for text in batch if text], add_special_tokens=False))
            ids = [number for text in batch for number in ((*next(encodings).ids, newline) if text else (newline,))]
            np.array(ids, dtype).tofile(out)
            written += len(ids)
    return written


def _batches(path: Path, keep: NDArray[np.bool_]) -> Iterator[list[str]]:
    """Kept paragraphs, and "" after the last one of each document."""
    place, batch, open_document = 0, list[str](), False
    for text in paragraphs(path):
        if not text:
            batch += [""] * open_document
            open_document = False
        else:
            if keep[place]:
                batch.append(encodable(text))
                open_document = True
            place += 1
        if len(batch) >= PARAGRAPHS_PER_BATCH:
            yield batch
            batch = []
    yield batch + [""] * open_document


def _join(target: Path, parts: Sequence[Path]) -> None:
    with open(target, "wb") as out:
        for part in parts:
            with open(part, "rb") as file:
                shutil.copyfileobj(file, out, 1 << 22)
            part.unlink()


def _ranges(files: Sequence[Path], counts: Sequence[int]) -> dict[str, tuple[int, int]]:
    """Where each source begins and ends, in tokens; files of one source are neighbors."""
    ranges: dict[str, tuple[int, int]] = {}
    end = 0
    for path, count in zip(files, counts, strict=True):
        start = ranges.get(source_of(path), (end, end))[0]
        end += count
        ranges[source_of(path)] = start, end
    return ranges
