"""The passages of a folder, ranked by BM25 for a question: what a reader should read first.

Mental model: texts are cut into passages; a passage is the bag of its stems and those of its file's name. bm25s holds
the scores of all pairs of stem and passage as a sparse matrix in files, so a question costs the reading of its stems'
columns. BM25 is that of Robertson & Zaragoza (2009) with Lucene's idf; stems are Snowball's for Spanish, which drop
accents, too, but know a suffix by its accent: of `dirigió` and `dirigio` the stems differ. So a word of a question
stands for every word of the texts that differs from it by accents.

Invariants: an index on the disk is named after all that it was made from, never changed, and appears whole; equal
scores are in the order of the files. This module knows nothing of files' bytes and nothing of readers.
"""

import hashlib
import json
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from destila.core.characters import without_accents, without_hidden
from destila.core.errors import UserError
from destila.core.runs import atomic_directory
from destila.core.strict_json import dumps
from destila.data.sentences import passages

VERSION = 2  # of the files; raise it when the same texts would give another index
WORDS = re.compile(r"\w+")
# Frequent words weigh little by themselves; those that make a question are rare in texts and would weigh much. With
# this list alone BM25 finds more (on data/nativa) than with a whole list of stop words, or with none.
QUESTION_WORDS = (
    "qué quién quiénes cuál cuáles cuándo dónde cómo cuánto cuánta cuántos cuántas "
    "que quien quienes cual cuales cuando donde como cuanto cuanta cuantos cuantas"
)
PASSAGES_FILE, FORMS_FILE = "passages.npy", "forms.json"
ACCENTED = str.maketrans("aeiou", "áéíóú")
NOTHING = ""  # stands for a passage without words: bm25s wants at least one in each


@dataclass(frozen=True, slots=True)
class Passage:
    """The characters [start, end) of a file's text, and how well they match a question."""

    path: str
    start: int
    end: int
    score: float


class PassageIndex:
    """The passages of a folder's texts.

    Args:
        bm25: bm25s' index over the stems.
        paths: of the files.
        places: (P, 3) int64, the file's number, the start and the end of each passage.
        forms: the stems, by number, of words whose accents matter to them, by the word without accents.
    """

    def __init__(
        self, bm25: Any, paths: list[str], places: NDArray[np.int64], forms: Mapping[str, Sequence[int]]
    ) -> None:
        self._bm25, self._paths, self._places, self._forms = bm25, paths, places, forms

    def __len__(self) -> int:
        return len(self._places)

    def best(self, question: str, count: int) -> list[Passage]:
        """The passages that match a question best, also such that do not match where there are not enough."""
        stems = _Stems()
        ids = sorted({number for word in stems.words(question) for number in self._numbers(word, stems)})
        scores = self._bm25.get_scores_from_ids(ids) if ids else np.zeros(len(self), np.float32)
        order = np.argsort(-scores, kind="stable")[:count]
        return [
            Passage(self._paths[file], start, end, float(scores[number]))
            for number in order
            for file, start, end in [self._places[number].tolist()]
        ]

    def _numbers(self, word: str, stems: "_Stems") -> set[int]:
        """The stems, by number, that a word of a question stands for."""
        bare, vocabulary = without_accents(word), self._bm25.vocab_dict
        found = {vocabulary[stem] for stem in (stems[word], stems[bare]) if stem in vocabulary}
        found.update(self._forms.get(bare, ()))
        if not found:  # the texts have other forms of it at most: of which its accent, if it lacks one, may tell
            spelled = (bare[:place] + bare[place].translate(ACCENTED) + bare[place + 1 :] for place in range(len(bare)))
            found = {vocabulary[stem] for stem in map(stems.__getitem__, spelled) if stem in vocabulary}
        return found

    # ------------------------------------------------------------------------------------------ making
    @classmethod
    def of(cls, texts: Iterable[tuple[str, str]], most: int) -> "PassageIndex":
        """Index (path, text) pairs in passages of at most `most` characters."""
        import bm25s

        stems, vocabulary = _Stems(), {NOTHING: 0}
        bags, places, paths = list[list[int]](), list[tuple[int, int, int]](), list[str]()
        for number, (path, text) in enumerate(texts):
            paths.append(path)
            title = PurePath(path).stem.replace("_", " ")
            for start, end in passages(text, most):
                places.append((number, start, end))
                words = stems.of(f"{title} {text[start:end]}")
                bags.append([vocabulary.setdefault(word, len(vocabulary)) for word in words] or [0])
        bm25 = bm25s.BM25()
        if bags:
            bm25.index((bags, vocabulary), create_empty_token=False, show_progress=False)
        return cls(bm25, paths, np.array(places, np.int64).reshape(-1, 3), stems.forms(vocabulary))

    def save(self, directory: Path) -> None:
        """Write the index; if another process has written the same meanwhile, leave that one's."""
        try:
            with atomic_directory(directory) as temporary:
                self._bm25.save(temporary, show_progress=False)
                np.save(temporary / PASSAGES_FILE, self._places)
                (temporary / FORMS_FILE).write_text(dumps(self._forms, ascii=True), encoding="utf-8")
        except (OSError, UserError):
            if not directory.is_dir():
                raise

    @classmethod
    def load(cls, directory: Path, paths: list[str]) -> "PassageIndex":
        """Map an index from the disk.

        Raises:
            OSError, ValueError, KeyError: it is not there, or is not whole.
        """
        import bm25s

        places = np.load(directory / PASSAGES_FILE, mmap_mode="r", allow_pickle=False)
        forms = json.loads((directory / FORMS_FILE).read_text(encoding="utf-8"))
        return cls(bm25s.BM25.load(directory, mmap=True), paths, places, forms)


