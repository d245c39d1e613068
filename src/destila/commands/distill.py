"""`destila distill`: a teacher's answers, hidden states and attention become a small student's."""

from pathlib import Path

from destila.commands.fitting import fit, load_training_data, report, training_windows
from destila.distillation import DistillationLoss
from destila.errors import UserError
from destila.models import LoadedModel, build_student, layer_map, load_reader
from destila.pruning import born_from
from destila.settings import DistillSettings
from destila.tasks import TrainingResult


def run(settings: DistillSettings) -> TrainingResult:
    """Distill as the settings say; the student lies in `settings.output` afterwards."""
    if not settings.teacher.name:
        remedy = "Give a fine-tuned reader; also without distillation, for its tokenizer and configuration."
        raise UserError("teacher.name", "is empty", remedy)
    train_examples, dev_examples = load_training_data(settings)
    teacher = load_reader(settings.teacher.name, revision=settings.teacher.revision, dropout=0.0)
    seed = settings.training.seed
    mapping = layer_map(
        settings.loss.layer_map,
        teacher_layers=teacher.model.config.num_hidden_layers,
        student_layers=settings.student.shape.layers,
    )
    windows = training_windows(teacher, settings, train_examples)
    student = build_student(teacher, settings.student, mapping=mapping, seed=seed)
    if settings.student.initial == "teacher":
        cache = Path(settings.teacher.cache)
        born_from(student, teacher.model, mapping=mapping, windows=windows, directory=cache)
    loss_fn = DistillationLoss(settings.loss, teacher=teacher.model, student=student, mapping=mapping, seed=seed)
    result = fit(
        LoadedModel(model=student, tokenizer=teacher.tokenizer, metadata={}, name="student"),
        loss_fn,
        settings=settings,
        windows=windows,
        train_examples=train_examples,
        dev_examples=dev_examples,
        source={"command": "distill", "teacher": settings.teacher.name, "data": settings.data.train},
    )
    report(settings, result)
    return result
