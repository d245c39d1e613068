"""`destila data generate`: questions about the documents of a folder."""

from dataclasses import asdict

from destila.cli.result import show
from destila.config import DataGenerateSettings
from destila.core.errors import UserError
from destila.core.language import say
from destila.training.generation import Generated, generate


def run(settings: DataGenerateSettings) -> None:
    """Make questions, filter them, and say how many each filter left out, and what they cost.

    Raises:
        UserError: no output is named, or as `generate` does.
    """
    if not settings.output:
        raise UserError("output", "no file is named to write to", "Pass --output FILE.json.")
    made = generate(settings.folder, settings.output, settings=settings)
    show({**asdict(made), "output": str(made.output)}, "\n".join(lines_of(made)), json=settings.json)


def lines_of(made: Generated) -> list[str]:
    """What was made, for people."""
    kept = f"{made.output}: {made.questions:,} questions, {made.answerable:,} of them answerable"
    lines = [
        say(kept),
        say(f"  {made.drafts:,} were made about {made.passages:,} passages of {made.documents:,} documents; left out:"),
        *(f"  {number:8,}  {say(name)}" for name, number in made.left_out.items()),
    ]
    if made.faults:
        lines.append(say("  passages without a usable reply:"))
        lines += [f"  {number:8,}  {say(name)}" for name, number in made.faults.items()]
    if made.tokens_in or made.tokens_out:
        price = say(f", for about {made.price:.2f}") if made.price is not None else ""
        lines.append(say(f"  {made.tokens_in:,} tokens were sent and {made.tokens_out:,} received") + price)
    return lines
