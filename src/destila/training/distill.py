"""Distillation: a teacher's answers, hidden states and attention become a small student's.

Mental model: settings -> teachers and a student -> rows, with what the teachers said of them -> the training loop, once
for each stage. This module prints nothing and writes nothing but runs and caches.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from destila.config import DistillSettings
from destila.config.loader import settings_of
from destila.config.resuming import with_run
from destila.core.errors import UserError
from destila.core.metadata import ModelMetadata
from destila.core.progress import Listener, listening
from destila.core.records import Example
from destila.data.corpus import TokenStore
from destila.data.negatives import paired
from destila.data.sources import load_examples
from destila.data.synthetic.examples import text_examples, text_store, windows_by_step
from destila.data.tokenizers import load_tokenizer, pad_id
from destila.data.windows import Window, WindowBuilder, collate, longest_window
from destila.models.files import LoadedModel, build_student, layer_map, load_reader
from destila.models.importance import WINDOWS
from destila.models.pruning import born_from
from destila.models.vocabulary_trimming import Trimmed, trim_embeddings, trim_tokenizer
from destila.training.data import INPUTS_SEED, load_training_data, window_batches
from destila.training.distillation_loss import DistillationLoss, asks_answers, logits_alone, looks_inside
from destila.training.losses import to_tensors
from destila.training.own_loss import LossFunction, OwnLoss, load_loss, name_of
from destila.training.prefetch import Prefetched
from destila.training.processes import device_of, main_process_first
from destila.training.recipe import (
    Prepare,
    commits,
    fit,
    load_start,
    random_start,
    training_windows,
    unchanged,
    window_builder,
    worker_count,
)
from destila.training.stages import run_stages
from destila.training.task import Batches, TrainingResult
from destila.training.teacher_cache import cached_logits
from destila.training.token_alignment import Translation

LOG = logging.getLogger(__name__)


def distill(
    settings: DistillSettings | Mapping[str, Any] | str | Path | None = None,
    *,
    loss: LossFunction | str | Mapping[str, Any] | None = None,
    progress: Listener | None = None,
    **changes: Any,
) -> TrainingResult:
    """Distill a teacher into a student, in one or several stages.

    >>> import destila
    >>> result = destila.distill("configs/tiny/distill.toml", teacher="runs/teacher", output="runs/student")
    >>> result.finished, result.path.name
    (True, 'student')

    Args:
        settings: a `DistillSettings`, a TOML file, or None for the defaults.
        loss: what to minimize instead of the paper's objective: a function (student, batch) -> `Loss(total, parts)`
            or its name, "package.module:function". The batch brings the teachers' logits. Or changes of [loss].
        progress: is told of all progress; None: nobody is.
        changes: settings that differ, a table as a mapping; a text for a table is its name: teacher="models/teacher".

    Returns:
        How training ended. Where it was interrupted, all is saved, and `resume="runs/student"` goes on, under the
        run's own settings. A finished run goes on if a larger budget is given.

    Raises:
        UserError: a mistake in settings, data, models or the loss; nothing is left behind then.
    """
    function = loss if callable(loss) else None
    if loss is not None:
        changes["loss"] = loss if function is None else {"function": name_of(function)}
    resolved = settings_of(DistillSettings, settings, changes, complete=with_run)
    if not resolved.teacher.name:
        remedy = "Give a fine-tuned reader; also without distillation, for its tokenizer and configuration."
        raise UserError("teacher.name", "is empty", remedy)
    with listening(progress):
        return run_stages(resolved, lambda stage: _one_stage(stage, function), check=_check_stage)


def _check_stage(settings: DistillSettings) -> None:
    """Refuse, before any stage has begun, what can be seen in the settings."""
    text = settings.unlabeled
    if (text.text_only or text.questions) and not text.files:
        raise UserError("unlabeled.files", "names no text, and a stage wants some", "Give files or directories.")
    if text.text_only and settings.loss.function:
        problem = "has no stored answers of the teacher, which a loss of your own is given"
        raise UserError("unlabeled.text_only", problem, "Set it to false, or leave loss.function empty.")


def _one_stage(settings: DistillSettings, function: LossFunction | None) -> TrainingResult:
    if settings.loss.function and function is None:
        function = load_loss(settings.loss.function)
    own = OwnLoss(function, name=settings.loss.function) if function is not None else None
    alone = settings.unlabeled.text_only
    data = load_training_data(settings, unlabeled=_is_taught(settings), optional=alone)
    teachers = _load_teachers(settings, data.train)
    student, mapping = _starting_student(settings, teachers[0])
    source = {"command": "distill", "teacher": settings.teacher.name, "data": settings.data.train}
    source |= commits(*teachers, student)
    stored = own is not None or (logits_alone(settings.loss) and not alone)
    _check_tokens(settings, teachers, student, stored=stored)
    loss_fn = own or DistillationLoss(
        settings.loss,
        teacher=None if stored else teachers[0].model,
        student=student.model,
        mapping=mapping,
        seed=settings.training.seed,
        stored=stored,
    )
    with ExitStack() as stack:
        if alone:
            store = _student_text(settings, student)
            batches: Batches[Window] = stack.enter_context(_text_batches(settings, store))
            sample = windows_by_step(store.path, settings.unlabeled, settings.window.length, INPUTS_SEED, WINDOWS)
            examples, windows = data.train, sample(0)
        else:
            examples = [*data.train, *_further_examples(settings, student, data.train)]
            windows = training_windows(student, settings, examples)
            batches = window_batches(windows, settings, data=data, examples=examples)
        prepare = _ask_teachers(settings, teachers, student, examples, windows, mapping=mapping, stored=stored)
        del teachers  # those whose answers are stored need no memory during training
        if settings.loss.scale == "start" and isinstance(loss_fn, DistillationLoss):
            _calibrate(loss_fn, student, batches, prepare, settings)
        return fit(
            dataclasses.replace(student, metadata=ModelMetadata(), name="student"),
            loss_fn,
            settings=settings,
            batches=batches,
            data=data,
            source=source,
            prepare=prepare,
        )


def _is_taught(settings: DistillSettings) -> bool:
    """Whether rows without gold answers teach anything."""
    return bool(settings.loss.soft or settings.loss.function) or looks_inside(settings.loss)


# ---------------------------------------------------------------------------------------------------- models
def _load_teachers(settings: DistillSettings, train_examples: Sequence[Example]) -> list[LoadedModel]:
    """The teacher and those that are averaged with it, with a smaller vocabulary if the settings ask for it."""
    options: Any = {"dropout": 0.0, "random_head": not (asks_answers(settings.loss) or settings.loss.function)}
    teacher = load_start(settings, settings.teacher.name, revision=settings.teacher.revision, **options)
    teachers = [teacher, *(load_start(settings, name, **options) for name in settings.teacher.ensemble)]
    return _trimmed(teachers, settings, train_examples) if settings.student.vocabulary else teachers


def _trimmed(
    teachers: Sequence[LoadedModel], settings: DistillSettings, train_examples: Sequence[Example]
) -> list[LoadedModel]:
    """The teachers with the tokens alone that the training data and `student.vocabulary` use."""
    if settings.student.tokenizer:
        remedy = "Leave one of the two empty."
        raise UserError("student.vocabulary", "trims the teacher's tokens, and the student has its own", remedy)
    vocabulary = teachers[0].tokenizer.get_vocab()
    if any(other.tokenizer.get_vocab() != vocabulary for other in teachers):
        raise UserError("student.vocabulary", "trims teachers of one tokenizer", "Leave the others out, or this.")
    if settings.student.name:  # the tokens that an earlier stage has kept
        kept = load_reader(settings.student.name, random_head=True).tokenizer
        where, remedy = f"student.name {settings.student.name}", "Leave student.vocabulary empty."
        smaller = _among_teachers(kept, teachers[0], where=where, remedy=remedy)
    else:
        examples = [*train_examples, *load_examples(settings.student.vocabulary, repair=settings.data.repair)]
        texts = [text for example in examples for text in (example.question, example.context)]
        padding = {int(teacher.model.config.pad_token_id) for teacher in teachers}
        smaller = trim_tokenizer(teachers[0].tokenizer, texts, ids=padding)
    LOG.info(f"the texts use {len(smaller.old_ids):,} of {len(vocabulary):,} tokens; the others go")
    for teacher in teachers:
        trim_embeddings(teacher.model, smaller)
    return [dataclasses.replace(teacher, tokenizer=smaller.tokenizer) for teacher in teachers]


def _starting_student(settings: DistillSettings, teacher: LoadedModel) -> tuple[LoadedModel, tuple[int, ...]]:
    """The student, and the teacher layers that it learns from; none where the two read other tokens."""
    own, student, seed = settings.student, None, settings.training.seed
    if own.name:
        student = load_reader(own.name, dropout=own.dropout, random_head=True)
    elif own.tokenizer:
        student = _foreign_student(settings, teacher)
    if student and student.tokenizer.get_vocab() != teacher.tokenizer.get_vocab():
        return student, ()
    layers = student.model.config.num_hidden_layers if own.name and student else own.shape.layers
    mapping = _mapped_layers(settings, teacher, student_layers=layers)
    if not student:
        model = build_student(teacher, own, mapping=mapping, seed=seed)
        student = LoadedModel(model, teacher.tokenizer, metadata=ModelMetadata(), name=teacher.name)
    return student, mapping


def _mapped_layers(settings: DistillSettings, teacher: LoadedModel, *, student_layers: int) -> tuple[int, ...]:
    """The teacher layer of each student layer, as the settings say."""
    teacher_layers = teacher.model.config.num_hidden_layers
    return layer_map(settings.loss.layer_map, teacher_layers=teacher_layers, student_layers=student_layers)


def _foreign_student(settings: DistillSettings, teacher: LoadedModel) -> LoadedModel:
    """A student with a tokenizer of its own: random, or of the teacher's layers where its tokens are some of theirs."""
    own, tokenizer = settings.student, load_tokenizer(settings.student.tokenizer)
    if own.initial == "layers":
        remedy = 'Take student.initial = "random", or a tokenizer that destila trim made of the teacher\'s.'
        smaller = _among_teachers(tokenizer, teacher, where=f"student.tokenizer {own.tokenizer}", remedy=remedy)
        mapping = _mapped_layers(settings, teacher, student_layers=own.shape.layers)
        model = build_student(teacher, own, mapping=mapping, seed=settings.training.seed)
        trim_embeddings(model, smaller)
        return LoadedModel(model, tokenizer, metadata=ModelMetadata(), name=own.tokenizer)
    if own.initial != "random":
        problem = f"is {own.initial!r}, and the student reads other tokens than the teacher"
        raise UserError("student.initial", problem, 'Take "random" or "layers", or leave student.tokenizer empty.')
    return random_start(own, tokenizer, settings, name=own.tokenizer)


