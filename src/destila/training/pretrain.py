"""Pre-training: raw text -> a tokenizer and an encoder with a span head, for fine-tuning to go on from."""

import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from destila.config import PretrainSettings
from destila.config.loader import settings_of
from destila.config.resuming import check_same, with_run
from destila.core.errors import UserError
from destila.core.outputs import check_directory
from destila.core.progress import Listener, listening
from destila.core.runs import atomic_file, destila_version
from destila.data.corpus import TokenStore, open_store
from destila.data.synthetic.masking import place_count
from destila.data.synthetic.rows import RowMaker, Rows, row_makers, rows_by_step
from destila.data.synthetic.token_table import Lexicon
from destila.data.tokenizers import pad_id
from destila.data.windows import longest_window
from destila.models.files import LoadedModel, random_model, save_reader
from destila.models.matching_init import position_width, start_matching, word_vectors
from destila.training.loop import train
from destila.training.opening import open_run
from destila.training.prefetch import Prefetched
from destila.training.pretraining_loss import PretrainingLoss, flops_per_token, held_out_scores, to_tensors
from destila.training.processes import is_main_process, main_process_first
from destila.training.recipe import grown, load_start, worker_count
from destila.training.task import Task, TrainingResult

LOG = logging.getLogger(__name__)


def pretrain(
    settings: PretrainSettings | Mapping[str, Any] | str | Path | None = None,
    *,
    progress: Listener | None = None,
    **changes: Any,
) -> TrainingResult:
    """Pre-train an encoder on raw text.

    >>> import destila
    >>> changes = {"training": {"steps": 2}, "output": "runs/encoder"}
    >>> result = destila.pretrain("configs/tiny/pretrain.toml", text="my-texts", **changes)
    >>> result.finished, result.steps
    (True, 2)

    Args:
        settings: a `PretrainSettings`, a TOML file, or None for the defaults.
        progress: is told of all progress; None: nobody is.
        changes: settings that differ, a table as a mapping; a text for a table is its name: text="my-texts".

    Returns:
        How training ended; `best_score` is the negative of the loss over rows kept apart. `resume="runs/encoder"` goes
        on with a run, under its own settings.

    Raises:
        UserError: the text is missing, unreadable or too little, or as `train` does.
    """
    with listening(progress):
        return _pretrain(settings_of(PretrainSettings, settings, changes, complete=with_run))


