"""A folder of documents and a reader become a reader that knows the documents, or a reason why not.

Mental model: four stages, each of which leaves its result in the run's directory and is not done again once it is
there: questions about the documents, the held-out ones among them set apart, distillation on the others (`distill`, as
it is), and the gate. The gate compares the reader before and after on the held-out questions and on general ones, on
the same questions each: it must have gained on the former beyond chance, and have lost little on the latter.

    run/
      adapt.json                   settings, status (running, refused, finished), what the gate measured
      questions.json               all questions that were made; train.json, held-out.json: which are used how
      student/                     the run of the distillation, and cache/ with what the teacher said
      config.json, ...             the adapted reader, once it has passed, with the records of its training

Invariant: no reader lies in the run's directory itself unless it has passed the gate.
"""

import dataclasses
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from destila.config import AdaptSettings
from destila.config.loader import settings_of
from destila.core.errors import UserError
from destila.core.formatting import with_interval
from destila.core.metadata import ModelMetadata
from destila.core.model_files import torch_weights
from destila.core.outputs import check_directory
from destila.core.progress import Listener, listening
from destila.core.records import Example
from destila.core.runs import METRICS_FILE, RUN_FILE, SETTINGS_FILE, atomic_file, read_json, write_json
from destila.data.generation.drafts import QuestionMaker
from destila.data.sources import load_examples, load_gold, spread
from destila.data.squad import read, save
from destila.evaluation import bootstrap, metrics
from destila.evaluation.predictions import answer_texts
from destila.inference.reader import Reader
from destila.models.hub import locate
from destila.training.checkpoints import publish_model
from destila.training.distill import distill
from destila.training.generation import make_questions
from destila.training.holding_out import hold_out
from destila.training.question_filters import same_words
from destila.training.task import TrainingResult

LOG = logging.getLogger(__name__)
RECORD = "adapt.json"
CALL = ("output", "overwrite", "json", "documents", "cache")  # how a run is called rather than what it is
CALL_OF_GENERATOR = ("url", "parallel", "attempts", "wait", "timeout", "price_in", "price_out")
CLONE = Path(__file__).parents[3]  # where models/ and data/ lie beside the source
FEWEST = 10  # held-out questions with an answer: fewer say nothing
CHECKPOINT_STEPS = 25
NORMALIZER = "mlqa-es"
# The answers alone, so that the teacher reads each window once; as configs/reader/quickstart.toml.
LOSS = {"task": 0.3, "soft": 0.7, "hidden": 0.0, "attention": 0.0, "soft_positions": "context"}

MORE_CERTAINTY = "The gain may be chance: judge on more questions, best on reviewed ones (--test), or more documents."
MORE_GAIN = "Let a language model ask (--generator.url), train longer (--seconds), or take a better --teacher."
LESS_LOSS = "Train on general questions, too (--data sqac/train), or less (--learning-rate, --seconds)."


@dataclasses.dataclass(frozen=True)
class Judged:
    """A reader before and after, on the same questions.

    Attributes:
        n: questions.
        before, after: F1 in percent, by the rules of MLQA for Spanish.
        difference, ci: after less before in points, and its 95 % interval (paired, by document).
        p: two-sided p-value of no difference.
    """

    n: int
    before: float
    after: float
    difference: float
    ci: tuple[float, float]
    p: float

    def __str__(self) -> str:
        gained = with_interval(self.difference, self.ci, sign="+")
        return f"F1 {self.before:.2f} -> {self.after:.2f}, {gained}, n = {self.n:,}"


@dataclasses.dataclass(frozen=True)
class Adapted:
    """How an adaptation ended.

    Attributes:
        path: directory of the run; of the adapted reader, if it was accepted.
        accepted: whether it passed the gate.
        questions: about the documents that it was trained on.
        documents, general: what the gate measured; None where training was interrupted.
        advice: what to try where it was refused.
        training: how the distillation ended; if it was interrupted, the same call goes on.
    """

    path: Path
    accepted: bool
    questions: int
    documents: Judged | None
    general: Judged | None
    advice: tuple[str, ...]
    training: TrainingResult


