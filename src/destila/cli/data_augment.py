"""`destila data augment`: write more training questions, made of labeled ones."""

from pathlib import Path

from destila.cli.result import show
from destila.config import DataAugmentSettings
from destila.core.errors import UserError
from destila.core.language import say
from destila.core.outputs import check_file
from destila.data.sources import load_examples
from destila.data.squad import check_target, save
from destila.data.synthetic.augmentation import variations


def run(settings: DataAugmentSettings) -> None:
    """Read the files together, and write variations of their questions; the questions themselves are not among them.

    Raises:
        UserError: no output is named; no question is labeled; a file cannot be read; the output exists, or cannot be
            written.
    """
    if not settings.output:
        raise UserError("output", "no file is named to write to", "Pass --output FILE.json.")
    check_file("--output", settings.output)
    output = Path(settings.output)
    check_target(output, overwrite=settings.overwrite)
    examples = [example for example in load_examples(settings.files) if example.labeled]
    if not examples:
        raise UserError(" ".join(settings.files), "has no labeled question", "Give files with answers.")
    made = variations(examples, settings.variation)
    save(made, output)
    answerable = sum(bool(example.answers) for example in made)
    said = say(f"{len(made):,} questions, {answerable:,} of them answerable, made of {len(examples):,}: {output}")
    result = {"output": str(output), "questions": len(made), "answerable": answerable, "from": len(examples)}
    show(result, said, json=settings.json)