def _pretrain(settings: PretrainSettings) -> TrainingResult:
    check_directory("--output", settings.output)
    if settings.resume:
        check_same(settings)
    start = _start(settings) if settings.model.name else None
    with main_process_first(settings.training):
        store = open_store(settings.text, tokenizer=start.tokenizer if start else None)
    maker, apart = row_makers(store, settings)
    row_tokens, training = settings.training.batch_size * settings.model.length, settings.training
    if settings.tokens and not training.steps and not training.seconds:
        training = replace(training, steps=-(-settings.tokens // row_tokens))
    _describe(store, maker)
    batches = Prefetched(
        rows_by_step,
        (store.path, settings),
        steps_per_epoch=max(1, round(maker.mixture.tokens / row_tokens)),
        workers=worker_count(settings.text.workers, training),
    )
    with batches:
        task = _pretraining_task(settings, start.model if start else _new(settings, store), store, batches, apart)
        with closing(open_run(settings)) as run:
            return train(
                task,
                settings=training,
                run=run,
                stop_after_seconds=settings.stop_after_seconds,
                trackers=settings.trackers,
            )


def _describe(store: TokenStore, maker: RowMaker) -> None:
    """Say what is read: the store, the sources and their shares."""
    if not is_main_process():
        return
    counts, mixture = store.counts, maker.mixture
    shares = ", ".join(f"{name} {share:.1%}" for name, share in zip(mixture.names, mixture.shares, strict=True))
    LOG.info(
        f"{counts['paragraphs']:,} paragraphs, {counts['kept']:,} kept, {counts['tokens']:,} tokens in {store.path}; "
        f"one pass is {mixture.tokens:,.0f} weighted tokens: {shares}"
    )


def _stored_vectors(store: TokenStore, *, width: int, passes: int, seed: int) -> NDArray[Any]:
    """The word vectors of a text, made once and kept beside its tokens: a run that resumes needs the same ones."""
    path = store.path / f"vectors-{width}-{passes}-{seed}.npy"
    if not path.exists():
        if is_main_process():
            LOG.info(f"Word vectors of {width} channels from {len(store.tokens):,} tokens: minutes.")
        vocabulary = store.tokenizer.get_vocab_size()
        vectors = word_vectors(store.tokens, vocabulary_size=vocabulary, width=width, passes=passes, seed=seed)
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.save(file, vectors)
    found: NDArray[Any] = np.load(path)
    return found


def _start(settings: PretrainSettings) -> LoadedModel:
    """The encoder to go on from.

    Raises:
        UserError: it cannot be loaded, its windows are too short, or its tokenizer is of another kind.
    """
    model = settings.model
    if settings.text.tokenizer:
        remedy = "Leave text.tokenizer empty: an encoder brings its own."
        raise UserError("text.tokenizer", "is set beside model.name", remedy)
    reader = load_start(settings, model.name, dropout=model.dropout)
    if model.length > (most := longest_window(reader.model.config.to_dict())):
        remedy = "Take shorter rows, or an encoder with more positions."
        raise UserError("model.length", f"is {model.length}, and {model.name} reads {most} tokens at most", remedy)
    try:
        Lexicon(reader.tokenizer)
    except UserError as error:
        remedy = "Only encoders of `destila pretrain` can be gone on from."
        raise UserError("model.name", f"the tokenizer of {model.name} {error.problem}", remedy) from error
    return grown(reader, model, seed=settings.training.seed)


def _new(settings: PretrainSettings, store: TokenStore) -> Any:
    """A new encoder, random or one that matches words and places."""
    model, seed = settings.model, settings.training.seed
    student = random_model(
        model.shape,
        architecture="roberta",
        vocabulary_size=store.tokenizer.get_vocab_size(),
        pad_id=pad_id(store.tokenizer, {}),
        longest=model.positions or model.length,
        dropout=model.dropout,
        seed=seed,
    )
    if model.initial == "matching":
        width = model.shape.hidden - position_width(model.shape.hidden)
        vectors = _stored_vectors(store, width=width, passes=model.vector_passes, seed=seed)
        start_matching(student, vectors, seed=seed)
    return student


def _pretraining_task(
    settings: PretrainSettings, student: Any, store: TokenStore, batches: Prefetched[Rows], apart: RowMaker
) -> Task[Rows]:
    """The losses of an encoder, and how it is judged and saved."""
    length, seed = settings.model.length, settings.training.seed
    loss_fn = PretrainingLoss(student.config, masking=settings.masking.weight, cloze=settings.cloze.weight, seed=seed)
    judged = apart.rows(0, settings.dev_rows) if settings.dev_rows else None

    def evaluate(student: Any) -> dict[str, float]:
        return held_out_scores(
            loss_fn, student, cast(Rows, judged), batch_size=settings.training.micro_batch_size or 32
        )

    def save(student: Any, directory: Path, scores: Mapping[str, Any]) -> None:
        metadata = {
            "window": {"length": length, "stride": length // 3, "max_answer_tokens": 30},
            "no_answer_threshold": None,
            "dev": dict(scores),
            "source": {
                "command": "pretrain",
                "model": settings.model.name or "random",
                "text": sorted(store.sources),
                "tokens": store.counts["tokens"],
            },
            "version": destila_version(),
        }
        save_reader(student, store.tokenizer, metadata, directory)

    return Task(
        student=student,
        loss_fn=loss_fn,
        batches=batches,
        collate=lambda rows, device: to_tensors(cast(Rows, rows), device),
        save=save,
        evaluate=evaluate if judged is not None else None,
        criterion="score",
        tokens_per_row=length,
        flops_per_token=flops_per_token(student.config, length=length, places=place_count(length, settings.masking)),
    )
