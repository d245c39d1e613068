"""`destila distill`: a teacher's answers, hidden states and attention become a small student's."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from destila.commands.fitting import fit, load_training_data, report, training_windows
from destila.commands.stages import stages_to_do
from destila.distillation import DistillationLoss
from destila.errors import UserError
from destila.models import LoadedModel, build_student, layer_map, load_reader
from destila.pairing import paired
from destila.pruning import born_from
from destila.records import Example
from destila.settings import DistillSettings, StudentSettings
from destila.sources import load_examples
from destila.tasks import TrainingResult
from destila.teacher_cache import cached_logits
from destila.training import device_of, main_process_first
from destila.trimming import trim_embeddings, trim_tokenizer


def run(settings: DistillSettings) -> TrainingResult:
    """Distill as the settings say, in one or several stages; the student lies in `settings.output` afterwards."""
    if not settings.teacher.name:
        remedy = "Give a fine-tuned reader; also without distillation, for its tokenizer and configuration."
        raise UserError("teacher.name", "is empty", remedy)
    *earlier, last = stages_to_do(settings)
    for stage in earlier:
        distill(stage)
    return distill(last)


def distill(settings: DistillSettings) -> TrainingResult:
    """One stage."""
    weights, seed = settings.loss, settings.training.seed
    taught = bool(weights.soft or weights.hidden or weights.attention or weights.relations)
    train_examples, dev_examples = load_training_data(settings, unlabelled=taught)
    if taught:
        train_examples += paired(train_examples, paragraphs=settings.teacher.other_paragraphs, seed=seed)
    teacher, *others = load_teachers(settings)
    if settings.student.vocabulary:
        teacher, *others = trimmed([teacher, *others], settings, train_examples)
    earlier = earlier_student(settings.student, teacher) if settings.student.name else None
    mapping = layer_map(
        settings.loss.layer_map,
        teacher_layers=teacher.model.config.num_hidden_layers,
        student_layers=earlier.config.num_hidden_layers if earlier else settings.student.shape.layers,
    )
    windows = training_windows(teacher, settings, train_examples)
    student = earlier or build_student(teacher, settings.student, mapping=mapping, seed=seed)
    loss_fn = DistillationLoss(settings.loss, teacher=teacher.model, student=student, mapping=mapping, seed=seed)
    if others and not loss_fn.needs_logits_alone:
        remedy = "Set loss.hidden, loss.attention and loss.relations to 0, and loss.soft above 0."
        raise UserError("teacher.others", "can be averaged in a loss of logits alone", remedy)
    cache, extras = Path(settings.teacher.cache), {}
    teachers = [reader.model.to(device_of(settings.training)) for reader in (teacher, *others)]
    with main_process_first(settings.training):
        if settings.student.initial == "teacher" and not earlier:
            born_from(student, teacher.model, mapping=mapping, windows=windows, directory=cache)
        if loss_fn.needs_logits_alone:
            extras["prepare"] = cached_logits(teachers, windows, directory=cache).add_to
    if settings.training.precision == "bf16":
        # It is frozen: half the memory, and its weights need not be cast at every step.
        teacher.model.to(torch.bfloat16)
    result = fit(
        LoadedModel(model=student, tokenizer=teacher.tokenizer, metadata={}, name="student"),
        loss_fn,
        settings=settings,
        windows=windows,
        train_examples=train_examples,
        dev_examples=dev_examples,
        source={"command": "distill", "teacher": settings.teacher.name, "data": settings.data.train},
        **extras,
    )
    report(settings, result)
    return result


def earlier_student(settings: StudentSettings, teacher: LoadedModel) -> Any:
    """The model of an earlier student, which reads the teacher's tokens."""
    student = load_reader(settings.name, dropout=settings.dropout)
    if student.tokenizer.get_vocab() != teacher.tokenizer.get_vocab():
        problem = f"{settings.name} has another tokenizer than {teacher.name}"
        raise UserError("student.name", problem, "Take the teacher that it was distilled from.")
    return student.model


def load_teachers(settings: DistillSettings) -> list[LoadedModel]:
    """The teacher and those that are averaged with it, all of one tokenizer."""
    teacher = load_reader(settings.teacher.name, revision=settings.teacher.revision, dropout=0.0)
    others = [load_reader(name, dropout=0.0) for name in settings.teacher.others]
    for other in others:
        if other.tokenizer.get_vocab() != teacher.tokenizer.get_vocab():
            problem = f"{other.name} has another tokenizer than {teacher.name}"
            raise UserError("teacher.others", problem, "Leave it out.")
    return [teacher, *others]


def trimmed(
    teachers: Sequence[LoadedModel], settings: DistillSettings, train_examples: Sequence[Example]
) -> list[LoadedModel]:
    """The teachers with the tokens alone that the training data and `student.vocabulary` use."""
    examples = [*train_examples, *load_examples(settings.student.vocabulary, repair=settings.data.repair)]
    texts = [text for example in examples for text in (example.question, example.context)]
    smaller = trim_tokenizer(teachers[0].tokenizer, texts)
    before, after = teachers[0].tokenizer.get_vocab_size(), len(smaller.old_ids)
    print(f"the texts use {after:,} of {before:,} tokens; the others go", file=sys.stderr)
    for teacher in teachers:
        trim_embeddings(teacher.model, smaller.old_ids)
    return [dataclasses.replace(teacher, tokenizer=smaller.tokenizer) for teacher in teachers]
