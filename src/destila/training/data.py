"""The questions of a training: which are read, how often those of each file are seen, and what is noted of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from destila.config import DataSettings, TrainingCommandSettings
from destila.core.errors import UserError
from destila.core.records import Example
from destila.core.suggestions import nearest
from destila.data.crop import cropped
from destila.data.licenses import describe_data
from destila.data.negatives import paired
from destila.data.sources import load_by_name, load_gold, require_labeled
from destila.data.windows import Window, WindowBatches

INPUTS_SEED = 1  # of further inputs: runs with other seeds share what the teachers said of them


@dataclass(frozen=True)
class TrainingData:
    """The questions of a training."""

    # train, dev: what is trained on, and what the best checkpoint is chosen on
    train: list[Example]
    dev: list[Example]
    # by the id of a training example, the name of the file that it comes from
    file_of: Mapping[str, str] = field(default_factory=dict)

    def file(self, example: Example) -> str:
        """The file of an example, or of the one that it was made of; empty for one that was made of raw text."""
        return self.file_of.get(example.id) or self.file_of.get(re.sub(r"([+~]\d+)+$", "", example.id), "")


def load_training_data(
    settings: TrainingCommandSettings, *, unlabeled: bool = False, optional: bool = False
) -> TrainingData:
    """The training examples (labeled ones alone, unless asked otherwise) and the dev examples.

    Args:
        optional: there may be no training data, because other rows are trained on.

    Raises:
        UserError: no training data is named, or it or dev cannot be read or holds no labeled question; or a weight or
            a language is for no file that is.
    """
    data = settings.data
    if not data.train and not optional:
        raise UserError("data.train", "names no data", "Give a file or a named source to train on.")
    for table in ("weights", "languages"):
        _check_files(data, table)
    files = load_by_name(data.train, gold="repaired" if data.repair else "checked") if data.train else {}
    file_of = {example.id: name for name, examples in files.items() for example in examples}
    train_examples = [example for examples in files.values() for example in examples]
    train_examples = train_examples[: data.max_train_examples or None]
    dev_examples = load_gold(data.dev, limit=data.max_dev_examples) if data.dev else []
    if not data.unanswerable:
        train_examples = [example for example in train_examples if example.answers or not example.labeled]
    labeled = [example for example in train_examples if example.labeled]
    if not labeled and not optional:
        raise UserError("data.train", "has no labeled question", "Give data with answers.")
    if data.dev:
        require_labeled(dev_examples, f"data.dev ({', '.join(data.dev)})")
    chosen = train_examples if unlabeled else labeled
    chosen = [*chosen, *paired(chosen, paragraphs=data.other_paragraphs, seed=INPUTS_SEED, labeled=True)]
    return TrainingData([cropped(example, data.crop) for example in chosen], dev_examples, file_of)


def _check_files(data: DataSettings, table: str) -> None:
    """Refuse a key of [data.weights] or [data.languages] that is neither a file of `data.train` nor one's stem."""
    known = [*data.train, *(Path(name).stem for name in data.train)]
    problems = [
        f"{key!r} is no file of data.train{nearest(key, known)}" for key in getattr(data, table) if key not in known
    ]
    if problems:
        raise UserError.from_problems(f"data.{table}", problems, f"Files: {', '.join(data.train) or 'none'}.")


def _value_of(values: Mapping[str, Any], name: str, default: Any) -> Any:
    """What [data.weights] or [data.languages] says of a file, by its name or its stem."""
    return values.get(name, values.get(Path(name).stem, default))


def data_record(data: TrainingData, settings: DataSettings) -> list[dict[str, Any]]:
    """What run.json and destila.json say of each training file: language, licenses, questions, weight."""
    counts: dict[str, int] = {}
    for example in data.train:
        counts[data.file(example)] = counts.get(data.file(example), 0) + 1
    found = []
    for name in settings.train:
        said = describe_data(name, use="train")
        found.append(
            {
                "file": name,
                "language": _value_of(settings.languages, name, said.language),
                "license": ", ".join(dict.fromkeys(source.license for source in said.sources if source.license)),
                "questions": counts.get(name, 0),
                "weight": _value_of(settings.weights, name, 1.0),
            }
        )
    return found


def window_batches(
    windows: Sequence[Window], settings: TrainingCommandSettings, *, data: TrainingData, examples: Sequence[Example]
) -> WindowBatches:
    """The order in which windows are trained on, those of each file as often as [data.weights] says.

    Args:
        examples: what the windows were cut of.
    """
    training, weights = settings.training, settings.data.weights
    parts: dict[str, list[int]] = {}
    for place, window in enumerate(windows if weights else ()):
        parts.setdefault(data.file(examples[window.example]), []).append(place)
    times = [(np.array(places), float(_value_of(weights, name, 1.0))) for name, places in parts.items()]
    return WindowBatches(windows, batch_size=training.batch_size, seed=training.seed, parts=times)
