"""Two readers of the paper's sizes with random weights, on which speed and memory can be measured.

Teacher 354,309,122 parameters, student 51,211,778. What a reader costs does not depend on what its weights are, only
on their shape, on the run time and on how many tokens a text has. So the tokenizer is a real one, a byte-level BPE
with as many tokens as the paper's, trained on the texts of --text.

    python benchmarks/paper_readers.py DIRECTORY --text TEXT.txt.xz [--text ...]

writes DIRECTORY/teacher and DIRECTORY/student, which destila export, destila bench and the scripts beside this one
take. Their answers mean nothing.
"""

import argparse
import itertools
import sys
from pathlib import Path

from destila.core.errors import UserError
from destila.core.runs import atomic_directory
from destila.data.corpus import paragraphs, text_files
from destila.data.tokenizers import train_tokenizer
from destila.models.files import save_reader
from training_step import STUDENT, TEACHER, VOCABULARY, build

READERS = {"teacher": TEACHER, "student": STUDENT}
PARAGRAPHS = 100_000  # of each file, for the tokenizer


def main() -> None:
    """Train the tokenizer and write both readers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--text", action="append", required=True, help="text for the tokenizer; several are joined")
    arguments = parser.parse_args()
    for name in READERS:
        if (arguments.directory / name).exists():
            raise UserError(str(arguments.directory / name), "exists already", "Remove it, or write to another place.")
    files = text_files(arguments.text)
    texts = itertools.chain.from_iterable(itertools.islice(paragraphs(file), PARAGRAPHS) for file in files)
    tokenizer = train_tokenizer(texts, vocabulary_size=VOCABULARY)
    metadata = {"window": {"length": 384, "stride": 128, "max_answer_tokens": 30}}
    for seed, (name, shape) in enumerate(READERS.items()):
        model = build(shape, seed)
        with atomic_directory(arguments.directory / name) as directory:
            save_reader(model, tokenizer, metadata, directory)
        print(f"{arguments.directory / name}: {model.num_parameters():,} parameters")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"paper_readers: {error}")
