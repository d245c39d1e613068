"""Settings of the commands that say how sure answers are, and what is guaranteed of them."""

from dataclasses import field

from destila.config.answer import RunTimeSettings
from destila.config.fields import CountOrZero, NonNegative, Share, positional, settings, strings


@settings
class CalibrateSettings(RunTimeSettings):
    """Fit the probability that an answer is right, and promise how many answers above some probability are wrong."""

    model: str | None = positional(default=None)
    """Local directory or hub id; none: the bundled model."""
    revision: str | None = None
    """Commit of the hub repository."""
    data: list[str] = strings()
    """Files or named sources, of several articles, with questions like those that will be asked."""
    off_topic: NonNegative = 0.0
    """Add so many questions asked of another paragraph of the article for each with an answer; 0: only the data."""
    max_error: list[Share] = field(default_factory=lambda: [0.05])
    """Largest share of answers that are wrong; several give a promise each."""
    write: bool = False
    """Put the calibration and its promises into the model's destila.json."""
    seed: CountOrZero = 1
    """Of how articles are dealt to the parts that test each other, and of the other paragraphs."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""
