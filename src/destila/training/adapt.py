"""A folder of documents and a reader become a reader that knows the documents, or a reason why not.

Mental model: four stages, each of which leaves its result in the run's directory and is not done again once it is
there: questions about the documents, the held-out ones among them set apart, distillation on the others (`distill`, as
it is), and the gate (`destila.training.gate`).

    run/
      adapt.json                   settings, status (running, refused, finished), what the gate measured
      questions.json               all that were made; train.json, choosing.json, held-out.json: which are used how
      student/                     the run of the distillation, and cache/ with what the teacher said
      adapted-SHARE/               the mixture of old and new weights that the gate judged
      config.json, ...             the same, once it has passed, with the records of its training

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
from destila.core.model_files import torch_weights
from destila.core.outputs import check_directory
from destila.core.progress import Listener, listening
from destila.core.records import Example
from destila.core.runs import METRICS_FILE, RUN_FILE, SETTINGS_FILE, atomic_file, read_json, write_json
from destila.data.generation.drafts import QuestionMaker
from destila.data.sources import load_examples, load_gold, require_labeled, spread
from destila.data.squad import read, save
from destila.inference.reader import Reader
from destila.models.hub import locate
from destila.training.checkpoints import publish_model
from destila.training.distill import distill
from destila.training.gate import Judged, Verdict, judge
from destila.training.generation import make_questions
from destila.training.holding_out import hold_out
from destila.training.question_filters import same_words
from destila.training.task import TrainingResult

LOG = logging.getLogger(__name__)
RECORD, HELD_OUT = "adapt.json", "held-out.json"
CALL = ("output", "overwrite", "json", "documents", "cache")  # how a run is called rather than what it is
CALL_OF_GENERATOR = ("url", "parallel", "attempts", "wait", "timeout", "price_in", "price_out")
CLONE = Path(__file__).parents[3]  # where models/ and data/ lie beside the source
JUDGED, CHOSEN = 5, 8  # one question in so many is judged by; of the others, one in so many chooses the share
FEWEST = 10  # questions with an answer to judge by: fewer say nothing
CHECKPOINT_STEPS = 25
# The answers alone, so that the teacher reads each window once; as configs/reader/quickstart.toml.
LOSS = {"task": 0.3, "soft": 0.7, "hidden": 0.0, "attention": 0.0, "soft_positions": "context"}


@dataclasses.dataclass(frozen=True)
class Adapted:
    """How an adaptation ended.

    Attributes:
        path: directory of the run; of the adapted reader, if it was accepted.
        accepted: whether it passed the gate.
        questions: about the documents that it was trained on.
        training: how the distillation ended; if it was interrupted, the same call goes on, and there is no more here.
        documents, general: what the gate measured.
        share: of the new weights, which the gate chose; the others are the old reader's.
        advice: what to try where it was refused.
        before, after: the readers that were compared.
    """

    path: Path
    accepted: bool
    questions: int
    training: TrainingResult
    documents: Judged | None = None
    general: Judged | None = None
    share: float | None = None
    advice: tuple[str, ...] = ()
    before: str = ""
    after: Path | None = None


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
    >>> readers = {"model": "runs/student", "teacher": "runs/teacher"}
    >>> short = {"steps": 2, "max_dev": 20, "filters": {"agreement": 0.0}}  # to try it: two steps are no gain
    >>> found = destila.adapt("my-documents", "runs/adapted", **readers, **short)
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
        require_labeled(general, f"dev ({', '.join(chosen.dev)})")
        reviewed = _reviewed(chosen)
        run = Path(chosen.output)
        _open(run, chosen)
        try:
            train, choosing, held = _questions(run, chosen, reviewed, maker)
        except UserError:
            if [entry.name for entry in run.iterdir()] == [RECORD]:  # nothing to go on with
                shutil.rmtree(run)
            raise
        LOG.info(f"3 of 4: training on {len(train):,} questions")
        found = Adapted(run, False, len(train), _train(run, chosen, len(train)), before=chosen.model)
        if not found.training.finished:
            return found
        LOG.info(f"4 of 4: judging on {len(held):,} questions about the documents and on general ones")
        sets = {"choosing": choosing, "held": held, "general": spread(general, chosen.max_dev)}
        return _published(found, judge(chosen.model, found.training.path, **sets, max_loss=chosen.max_loss))


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
    # The bundled model would leave only such questions as it answers already: nothing to gain.
    return dataclasses.replace(settings, model=model, teacher=teacher, dev=dev, reader=settings.reader or teacher)


def _in_clone(name: str) -> str:
    """A path of the repository, here or beside the source; empty where there is none."""
    return next((str(path) for path in (Path(name), CLONE / name) if path.exists()), "")


def _reviewed(settings: AdaptSettings) -> list[Example]:
    """The reviewed questions to judge by, if there are any.

    Raises:
        UserError: they are too few.
    """
    found = spread(load_gold(settings.test), settings.max_dev) if settings.test else []
    if settings.test and (count := _answered(found)) < FEWEST:
        problem = f"{count} questions with an answer are too few to judge by"
        raise UserError("test", problem, f"Give {FEWEST} or more, or none.")
    return found


def _answered(examples: Sequence[Example]) -> int:
    return sum(bool(example.answers) for example in examples)


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
) -> tuple[list[Example], list[Example], list[Example]]:
    """The questions to train on, those to choose the share by, and those to judge by: the first two stages.

    Raises:
        UserError: they are too few.
    """
    made = run / "questions.json"
    train, choosing, held = run / "train.json", run / "choosing.json", run / HELD_OUT
    if not made.exists():
        LOG.info("1 of 4: making questions about the documents")
        make_questions(settings, made, reader=settings.reader, maker=maker)
    if not train.exists():  # it is written last
        LOG.info("2 of 4: setting questions apart to judge by")
        known = {same_words(example.question) for example in reviewed}
        kept = [one for one in read(made, repair=False)[0] if same_words(one.question) not in known]
        kept, apart = (kept, list(reviewed)) if reviewed else hold_out(kept, JUDGED)
        kept, chosen_by = hold_out(kept, CHOSEN)
        if not (kept and chosen_by) or _answered(apart) < FEWEST:
            first, second, third = map(len, (kept, chosen_by, apart))
            problem = f"leaves {first:,} questions to train on, {second:,} to choose and {third:,} to judge by"
            raise UserError(settings.folder, problem, "Give more documents, or reviewed questions (--test).")
        save(apart, held)
        save(chosen_by, choosing)
        save(spread(kept, settings.max_questions), train)
    return read(train, repair=False)[0], load_gold([str(choosing)]), load_gold([str(held)])


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


# ---------------------------------------------------------------------------------------------------- the end
def _published(found: Adapted, verdict: Verdict) -> Adapted:
    """Put the reader into the run's directory if it has passed, and write down what the gate found."""
    run, advice = found.path, verdict.advice
    if not advice:
        for name in (RUN_FILE, SETTINGS_FILE, METRICS_FILE):
            with atomic_file(run / name) as temporary:
                shutil.copyfile(found.training.path / name, temporary)
        publish_model(verdict.reader, run)
    judged = {"documents": dataclasses.asdict(verdict.documents), "general": dataclasses.asdict(verdict.general)}
    record = {"status": "refused" if advice else "finished", "gate": {"share": verdict.share, **judged}}
    write_json(run / RECORD, {**read_json(run / RECORD), **record})
    return dataclasses.replace(
        found,
        accepted=not advice,
        documents=verdict.documents,
        general=verdict.general,
        share=verdict.share,
        advice=advice,
        after=verdict.reader,
    )
