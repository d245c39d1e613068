"""Settings of the commands that publish a reader."""

from destila.config.fields import positional, settings, strings


@settings
class CardSettings:
    """Write the model card of a run or an export (README.md), from what its files say; with data, measure it first."""

    directory: str = positional()
    """Directory of a finished run or of an export."""
    data: list[str] = strings()
    """Files or named sources to score the reader on; the scores are kept in scores.json, and the card shows them."""
    overwrite: bool = False
    """Replace a card that was written or changed by hand."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""


@settings
class PushSettings:
    """Upload a reader and its card to the Hugging Face hub, after showing what would go there."""

    directory: str = positional()
    """Directory of a finished run or of an export."""
    repository: str = positional()
    """owner/name on the hub; made if it is not there."""
    private: bool = True
    """Make the repository private."""
    dry_run: bool = False
    """Show what would be uploaded, and upload nothing; needs neither network nor login."""
    yes: bool = False
    """Do not ask."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""