def adapt(
    folder: str | Path,
    output: str | Path | None = None,
    *,
    settings: AdaptSettings | Mapping[str, Any] | None = None,
    maker: QuestionMaker | None = None,
    progress: Listener | None = None,
    **changes: Any,
) -> Adapted:
    """Make a reader better at the documents of a folder, and write it only if it has become that.

    >>> import destila
    >>> found = destila.adapt("my-documents", "runs/adapted", model="runs/student", teacher="runs/teacher", steps=2)
    >>> found.accepted, found.documents.n > 0
    (False, True)

    Args:
        settings: an `AdaptSettings`, or None for the defaults.
        maker: makes the questions instead of what `generator` says.
        progress: is told of all progress; None: nobody is.
        changes: settings that differ, such as test="reviewed.json" or generator={"url": ..., "model": ...}.

    Returns:
        How it ended. The same call goes on after a kill, at the stage and step where it was.

    Raises:
        UserError: a mistake in settings, documents, models or data, or `output` holds something else.
    """
    given = {"folder": str(folder), **({"output": str(output)} if output else {})}
    for name in ("test", "data", "dev"):
        if isinstance(changes.get(name), str | Path):
            changes[name] = [str(changes[name])]
    chosen = settings_of(AdaptSettings, settings, {**changes, **given})
    check_directory("--output", chosen.output)
    chosen = _with_defaults(chosen)
    with listening(progress):
        general = load_gold(chosen.dev)
        reviewed = load_gold(chosen.test) if chosen.test else []
        run = Path(chosen.output)
        _open(run, chosen)
        train, held = _questions(run, chosen, reviewed, maker)
        LOG.info(f"3 of 4: training on {len(train):,} questions")
        result = _train(run, chosen, len(train))
        if not result.finished:
            return Adapted(run, False, len(train), None, None, (), result)
        LOG.info(f"4 of 4: judging on {len(held):,} questions about the documents and on general ones")
        return _gate(run, chosen, held, spread(general, chosen.max_dev), len(train), result)


# ---------------------------------------------------------------------------------------------------- before any work
def _with_defaults(settings: AdaptSettings) -> AdaptSettings:
    """The settings with the models and general questions that a clone holds, where none are named.

    Raises:
        UserError: there are none, or a reader is to teach itself.
    """
    model = settings.model or _in_clone("models/reader")
    teacher = settings.teacher or _in_clone("models/teacher")
    dev = settings.dev or [name for name in [_in_clone("data/nativa/dev.json")] if name]
    problems = [] if model else ["model: names no reader, and models/reader is not here"]
    problems += [] if teacher else ["teacher: names no reader, and models/teacher is not here"]
    problems += [] if dev else ["dev: names no general questions, and data/nativa/dev.json is not here"]
    if problems:
        remedy = "Name them: --model and --teacher directories or hub ids, --dev a file or a named source (sqac/dev)."
        raise UserError.from_problems("destila adapt", problems, remedy)
    places = [locate(name).directory for name in (model, teacher)]
    if not torch_weights(places[0]):
        raise UserError(model, "has no weights for torch", "Give the run that it was exported from as --model.")
    if places[0].resolve() == places[1].resolve():
        problem = f"is {teacher}, the reader that is to learn: it has nothing to teach itself"
        raise UserError("teacher", problem, "Give a larger reader as --teacher.")
    return dataclasses.replace(settings, model=model, teacher=teacher, dev=dev)


def _in_clone(name: str) -> str:
    """A path of the repository, here or beside the source; empty where there is none."""
    return next((str(path) for path in (Path(name), CLONE / name) if path.exists()), "")


def _open(run: Path, settings: AdaptSettings) -> None:
    """Begin the run, or go on with it.

    Raises:
        UserError: it has ended, was begun with other settings, or is something else.
    """
    if settings.overwrite and (run / RECORD).exists():
        shutil.rmtree(run)
    told = dataclasses.asdict(settings)
    told["generator"] = {name: value for name, value in told["generator"].items() if name not in CALL_OF_GENERATOR}
    told = {name: value for name, value in told.items() if name not in CALL}
    if not (run / RECORD).exists():
        if run.is_dir() and any(run.iterdir()):
            raise UserError(str(run), "is not empty and holds no adaptation", "Choose another --output.")
        write_json(run / RECORD, {"status": "running", "settings": told})
        return
    record = read_json(run / RECORD)
    if record["status"] != "running":
        remedy = "Replace it with --overwrite, or choose another --output."
        raise UserError(str(run), f"holds an adaptation already ({record['status']})", remedy)
    begun = record["settings"]
    if different := [name for name in told if begun.get(name) != told[name]]:
        problems = [f"{name}: {told[name]!r} is given, and the run has {begun.get(name)!r}" for name in different]
        remedy = "Go on with what it was begun with, begin anew with --overwrite, or choose another --output."
        raise UserError.from_problems(str(run), problems, remedy)


