"""Settings of `destila data generate`: who makes questions about a folder's passages, and which are kept."""

from dataclasses import field
from typing import Annotated, ClassVar

from annotated_types import Ge

from destila.config.documents import DocumentSettings
from destila.config.fields import Count, CountOrZero, NonNegative, Positive, Seed, Share, positional, settings


@settings
class GeneratorSettings:
    """Who makes the questions. A key is read from DESTILA_API_KEY or OPENAI_API_KEY, and from nowhere else."""

    url: str = ""
    """Address of an OpenAI-compatible server, such as http://127.0.0.1:8080/v1 (llama.cpp, Ollama, vLLM, hosted ones);
    the texts go there and nowhere else. Empty: the built-in generator, without a network."""
    model: str = ""
    """Model that the server runs."""
    parallel: Count = 4
    """Requests at once."""
    attempts: Count = 4
    """Attempts for each request, with growing pauses; then it counts as failed."""
    wait: NonNegative = 1.0
    """Seconds before the second attempt; each further one waits twice as long, or as the server asks."""
    timeout: Positive = 120.0
    """Seconds to wait for a reply."""
    max_tokens: Count = 1500
    """Most tokens of a reply."""
    temperature: NonNegative = 0.3
    """Temperature of the language model."""
    price_in: NonNegative = 0.0
    """Price of a million tokens that are sent, in any currency, for the estimate; 0: not known."""
    price_out: NonNegative = 0.0
    """Price of a million tokens that are received, likewise."""


@settings
class FilterSettings:
    """Which questions are kept."""

    overlap: Share = 0.9
    """Highest share of a question's telling words that stand in the sentence of its answer; 1: any, they may be too
    easy."""
    agreement: Share = 0.6
    """Least token F1 between a question's answer and the span that the reader finds; 0: the reader is not asked."""
    question_word: Share = 0.4
    """Highest share of the questions with one question word."""
    answer_length: Share = 0.6
    """Highest share of the answers of one length (1, 2 to 3, 4 to 7, 8 and more words)."""
    unanswerable: Share = 0.25
    """Highest share of unanswerable questions."""


@settings
class GenerationSettings:
    """How questions are made about the documents of a folder, wherever they go."""

    folder: str = positional()
    """Folder of documents (.txt, .md, .html, .pdf, .docx)."""
    per_passage: Count = 10
    """Questions that are made about each passage, before they are filtered."""
    max_passages: CountOrZero = 0
    """Ask about so many passages, evenly spread over the documents; 0: about all."""
    passage_characters: Annotated[int, Ge(200)] = 1200
    """Most characters of a passage; about 1200 fill a window of 384 tokens."""
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    """Who makes the questions."""
    filters: FilterSettings = field(default_factory=FilterSettings)
    """Which questions are kept."""
    documents: DocumentSettings = field(default_factory=DocumentSettings)
    """What reading one file may cost."""
    cache: str | None = None
    """Directory of the cache of texts and replies; none: $DESTILA_CACHE, else ~/.cache/destila."""
    seed: Seed = 1
    """Of everything that is drawn."""


@settings
class DataGenerateSettings(GenerationSettings):
    """Make questions about the documents of a folder, and keep those that a reader answers as they were meant."""

    OFTEN: ClassVar[tuple[str, ...]] = (
        "folder",
        "output",
        "generator.url",
        "generator.model",
        "generator.parallel",
        "generator.price_in",
        "generator.price_out",
        "per_passage",
        "max_passages",
        "reader",
        "overwrite",
        "json",
    )

    output: str = ""
    """File to write; its ending gives the format: .json (SQuAD), .jsonl, .parquet."""
    reader: str | None = None
    """Reader that must find the same answers; a local directory or hub id; none: the bundled model."""
    overwrite: bool = False
    """Begin the output anew, also if it is finished or was begun from something else."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""