def _among_teachers(tokenizer: Tokenizer, teacher: LoadedModel, *, where: str, remedy: str) -> Trimmed:
    """A tokenizer whose tokens are some of the teacher's, with the teacher's ids of them."""
    vocabulary = teacher.tokenizer.get_vocab()
    tokens = [str(tokenizer.id_to_token(number)) for number in range(tokenizer.get_vocab_size())]
    if strange := [token for token in tokens if token not in vocabulary]:
        raise UserError(where, f"has {len(strange):,} tokens that {teacher.name} has not, first {strange[0]!r}", remedy)
    return Trimmed(tokenizer, [vocabulary[token] for token in tokens])


def _check_tokens(
    settings: DistillSettings, teachers: Sequence[LoadedModel], student: LoadedModel, *, stored: bool
) -> None:
    """Refuse what cannot be done with several teachers, or with teachers of other tokens than the student's."""
    if stored or not (looks_inside(settings.loss) or logits_alone(settings.loss)):
        return
    if len(teachers) > 1:
        remedy = "Set loss.hidden, loss.attention and loss.relations to 0, and loss.soft above 0."
        raise UserError("teacher.ensemble", "can be averaged in a loss of logits alone", remedy)
    if teachers[0].tokenizer.get_vocab() != student.tokenizer.get_vocab():
        problem = f"{teachers[0].name} has another tokenizer than {student.name}, so only its answers can be compared"
        remedy = (
            "Set loss.hidden, loss.attention, loss.relations to 0, loss.soft above 0, unlabeled.text_only to false."
        )
        raise UserError("teacher.name", problem, remedy)


