"""How alike two people answered, as `destila annotate --agreement FILE` prints it."""

from dataclasses import asdict
from pathlib import Path

from destila.cli.result import show
from destila.config import AnnotateSettings
from destila.core.characters import visible
from destila.core.errors import UserError
from destila.core.formatting import with_interval
from destila.core.language import say
from destila.data.squad import read
from destila.evaluation.annotators import Agreement, agreement_of

SHOWN = 20  # questions that are answered differently


def compare(first: str, second: str, settings: AnnotateSettings) -> None:
    """Print how two files of questions agree.

    Raises:
        UserError: one cannot be read, or they have no question in common.
    """
    examples = [read(Path(file), repair=False)[0] for file in (first, second)]
    found = agreement_of(*examples, seed=settings.seed)
    if found is None:
        raise UserError(second, f"has no question of {first}", "Compare files about the same passages.")
    show(asdict(found), "\n".join(lines_of(found, first, second)), json=settings.json)


def lines_of(found: Agreement, first: str, second: str) -> list[str]:
    """How two files agree, for people."""
    rows = [("exact agreement", found.exact, found.exact_ci), ("token F1", found.f1, found.f1_ci)]
    rows.append(("both have an answer, or neither", found.answerable, found.answerable_ci))
    alone = f"{found.only_first:,} stand in {first} only, {found.only_second:,} in {second} only"
    lines = [say(f"{found.n:,} questions in both files; {alone}")]
    lines += [f"  {with_interval(value, interval):>22}  {say(name)}" for name, value, interval in rows]
    if found.kappa is not None:
        lines.append(f"  {found.kappa:22.2f}  " + say("Cohen's kappa of that"))
    for each in found.differing[:SHOWN]:
        answers = " | ".join(visible(text) if text else say("no answer") for text in (each.first, each.second))
        lines.append(f"{visible(each.question)}  {answers}")
    if len(found.differing) > SHOWN:
        lines.append(say(f"{len(found.differing) - SHOWN} more; --json names them all"))
    return lines
