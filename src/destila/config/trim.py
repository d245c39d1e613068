"""Settings of `destila trim`."""

from destila.config.fields import CountOrZero, positional, settings, strings


@settings
class TrimSettings:
    """Cut the vocabulary of a reader or encoder down to what texts use: same tokens and same answers on these texts,
    a fraction of the parameters."""

    model: str = positional()
    """Local directory or hub id of a reader or encoder with weights for torch."""
    revision: str | None = None
    """Commit of the hub repository; pin it."""
    data: list[str] = strings()
    """Texts: question files (SQuAD JSON, JSONL, Parquet), named sources, or text files (.txt, .txt.gz, .txt.xz) with a
    paragraph a line, or directories of them."""
    output: str = ""
    """Directory to write."""
    keep: CountOrZero = 0
    """Tokens to keep in all, the most frequent ones; 0: all that the texts use."""
    held_out: list[str] = strings()
    """Texts to measure on what changes elsewhere; none: on one in fifty of the given texts, by a trial without them."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""
