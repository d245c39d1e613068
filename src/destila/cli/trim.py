"""`destila trim`: a multilingual reader or encoder -> one with only the tokens that given texts use."""

import dataclasses

from destila.cli.result import show
from destila.config import TrimSettings
from destila.core.errors import UserError
from destila.core.formatting import count, share, size
from destila.core.language import say
from destila.models.trim import HeldOutChange, TrimResult, trim


def run(settings: TrimSettings) -> TrimResult:
    """Trim as the settings say; print what it saved and what it changed.

    Raises:
        UserError: no output is named, or as `trim` does.
    """
    if not settings.output:
        raise UserError("destila trim", "--output: is required", "Run it with --help for every setting.")
    result = trim(
        settings.model,
        settings.data,
        settings.output,
        keep=settings.keep,
        held_out=settings.held_out,
        revision=settings.revision,
    )
    show(dataclasses.asdict(result), "\n".join(map(say, _lines(result))), json=settings.json)
    return result


def _lines(result: TrimResult) -> list[str]:
    """The result in words."""
    lines = [
        f"{result.output}: from {count(result.texts)} texts of {count(result.characters)} characters, "
        f"in {result.seconds:.0f} s",
        f"tokens      {_pair(result.vocabulary)}",
        f"parameters  {_pair(result.parameters)}",
        f"files       {size(result.bytes[0])} -> {size(result.bytes[1])}",
    ]
    if result.held_out is None:
        return [*lines, "held out    nothing: too few texts to keep one apart; give --held-out"]
    return [*lines, *_change(result.held_out)]


def _change(change: HeldOutChange) -> list[str]:
    before, after = (tokens / max(change.characters, 1) for tokens in change.tokens)
    return [
        f"held out    {count(change.texts)} texts: {before:.4f} -> {after:.4f} tokens per character; "
        f"{share(change.changed / max(change.texts, 1))} of the texts have other tokens; "
        f"unknown tokens {count(change.unknown[0])} -> {count(change.unknown[1])}"
    ]


def _pair(pair: tuple[int, int]) -> str:
    return f"{count(pair[0])} -> {count(pair[1])} ({share(pair[1] / pair[0])})"