class _Stems(dict[str, str]):
    """Word -> stem, found once for each word; empty for the words that make a question."""

    def __init__(self) -> None:
        import Stemmer

        super().__init__(dict.fromkeys(QUESTION_WORDS.split(), ""))
        self._stem = Stemmer.Stemmer("spanish").stemWord

    def __missing__(self, word: str) -> str:
        self[word] = stem = str(self._stem(word))
        return stem

    def of(self, text: str) -> Iterator[str]:
        """The stems of a text in order, without the words that make a question."""
        return filter(None, map(self.__getitem__, WORDS.findall(_folded(text))))

    def words(self, text: str) -> list[str]:
        """The words of a text in order, without those that make a question."""
        return [word for word in WORDS.findall(_folded(text)) if self[word]]

    def forms(self, vocabulary: Mapping[str, int]) -> dict[str, list[int]]:
        """The stems, by number, of the words met so far that have another stem without their accents, by that word."""
        found = dict[str, set[int]]()
        for word, stem in list(self.items()):
            bare = without_accents(word)
            if bare != word and stem in vocabulary and stem != str(self._stem(bare)):
                found.setdefault(bare, set()).add(vocabulary[stem])
        return {bare: sorted(numbers) for bare, numbers in found.items()}


def _folded(text: str) -> str:
    """A text as words are searched in it: composed, small, whole where a hidden character divides a word, and with the
    letters of ligatures and of other forms of characters: `oﬁcina` is found as `oficina`.
    """
    return unicodedata.normalize("NFKC", without_hidden(text)).lower()


def stored_index(directory: Path, digests: Mapping[str, bytes], most: int, text: Callable[[str], str]) -> PassageIndex:
    """The index of a folder's texts from the cache, made and kept there if it is not.

    Args:
        directory: of the folder's cache.
        digests: of the contents of the files, by path, in order.
        most: characters of a passage.
        text: gives the text of a path; asked only where the index must be made.
    """
    state = dumps([VERSION, most, [[path, digest.hex()] for path, digest in digests.items()]], ascii=True)
    place = directory / f"index-{hashlib.sha256(state.encode()).hexdigest()[:32]}"
    try:
        return PassageIndex.load(place, list(digests))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, EOFError):  # torn by something that is not ours
        shutil.rmtree(place, ignore_errors=True)
    index = PassageIndex.of(((path, text(path)) for path in digests), most)
    if len(index):
        index.save(place)
        for old in directory.glob("index-*"):
            if old != place:  # whoever has mapped its files keeps them
                shutil.rmtree(old, ignore_errors=True)
    return index
