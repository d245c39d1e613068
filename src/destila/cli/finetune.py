"""`destila finetune`: a pre-trained encoder, or a random model of a given shape, becomes a reader."""

from collections.abc import Sequence
from pathlib import Path

from destila.cli.outcome import report_reader
from destila.config import FinetuneSettings
from destila.core.metadata import ModelMetadata
from destila.core.records import Example
from destila.data.tokenizers import load_tokenizer, pad_id, train_tokenizer
from destila.models.files import LoadedModel, random_model
from destila.training.losses import TaskLoss
from destila.training.recipe import (
    commits,
    fit,
    grown,
    load_start,
    load_training_data,
    training_windows,
    window_batches,
)
from destila.training.task import TrainingResult


def run(settings: FinetuneSettings) -> TrainingResult:
    """Fine-tune as the settings say; the reader lies in `settings.output` afterwards."""
    train_examples, dev_examples = load_training_data(settings)
    reader = starting_model(settings, train_examples)
    source = {"command": "finetune", "model": settings.model.name or "random", "data": settings.data.train}
    result = fit(
        reader,
        TaskLoss(),
        settings=settings,
        batches=window_batches(training_windows(reader, settings, train_examples), settings),
        train_examples=train_examples,
        dev_examples=dev_examples,
        source=source | commits(reader),
    )
    report_reader(settings, result)
    return result


def starting_model(settings: FinetuneSettings, examples: Sequence[Example]) -> LoadedModel:
    """The named model, or a random one with a given tokenizer or one trained on the contexts of the examples."""
    model = settings.model
    if model.name:
        reader = load_start(settings, model.name, revision=model.revision, dropout=model.dropout)
        return grown(reader, model, seed=settings.training.seed)
    if model.tokenizer:
        tokenizer = load_tokenizer(Path(model.tokenizer))
    else:
        texts = dict.fromkeys(text for example in examples for text in (example.context, example.question))
        tokenizer = train_tokenizer(list(texts), vocabulary_size=model.vocabulary_size)
    random = random_model(
        model.shape,
        architecture=model.architecture,
        vocabulary_size=tokenizer.get_vocab_size(),
        pad_id=pad_id(tokenizer, {}),
        longest=settings.window.length,
        dropout=model.dropout,
        seed=settings.training.seed,
    )
    return LoadedModel(model=random, tokenizer=tokenizer, metadata=ModelMetadata(), name="random")