# ---------------------------------------------------------------------------------------------------- rows
def _further_examples(
    settings: DistillSettings, student: LoadedModel, train_examples: Sequence[Example]
) -> list[Example]:
    """Questions that the teacher alone labels: those of the data before other paragraphs, and some made of raw text."""
    if not _is_taught(settings):
        return []
    examples = paired(train_examples, paragraphs=settings.teacher.other_paragraphs, seed=INPUTS_SEED)
    if settings.unlabeled.questions:
        store, length = _student_text(settings, student), settings.window.length
        examples += text_examples(store, settings.unlabeled, length=length, seed=INPUTS_SEED)
    return examples


def _student_text(settings: DistillSettings, student: LoadedModel) -> TokenStore:
    """The raw text in the student's tokens."""
    window_builder(student, settings)  # refuses windows that are too long
    with main_process_first(settings.training):
        return text_store(settings.unlabeled, student.tokenizer, reader=student.name)


def _text_batches(settings: DistillSettings, store: TokenStore) -> Prefetched[list[Window]]:
    """Rows of raw text without end."""
    text, training, length = settings.unlabeled, settings.training, settings.window.length
    return Prefetched(
        windows_by_step,
        (store.path, text, length, training.seed, training.batch_size),
        steps_per_epoch=max(1, round(store.counts["tokens"] / (training.batch_size * length))),
        workers=worker_count(text.workers, training),
    )


