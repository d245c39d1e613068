"""Settings of the commands that say how sure answers are, and what is guaranteed of them."""

from dataclasses import field

from destila.config.answer import RunTimeSettings
from destila.config.fields import CountOrZero, NonNegative, Seed, Share, positional, settings, strings


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
    seed: Seed = 1
    """Of how articles are dealt to the parts that test each other, and of the other paragraphs."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""


@settings
class CertifySettings(RunTimeSettings):
    """Check what is guaranteed of a reader, and write into its destila.json and its card what held."""

    model: str | None = positional(default=None)
    """Local directory or hub id; none: the bundled model."""
    revision: str | None = None
    """Commit of the hub repository."""
    data: list[str] = strings()
    """Files or named sources, whose questions and texts are read."""
    reference: str | None = None
    """The reader in torch that an export was made of; none: whether the export equals it is not checked."""
    max_examples: CountOrZero = 0
    """Use so many questions, evenly spread over the data; 0: all."""
    min_agreement: Share = 0.9
    """Least share of answers of bf16 or int8 that say the same as the reference's."""
    max_loss: NonNegative = 0.5
    """The most F1, in points, that bf16 or int8 may lose."""
    write: bool = True
    """Write what was found into a local directory; false: only print it."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""
