"""`destila data check`: what is in data files, what is wrong with it, and what repair would make of it."""

import dataclasses
from typing import Any

from destila.cli.result import show
from destila.config import DataCheckSettings
from destila.core.errors import UserError
from destila.core.language import say, say_error
from destila.data.offsets import CHARACTERS
from destila.data.repair import PROBLEM_KINDS, Counts, Tally
from destila.data.sources import resolve
from destila.data.squad import read


def run(settings: DataCheckSettings) -> list[tuple[str, Counts]]:
    """Report on every file; problems that repair mends are no error, files that cannot be read are.

    Raises:
        UserError: no file is given; names every file that cannot be read.
    """
    if not settings.files:
        raise UserError("data check", "no file is given", "Give files or named data sets, such as sqac/dev.")
    results, errors = [], []
    for name in settings.files:
        try:
            results.append((name, read(resolve(name), repair=True)[1]))
        except UserError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        problem = say(f"{len(errors)} files cannot be read")
        raise UserError("data check", "\n".join([problem, *map(say_error, errors)]))
    text = "\n\n".join(table(name, counts) for name, counts in results)
    show({"files": [as_json(name, counts) for name, counts in results]}, text, json=settings.json)
    return results


def as_json(name: str, counts: Counts) -> dict[str, Any]:
    """The counts of one file as the JSON object gives them."""
    return {"file": name, **dataclasses.asdict(counts)}


def table(name: str, counts: Counts) -> str:
    """The counts of one file as people read them."""
    rows = [name, f"  {'':14}{say('in the file'):>12}{say('after repair'):>14}"]
    for field in dataclasses.fields(Tally):
        label = say("questions" if field.name == "examples" else field.name)
        before, after = getattr(counts.before, field.name), getattr(counts.after, field.name)
        rows.append(f"  {label:14}{before:12,}{after:14,}")
    fates = ("kept", "mended", "merged", "dropped")
    rows.append(say("  answers: " + ", ".join(f"{getattr(counts, fate):,} {fate}" for fate in fates)))
    if counts.unit != CHARACTERS:
        rows.append(say(f"  answer_start counts {counts.unit}"))
    if not counts.problems:
        rows.append(say("  no problems"))
    rows += [f"  {number:8,} {kind:15} {say(PROBLEM_KINDS[kind])}" for kind, number in counts.problems.items()]
    return "\n".join(rows)