# ---------------------------------------------------------------------------------------------------- before training
def _ask_teachers(
    settings: DistillSettings,
    teachers: Sequence[LoadedModel],
    student: LoadedModel,
    examples: Sequence[Example],
    windows: Sequence[Window],
    *,
    mapping: Sequence[int],
    stored: bool,
) -> Prepare:
    """What is computed once from the teachers: the student's first weights, and the answers that its batches bring."""
    cache, precision, device = Path(settings.teacher.cache), settings.training.precision, device_of(settings.training)
    prepare: Prepare = unchanged
    models = [teacher.model.to(device) for teacher in teachers]
    with main_process_first(settings.training):
        if settings.student.initial == "teacher" and not settings.student.name:
            born_from(student.model, models[0], mapping=mapping, windows=windows, directory=cache)
        if stored:
            translations = [_translation(settings, student, teacher, examples, windows) for teacher in teachers]
            cached = cached_logits(models, windows, directory=cache, translations=translations, precision=precision)
            prepare = cached.add_to
    if precision == "bf16":
        # They are frozen: half the memory, and their weights need not be cast at every step.
        models[0].to(torch.bfloat16)
    return prepare


def _translation(
    settings: DistillSettings,
    student: LoadedModel,
    teacher: LoadedModel,
    examples: Sequence[Example],
    windows: Sequence[Window],
) -> Translation | None:
    """How the tokens of a teacher lie on those of the windows; None where they are the same."""
    if teacher.tokenizer.get_vocab() == student.tokenizer.get_vocab():
        return None
    config = teacher.model.config.to_dict()
    theirs = WindowBuilder(
        teacher.tokenizer,
        length=longest_window(config),
        stride=settings.window.stride,
        pad_id=pad_id(teacher.tokenizer, config),
    )
    return Translation(window_builder(student, settings), theirs, examples, windows)


def _calibrate(
    loss_fn: DistillationLoss,
    student: LoadedModel,
    batches: Batches[Window],
    prepare: Prepare,
    settings: DistillSettings,
) -> None:
    """Measure the terms on the rows of the first step, in the parts that go through the network at once."""
    device, rows, pad = device_of(settings.training), batches.at(0), int(student.model.config.pad_token_id)
    size = settings.training.micro_batch_size or len(rows)
    pieces = [rows[start : start + size] for start in range(0, len(rows), size)]
    model: Any = student.model.to(device).eval()
    tensors = ((prepare(to_tensors(collate(piece, pad_id=pad), device), piece), len(piece)) for piece in pieces)
    loss_fn.to(device).calibrate(model, tensors)
