"""Fine-tuning: a pre-trained encoder, or a random model of a given shape, becomes a reader."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from destila.config import FinetuneSettings
from destila.config.loader import settings_of
from destila.config.resuming import with_run
from destila.core.progress import Listener, listening
from destila.core.records import Example
from destila.data.tokenizers import load_tokenizer, train_tokenizer
from destila.models.files import LoadedModel
from destila.training.data import load_training_data, window_batches
from destila.training.losses import TaskLoss
from destila.training.recipe import commits, fit, grown, load_start, random_start, training_windows
from destila.training.stages import run_stages
from destila.training.task import TrainingResult


def finetune(
    settings: FinetuneSettings | Mapping[str, Any] | str | Path | None = None,
    *,
    progress: Listener | None = None,
    **changes: Any,
) -> TrainingResult:
    """Train a reader on questions, in one or several stages.

    >>> import destila
    >>> result = destila.finetune("configs/tiny/finetune.toml", output="runs/teacher", training={"epochs": 1})
    >>> result.finished, result.path.name
    (True, 'teacher')

    Args:
        settings: a `FinetuneSettings`, a TOML file, or None for the defaults.
        progress: is told of all progress; None: nobody is.
        changes: settings that differ, a table as a mapping; a text for a table is its name: model="my/encoder",
            data="train.json".

    Returns:
        How training ended. Where it was interrupted, all is saved, and `resume="runs/teacher"` goes on, under the
        run's own settings. A finished run goes on if a larger budget is given.

    Raises:
        UserError: a mistake in settings, data or models; nothing is left behind then.
    """
    with listening(progress):
        return run_stages(settings_of(FinetuneSettings, settings, changes, complete=with_run), _one_stage)


def _one_stage(settings: FinetuneSettings) -> TrainingResult:
    data = load_training_data(settings)
    reader = _starting_model(settings, data.train)
    source = {"command": "finetune", "model": settings.model.name or "random", "data": settings.data.train}
    windows = training_windows(reader, settings, data.train)
    return fit(
        reader,
        TaskLoss(),
        settings=settings,
        batches=window_batches(windows, settings, data=data, examples=data.train),
        data=data,
        source=source | commits(reader),
    )


def _starting_model(settings: FinetuneSettings, examples: Sequence[Example]) -> LoadedModel:
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
    return random_start(model, tokenizer, settings, name="random")