# ---------------------------------------------------------------------------------------------------- questions
def _questions(
    run: Path, settings: AdaptSettings, reviewed: Sequence[Example], maker: QuestionMaker | None
) -> tuple[list[Example], list[Example]]:
    """The questions to train on, and those to judge by: the first two stages.

    Raises:
        UserError: they are too few.
    """
    made, train, held = (run / name for name in ("questions.json", "train.json", "held-out.json"))
    if not made.exists():
        LOG.info("1 of 4: making questions about the documents")
        make_questions(settings, made, maker=maker)
    if not train.exists():  # it is written last
        LOG.info("2 of 4: setting questions apart to judge by")
        examples = read(made, repair=False)[0]
        if reviewed:
            known = {same_words(example.question) for example in reviewed}
            kept = [example for example in examples if same_words(example.question) not in known]
            apart = spread(reviewed, settings.max_dev)
        else:
            kept, apart = hold_out(examples)
        if not kept or sum(bool(example.answers) for example in apart) < FEWEST:
            problem = f"leaves {len(kept):,} questions to train on and {len(apart):,} to judge by"
            raise UserError(settings.folder, problem, "Give more documents, or reviewed questions (--test).")
        save(apart, held)
        save(spread(kept, settings.max_questions), train)
    return read(train, repair=False)[0], load_gold([str(held)])


# ---------------------------------------------------------------------------------------------------- training
def _train(run: Path, settings: AdaptSettings, count: int) -> TrainingResult:
    """Distill the reader on the questions, or go on with that."""
    student = run / "student"
    begun = (student / RUN_FILE).exists()
    if student.exists() and not begun:  # killed before there was anything to go on with
        shutil.rmtree(student)
    data: dict[str, Any] = {"train": [str(run / "train.json"), *settings.data]}
    if settings.data:
        share = min(1.0, settings.mix * count / len(load_examples(settings.data)))
        data["weights"] = dict.fromkeys(settings.data, share)
    training = {
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "precision": settings.precision,
        "seed": settings.seed,
        "seconds": 0.0 if settings.steps else settings.seconds,
        "steps": settings.steps,
        "keep_best": False,
        "checkpoint_every": CHECKPOINT_STEPS,
    }
    window = Reader.load(settings.model, backend="torch").window
    return distill(
        {
            "teacher": {"name": settings.teacher, "cache": str(run / "cache")},
            "student": {"name": settings.model, "dropout": 0.0},
            "data": data,
            "window": dataclasses.asdict(window),
            "loss": LOSS,
            "training": training,
            "output": str(student),
            "resume": begun,
        }
    )


# ---------------------------------------------------------------------------------------------------- the gate
def _gate(
    run: Path,
    settings: AdaptSettings,
    held: Sequence[Example],
    general: Sequence[Example],
    count: int,
    result: TrainingResult,
) -> Adapted:
    """Compare the reader before and after, and publish it if it has become better."""
    student = run / "student"
    before = Reader.load(settings.model, backend="torch")
    # When it refuses stays as it was: nothing of what was trained on says that it should change.
    ModelMetadata.read(student).changed(no_answer_threshold=before.no_answer_threshold).write(student)
    readers = [before, Reader.load(student, backend="torch")]
    documents, others = (_judged(readers, examples) for examples in (held, general))
    advice = _advice(documents, others, settings.max_loss)
    if not advice:
        for name in (RUN_FILE, SETTINGS_FILE, METRICS_FILE):
            with atomic_file(run / name) as temporary:
                shutil.copyfile(student / name, temporary)
        publish_model(student, run)
    record = read_json(run / RECORD) | {"status": "refused" if advice else "finished"}
    record["gate"] = {"documents": dataclasses.asdict(documents), "general": dataclasses.asdict(others)}
    write_json(run / RECORD, record)
    return Adapted(run, not advice, count, documents, others, advice, result)


def _advice(documents: Judged, general: Judged, max_loss: float) -> tuple[str, ...]:
    """What to try; nothing where the reader has passed."""
    advice = []
    if documents.ci[0] <= 0:
        advice.append(MORE_CERTAINTY if documents.difference > 0 else MORE_GAIN)
    if -general.difference > max_loss:
        advice.append(LESS_LOSS)
    return tuple(advice)


def _judged(readers: Sequence[Reader], examples: Sequence[Example]) -> Judged:
    before, after = (
        metrics.score(examples, answer_texts(reader.predict(examples)), normalizer=NORMALIZER) for reader in readers
    )
    test = bootstrap.paired_test(before.f1, after.f1, before.clusters, seed=1)
    first, second = (100 * float(scores.f1.mean()) for scores in (before, after))
    return Judged(len(before.ids), first, second, 100 * test.difference, test.interval.scaled(100), test.p)
