"""Questions about three domains of open Spanish text, and documents of the same domains to adapt a reader on.

    python scripts/domains.py TEXTS build/domains --documents 100

TEXTS is a directory with the text files that data/domains/*.json name. For each domain it writes OUTPUT/DOMAIN:
`questions.json` (SQuAD 2.0) and `documents/*.txt`, evenly spread over the first half of the text. The passages of the
questions stand in its last tenth, so no document holds one. Text files other than those that the questions were written
on are refused: places in them would be wrong.
"""

import argparse
import hashlib
import json
import lzma
from itertools import pairwise
from pathlib import Path
from typing import Any

from destila.core.errors import UserError
from destila.core.records import Answer, Example
from destila.data import squad

DOMAINS = Path(__file__).parents[1] / "data" / "domains"
SIZE = 3000  # characters of a document


def text_lines(directory: Path, domain: dict[str, Any]) -> list[str]:
    """The lines of a domain's text file, which lies there compressed or not.

    Raises:
        UserError: it is missing, or it is another text.
    """
    packed = directory / domain["file"]
    found = next((path for path in (packed, packed.with_suffix("")) if path.is_file()), None)
    if found is None:
        raise UserError(str(packed), "is not there", "Give the directory of the text files (data/domains/README.md).")
    content = lzma.decompress(found.read_bytes()) if found.suffix == ".xz" else found.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != domain["sha256"]:
        problem = f"is another text: its SHA-256 is {digest}, not {domain['sha256']}"
        raise UserError(str(found), problem, "Take the file that the questions were written on.")
    return content.decode("utf-8").removesuffix("\n").split("\n")


def questions(name: str, domain: dict[str, Any], lines: list[str]) -> list[Example]:
    """The questions of a domain with their passages and answers."""
    found = []
    for passage in domain["passages"]:
        first = passage["first_line"] - 1
        context = "\n".join(lines[first : first + passage["lines"]])
        for question in passage["questions"]:
            places = [(answer["answer_start"], answer["length"]) for answer in question["answers"]]
            golds = tuple(Answer.at(context, start, start + length) for start, length in places)
            found.append(Example(question["id"], question["question"], context, golds, passage["id"], name))
    return found


def documents(lines: list[str], number: int) -> list[str]:
    """Documents of whole lines from the first half of a text, evenly spread; none shares a line with another."""
    half = len(lines) // 2
    places = [half * index // number for index in range(number + 1)]
    found = []
    for first, end in pairwise(places):
        size, last = 0, first
        while last < end and size < SIZE:
            size += len(lines[last]) + 1
            last += 1
        found.append("\n".join(lines[first:last]).strip("\n"))
    return found


def main() -> None:
    """Write questions and documents; one line of JSON comes last."""
    parser = argparse.ArgumentParser(description="Questions about domains, and documents to adapt a reader on.")
    parser.add_argument("texts", type=Path, help="directory of the text files")
    parser.add_argument("output", type=Path)
    parser.add_argument("--documents", type=int, default=100, help="documents of a domain (100)")
    parser.add_argument("--domains", type=Path, default=DOMAINS, help="directory of the domain files")
    given = parser.parse_args()
    if given.documents < 1 or given.output.exists():
        parser.error("give at least one document, and an output that does not exist yet")
    domains = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(given.domains.glob("*.json"))}
    result = {}
    for name, domain in domains.items():
        lines = text_lines(given.texts, domain)
        folder = given.output / name / "documents"
        folder.mkdir(parents=True)
        examples, texts = questions(name, domain, lines), documents(lines, given.documents)
        squad.save(examples, given.output / name / "questions.json")
        for index, text in enumerate(texts):
            (folder / f"{index:04}.txt").write_text(text + "\n", encoding="utf-8")
        result[name] = {"questions": len(examples), "documents": len(texts)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
