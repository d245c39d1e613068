"""How often the answer stands in the passages that are read: a table, then one JSON line.

    python benchmarks/retrieval.py [--characters 1200]

The contexts of data/nativa are the files of a folder, and each question that has an answer is put to all of them.
Counted is the share of questions of which a gold answer lies whole, at its own place, in one of the best k passages.
They are hard to retrieve by words: they were written for one text, and share hardly a content word with the answer's
sentence. Beside the ranking that `destila answer` uses stand the same without the names of files, and the questions as
typed without accents.
"""

import argparse
import json
import unicodedata
from pathlib import Path

from destila.core.records import Example
from destila.data.squad import read
from destila.inference.documents.index import PassageIndex

DATA = Path(__file__).parents[1] / "data" / "nativa"
COUNTS = (1, 5, 10, 20, 40)


def recall(index: PassageIndex, examples: list[Example], paths: dict[str, str], *, plain: bool) -> list[float]:
    """Share of questions, in percent, whose answer is in the best k passages, for each k of COUNTS."""
    ranks = []
    for example in examples:
        path, found = paths[example.context], len(index)
        question = without_accents(example.question) if plain else example.question
        for rank, passage in enumerate(index.best(question, max(COUNTS))):
            if passage.path == path and any(holds(passage.start, passage.end, example)):
                found = rank
                break
        ranks.append(found)
    return [round(100 * sum(rank < count for rank in ranks) / len(ranks), 1) for count in COUNTS]


def holds(start: int, end: int, example: Example) -> list[bool]:
    """Which gold answers a passage holds."""
    return [
        start <= answer.start and answer.end <= end
        for answer in example.answers
        if answer.start is not None and answer.end is not None
    ]


def without_accents(text: str) -> str:
    """As typed in a hurry; ñ stays."""
    letters = unicodedata.normalize("NFC", text)
    return "".join(letter if letter in "ñÑ" else unicodedata.normalize("NFD", letter)[0] for letter in letters)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--characters", type=int, default=1200, help="most characters of a passage")
    characters = parser.parse_args().characters
    examples = [example for file in sorted(DATA.glob("*.json")) for example in read(file, repair=False)[0]]
    titles = {example.context: example.title for example in examples}
    named = {context: f"{title}.txt" for context, title in titles.items()}
    numbered = {context: f"{number}.txt" for number, context in enumerate(titles)}
    asked = [example for example in examples if example.answers]
    rows = {}
    for name, paths, plain in (
        ("destila answer", named, False),
        ("without the names of files", numbered, False),
        ("questions without accents", named, True),
    ):
        index = PassageIndex.of(((paths[context], context) for context in titles), characters)
        rows[name] = recall(index, asked, paths, plain=plain)
    print(f"{len(asked)} questions, {len(titles)} files, {len(index)} passages of at most {characters} characters")
    print(f"{'answer among the best':28}" + "".join(f"{count:8}" for count in COUNTS))
    for name, values in rows.items():
        print(f"{name:28}" + "".join(f"{value:8.1f}" for value in values))
    print(json.dumps({"characters": characters, "questions": len(asked), "counts": COUNTS, "recall": rows}))


if __name__ == "__main__":
    main()
