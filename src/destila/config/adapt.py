"""Settings of `destila adapt`."""

from typing import ClassVar

from destila.config.fields import Count, CountOrZero, NonNegative, Positive, Precision, settings, strings
from destila.config.generate import GenerationSettings


@settings
class AdaptSettings(GenerationSettings):
    """Make a reader better at the documents of a folder, prove it, or leave everything as it is and say why."""

    OFTEN: ClassVar[tuple[str, ...]] = (
        "folder",
        "output",
        "model",
        "teacher",
        "test",
        "data",
        "dev",
        "generator.url",
        "generator.model",
        "seconds",
        "json",
    )

    output: str = "runs/adapted"
    """Directory of the run, and of the adapted reader if it passes."""
    model: str = ""
    """Reader to start from, with weights for torch; empty: models/reader, the bundled model's."""
    teacher: str = ""
    """Reader that teaches it; empty: models/teacher."""
    reader: str | None = None
    """Reader that must find the same answers; none: the teacher."""
    test: list[str] = strings()
    """Reviewed questions about the documents to judge by; none: questions about documents that are held apart."""
    data: list[str] = strings()
    """General questions to train on beside those about the documents, against forgetting."""
    dev: list[str] = strings()
    """General questions on which no more than `max_loss` may be lost; none: data/nativa/dev.json of a clone."""
    mix: NonNegative = 1.0
    """General questions of `data` that are trained on for each one about the documents, at most."""
    max_questions: CountOrZero = 1500
    """Train on so many questions about the documents, evenly spread; 0: on all. The teacher reads each once."""
    max_dev: CountOrZero = 500
    """Judge on so many questions of `dev`, and of `test`, evenly spread; 0: on all."""
    max_loss: NonNegative = 1.0
    """Most F1, in points, that may be lost on general questions."""
    seconds: Positive = 900.0
    """Seconds of training; the learning rate follows them."""
    steps: CountOrZero = 0
    """Optimizer steps of training, instead of seconds: the same on every machine; 0: follow seconds."""
    batch_size: Count = 16
    """Windows of one optimizer step."""
    learning_rate: Positive = 5e-5
    """Peak learning rate of AdamW."""
    precision: Precision = "fp32"
    """Arithmetic of the forward pass; weights and optimizer stay in fp32."""
    overwrite: bool = False
    """Replace what is in `output` already."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""
