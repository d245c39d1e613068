"""Settings of `destila pretrain`: raw text -> rows -> an encoder with a span head."""

from dataclasses import field
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge

from destila.config.fields import Count, CountOrZero, Fraction, NonNegative, Positive, Share, settings, strings
from destila.config.training import RunSettings, ShapeSettings


def weights_by_source() -> dict[str, NonNegative]:
    """No source has a weight of its own."""
    return {}


@settings
class TextSettings:
    files: list[str] = strings()
    """Text files (.txt, .txt.xz, .txt.gz) or directories: a paragraph a line, a blank line between documents."""
    weights: dict[str, NonNegative] = field(default_factory=weights_by_source)
    """How often a token of each source is read; 1 unless given. A source is what file names begin with."""
    store: str = "runs/text"
    """Directory of the tokenized text, one subdirectory for each set of files and settings."""
    tokenizer: str = ""
    """Directory of a byte-level tokenizer.json to use; empty: train one on the text."""
    vocabulary_size: Count = 16000
    """Size of the tokenizer that is trained."""
    tokenizer_megabytes: Positive = 64.0
    """Text that the tokenizer is trained on, drawn evenly from the weighted sources."""
    workers: Annotated[int, Ge(-1)] = -1
    """Processes that tokenize and make rows ahead of training; -1: as many as the cores and the device want."""


@settings
class ClozeSettings:
    share: Share = 0.95
    """Share of the rows that get a question, where the passage has one; the others serve masked words alone."""
    unanswerable: Share = 0.1
    """Share of the questions whose span does not occur in the context: the right answer is none."""
    neighborhood: Share = 0.4
    """Share of the questions that are cut to some words on both sides of the gap."""
    interrogative: Share = 0.3
    """Share of the questions that open with an interrogative instead of showing the gap."""
    keep_answer_sentence: Share = 0.0
    """Share of the answerable questions whose sentence stays in the context: finding it is matching words."""
    dropped: Share = 0.0
    """Highest share of a question's words that are left out; each question draws its own up to this."""
    varied: Share = 0.0
    """Share of its other words that are not the sentence's: other forms ("fundación" for "fundó"), or strangers."""
    synonyms: Share = 0.0
    """Share of the words that are to vary which a word of the same meaning replaces, where one is known."""
    kinds: Share = 0.0
    """Share of the questions with an interrogative that say what kind of thing they ask for: "¿Qué ciudad"."""
    clauses: Share = 0.0
    """Share of the questions with an interrogative that keep whole phrases near the gap, the verb first."""
    reordered: Share = 0.0
    """Share of the questions with an interrogative whose parts change places."""
    weight: NonNegative = 1.0
    """Weight of the span loss beside the one of masked words."""


@settings
class MaskingSettings:
    share: Fraction = 0.15
    """Share of the tokens that are to be guessed, in whole words; 0: none, questions alone."""
    random: Share = 0.1
    """Share of these that show another token instead of <mask>."""
    kept: Share = 0.1
    """Share of these that show what they are."""
    weight: NonNegative = 1.0
    """Weight of the loss of masked words."""

    def __post_init__(self) -> None:
        if self.random + self.kept > 1:
            raise ValueError(f"random ({self.random}) and kept ({self.kept}) are more than 1 together")


@settings
class PretrainedModelSettings:
    name: str = ""
    """An encoder of `destila pretrain` to go on from, with its tokenizer and shape; empty: a new one."""
    shape: ShapeSettings = field(default_factory=ShapeSettings)
    """Shape of a new encoder, a RoBERTa, or of what the named one is grown to."""
    grow: bool = False
    """Make the named encoder as large as `shape` before the first step; it begins with what it has learned."""
    initial: Literal["random", "matching"] = "random"
    """Weights to start from: random ones, or word vectors and heads that match words and places, for little compute."""
    vector_passes: Count = 3
    """Passes over the text for the word vectors of "matching"."""
    dropout: Fraction = 0.0
    """Dropout of hidden states and attention; a text that is read a few times only needs none."""
    length: Annotated[int, Ge(32)] = 384
    """Tokens of a row."""
    positions: CountOrZero = 0
    """Longest window that the model can be fine-tuned to; 0: `length`. Short rows are cheaper to learn from."""

    def __post_init__(self) -> None:
        if self.grow and not self.name:
            raise ValueError("grow is set and name is empty: there is nothing to grow")
        if self.positions and self.positions < self.length:
            raise ValueError(f"positions ({self.positions}) are fewer than the tokens of a row ({self.length})")


@settings
class PretrainSettings(RunSettings):
    """Pre-train a Spanish encoder on raw text: guess masked words, and point to the span that a question lacks."""

    OFTEN: ClassVar[tuple[str, ...]] = (
        "text.files",
        "text.weights",
        "text.vocabulary_size",
        "model.shape.layers",
        "model.shape.hidden",
        "model.length",
        "tokens",
        "training.batch_size",
        "training.learning_rate",
        "output",
    )

    text: TextSettings = field(default_factory=TextSettings)
    """What to read."""
    model: PretrainedModelSettings = field(default_factory=PretrainedModelSettings)
    """What to train."""
    cloze: ClozeSettings = field(default_factory=ClozeSettings)
    """Questions made of recurring spans."""
    masking: MaskingSettings = field(default_factory=MaskingSettings)
    """Masked words."""
    tokens: CountOrZero = 0
    """Budget in tokens, if neither training.steps nor training.seconds is set; 0: follow training.epochs."""
    dev_rows: CountOrZero = 256
    """Rows of text kept apart that training.evaluate_every scores; 0: no evaluation."""
