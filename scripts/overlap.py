"""Does a test set overlap with what a model was trained on? Paragraphs, compared by the word sequences that they share.

    python scripts/overlap.py --test dev.json --questions train.json --text my-texts
    python scripts/overlap.py --test dev.json --questions train.json --clean clean.json

A sequence is 13 words in a row (as in Brown et al. 2020), in small letters and without signs. For every
paragraph of the test set it counts those that occur in a paragraph of the training questions or anywhere in the raw
text. Paragraphs of fewer than 13 words count as one sequence. One line of JSON comes last.
With --clean, the training questions are written again without the paragraphs that share a passage, 30 sequences.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from destila.core.progress import track
from destila.core.runs import atomic_file
from destila.data.corpus import paragraphs, text_files
from destila.data.sources import load_examples

WORDS = 13
HALF = 0.5
PASSAGE = 30  # sequences, so 42 words in a row if they are one
WORD = re.compile(r"\w+")


def sequences(text: str) -> Iterator[str]:
    """Every run of WORDS words; a shorter text is one run."""
    words = WORD.findall(text.lower())
    for first in range(max(1, len(words) - WORDS + 1)):
        yield " ".join(words[first : first + WORDS])


def contexts(files: Iterable[str]) -> list[str]:
    """The different paragraphs of question files."""
    return list(dict.fromkeys(example.context for example in load_examples(list(files))))


def report(name: str, tested: list[str], found: set[str]) -> dict[str, float]:
    """Print and return how many paragraphs share anything, and how many share half of their sequences."""
    shares = [shared(text, found) for text in tested]
    result = {
        "paragraphs": len(tested),
        "sharing": sum(share > 0 for share in shares),
        "sharing_half": sum(share >= HALF for share in shares),
    }
    print(f"{name}: of {len(tested)} paragraphs {result['sharing']} share {WORDS} words in a row with it, "
          f"{result['sharing_half']} at least half of their sequences")  # fmt: skip
    for text, share in sorted(zip(tested, shares, strict=True), key=lambda pair: -pair[1])[:5]:
        if share:
            print(f"  {share:6.1%}  {text[:100]}")
    return result


def write_clean(files: Iterable[str], tested: set[str], output: Path) -> int:
    """Write the articles of SQuAD files without paragraphs that a test set shares; the number of those."""
    articles, dropped = [], 0
    for file in files:
        for article in json.loads(Path(file).read_text(encoding="utf-8"))["data"]:
            kept = [
                part for part in article["paragraphs"] if len(tested.intersection(sequences(part["context"]))) < PASSAGE
            ]
            dropped += len(article["paragraphs"]) - len(kept)
            articles += [article | {"paragraphs": kept}] if kept else []
    with atomic_file(output) as path:
        path.write_text(json.dumps({"version": "v2.0", "data": articles}, ensure_ascii=False), encoding="utf-8")
    return dropped


def shared(text: str, found: set[str]) -> float:
    """The share of a text's sequences that are among others."""
    runs = set(sequences(text))
    return len(runs & found) / len(runs)


def main() -> None:
    """Compare, print, and end with a line of JSON."""
    parser = argparse.ArgumentParser(description="Overlap of a test set with training data.")
    parser.add_argument("--test", action="append", required=True, help="question file that nothing may have seen")
    parser.add_argument("--questions", action="append", default=[], help="question file that was trained on")
    parser.add_argument("--text", action="append", default=[], help="text file or directory that was trained on")
    parser.add_argument(
        "--clean", type=Path, help="write the training questions without shared paragraphs to this file"
    )
    arguments = parser.parse_args()
    tested = contexts(arguments.test)
    wanted = {run for text in tested for run in sequences(text)}
    results = {}
    if arguments.questions:
        seen = {run for text in contexts(arguments.questions) for run in sequences(text)}
        results["questions"] = report("questions", tested, seen & wanted)
    if arguments.clean:
        dropped = write_clean(arguments.questions, wanted, arguments.clean)
        print(f"{arguments.clean}: {dropped} paragraphs left out")
    if arguments.text:
        found: set[str] = set()
        files = text_files(arguments.text)
        for path in track(files, what="reading", unit="file"):
            for paragraph in paragraphs(Path(path)):
                found.update(wanted.intersection(sequences(paragraph)))
        results["text"] = report("text", tested, found)
    print(json.dumps(results))


if __name__ == "__main__":
    sys.exit(main())
