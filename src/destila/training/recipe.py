"""What `finetune` and `distill` share: questions -> windows -> the training loop -> a model with its metadata.

A run starts from models that are loaded by name, and their commits on the hub are noted. A name without a revision
means whatever the hub holds today, and a run may be resumed tomorrow: it goes on with the commit that run.json noted.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from destila.config import (
    ModelSettings,
    PretrainedModelSettings,
    RunSettings,
    StudentSettings,
    TrainingCommandSettings,
    TrainingSettings,
)
from destila.core.cpus import thread_count, usable_cores
from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata
from destila.core.records import Example, Prediction
from destila.core.runs import RUN_FILE, destila_version, read_json
from destila.data.tokenizers import pad_id as find_pad_id
from destila.data.windows import Window, WindowBuilder, collate, longest_window
from destila.evaluation.evaluate import make_report, signature
from destila.evaluation.metrics import score, summary, with_threshold
from destila.evaluation.threshold import best_f1
from destila.inference.backends.torch import TorchModel
from destila.inference.reader import Reader
from destila.models.files import LoadedModel, load_reader, random_model, save_reader
from destila.models.growth import grow
from destila.training.data import TrainingData, data_record
from destila.training.loop import train
from destila.training.losses import TorchBatch, to_tensors
from destila.training.opening import open_run
from destila.training.processes import device_of, is_main_process
from destila.training.task import Batches, Task, TrainingResult

LOG = logging.getLogger(__name__)
MAX_WORKERS = 12
Prepare = Callable[[TorchBatch, Sequence[Window]], TorchBatch]  # adds to a batch what else is known of its rows


def unchanged(batch: TorchBatch, _rows: Sequence[Window]) -> TorchBatch:
    """A batch of whose rows nothing else is known."""
    return batch


def window_builder(reader: LoadedModel, settings: TrainingCommandSettings) -> WindowBuilder:
    """Cuts texts for a reader.

    Raises:
        UserError: windows are longer than the reader can read.
    """
    window, longest = settings.window, longest_window(reader.model.config.to_dict())
    if window.length > longest:
        raise UserError("window.length", f"{window.length} is more than the model's {longest}", "Make it shorter.")
    pad_id = int(reader.model.config.pad_token_id)
    return WindowBuilder(reader.tokenizer, length=window.length, stride=window.stride, pad_id=pad_id)


def training_windows(
    reader: LoadedModel, settings: TrainingCommandSettings, examples: Sequence[Example]
) -> list[Window]:
    """The windows of the training examples; says how many questions have an answer that stands whole in none."""
    built = window_builder(reader, settings).build(examples)
    windows = without_some_negatives(built, settings.data.negatives)
    device_of(settings.training)  # decided before anything asks for the process
    if is_main_process():
        LOG.info(f"{len(examples):,} questions, {len(windows):,} windows")
        if lost := _lost_answers(examples, built, settings):
            LOG.warning(lost)
    return windows


def _lost_answers(examples: Sequence[Example], windows: Sequence[Window], settings: TrainingCommandSettings) -> str:
    """One line on the answerable questions of which no window holds a whole answer; empty if there is none."""
    held = {window.example for window in windows if window.starts}
    answerable = [(place, example.id) for place, example in enumerate(examples) if example.answers]
    if not (lost := [name for place, name in answerable if place not in held]):
        return ""
    window = settings.window
    return (
        f'{len(lost):,} of {len(answerable):,} answerable questions are trained as "no answer": their answers stand '
        f"whole in no window; first: id {lost[0]}. Raise window.length ({window.length}) or window.stride "
        f"({window.stride})."
    )


def without_some_negatives(windows: Sequence[Window], share: float) -> list[Window]:
    """The windows, but of those that somebody looked at and found without an answer only a share.

    Which are kept depends on the windows alone, not on the seed of a run: runs with other seeds share stored logits.
    """
    if share >= 1:
        return list(windows)
    drawn = np.random.default_rng(0).random(len(windows)) < share
    return [window for window, kept in zip(windows, drawn, strict=True) if kept or window.starts or not window.labeled]


def worker_count(workers: int, training: TrainingSettings) -> int:
    """Processes that make rows: a GPU wants many, and a CPU that trains has no core to spare. -1: as many as fit."""
    if workers >= 0:
        return thread_count(workers, what="workers") if workers else 0
    on_gpu = torch.cuda.is_available() and training.device != "cpu"
    return max(1, min(MAX_WORKERS, usable_cores() - 2)) if on_gpu else 0


def random_start(
    own: ModelSettings | StudentSettings, tokenizer: Tokenizer, settings: TrainingCommandSettings, *, name: str
) -> LoadedModel:
    """A random model for the tokens of a tokenizer, in the shape and family that the settings give."""
    model = random_model(
        own.shape,
        architecture=own.architecture,
        vocabulary_size=tokenizer.get_vocab_size(),
        pad_id=find_pad_id(tokenizer, {}),
        longest=settings.window.length,
        dropout=own.dropout,
        seed=settings.training.seed,
    )
    return LoadedModel(model, tokenizer, metadata=ModelMetadata(), name=name)


def fit(
    reader: LoadedModel,
    loss_fn: Callable[..., Any],
    *,
    settings: TrainingCommandSettings,
    batches: Batches[Window],
    data: TrainingData,
    source: Mapping[str, Any],
    prepare: Prepare = unchanged,
) -> TrainingResult:
    """Train `reader.model` and leave the best reader in the run directory, which is opened only now: a mistake in
    settings, data or models leaves none behind.

    Args:
        batches: which windows each step reads.
        source: where the reader comes from, for its destila.json.
        prepare: adds to a batch what else is known of its rows.
    """
    window, pad_id, dev_examples = settings.window, int(reader.model.config.pad_token_id), data.dev
    source = {**source, "files": data_record(data, settings.data)}
    has_unanswerable = any(example.labeled and not example.answers for example in data.train)

    def predict(student: Any) -> dict[str, Prediction]:
        judged = Reader(TorchModel(student), reader.tokenizer, window=window, pad_id=pad_id, no_answer_threshold=None)
        return judged.predict(dev_examples)

    def evaluate(student: Any) -> dict[str, Any]:
        return _dev_scores(dev_examples, predict(student), has_unanswerable=has_unanswerable)

    def save(student: Any, directory: Path, scores: Mapping[str, Any]) -> None:
        metadata = {
            "window": asdict(window),
            "no_answer_threshold": scores.get("no_answer_threshold", 0.0 if has_unanswerable else None),
            "dev": dict(scores),
            "source": dict(source),
            "version": destila_version(),
        }
        save_reader(student, reader.tokenizer, metadata, directory)

    task = Task(
        student=reader.model,
        loss_fn=loss_fn,
        batches=batches,
        collate=lambda rows, device: prepare(to_tensors(collate(rows, pad_id=pad_id), device), rows),
        save=save,
        evaluate=evaluate if dev_examples else None,
    )
    with closing(open_run(settings)) as run:
        if is_main_process():
            run.update(source=dict(source))
        return train(
            task,
            settings=settings.training,
            run=run,
            stop_after_seconds=settings.stop_after_seconds,
            trackers=settings.trackers,
        )


def _dev_scores(
    examples: Sequence[Example], predictions: Mapping[str, Prediction], *, has_unanswerable: bool
) -> dict[str, Any]:
    """F1 and EM by the SQuAD rules, with intervals and their signature; with the best no-answer threshold where
    training and dev have such questions.
    """
    scores: dict[str, Any] = {}
    if has_unanswerable and any(example.labeled and not example.answers for example in examples):
        threshold, _ = best_f1(examples, predictions)
        predictions = with_threshold(predictions, threshold)
        scores["no_answer_threshold"] = threshold
    texts = {name: prediction.answer.text for name, prediction in predictions.items()}
    scored = score(examples, texts, normalizer="squad")
    report = make_report(scored, examples, model="", data="")
    certain = {"f1_ci": report.f1_ci, "em_ci": report.em_ci, "signature": signature(report)}
    return {**summary(scored), **certain, **scores}


# ---------------------------------------------------------------------------------------------------- the start
def load_start(
    settings: RunSettings, name: str, *, revision: str | None = None, dropout: float, random_head: bool = True
) -> LoadedModel:
    """Load a model to start from; a run that is resumed goes on with the commit that it started with."""
    path, repository = Path(settings.output) / RUN_FILE, name.partition("@")[0]
    record = read_json(path) if settings.resume and path.exists() else {}
    commit = record.get("source", {}).get("commits", {}).get(repository)
    if commit:
        name, revision = repository, commit
    return load_reader(name, revision=revision, dropout=dropout, random_head=random_head)


def grown(reader: LoadedModel, model: ModelSettings | PretrainedModelSettings, *, seed: int) -> LoadedModel:
    """The model at the shape of the settings, if they ask for that."""
    return replace(reader, model=grow(reader.model, model.shape, seed=seed)) if model.grow else reader


def commits(*readers: LoadedModel) -> dict[str, Any]:
    """What `source` in run.json and destila.json says of readers that came from the hub; empty if none did."""
    found = {reader.name: reader.commit for reader in readers if reader.commit}
    return {"commits": found} if found else {}
