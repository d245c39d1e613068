"""A folder becomes a reader that knows it, or a reason why not: the gate, kills at every stage, mistakes."""

import itertools
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

import destila
from destila import Reader, UserError
from destila.core.records import Example
from destila.data.generation.drafts import Draft, Drafts, Passage
from destila.data.squad import read, save
from destila.models.files import load_reader
from destila.training import adapt as module
from destila.training import gate, loop
from destila.training.gate import LESS_LOSS, MORE_CERTAINTY, MORE_GAIN, SHARES, Judged, advice_of
from destila.training.holding_out import hold_out
from museums import RecordedMaker, write_folder
from tiny import example, tiny_examples, tiny_reader

FILTERS = {"agreement": 0.0, "question_word": 1.0, "answer_length": 1.0, "overlap": 1.0}
METADATA = {"window": {"length": 128, "stride": 16, "max_answer_tokens": 16}, "no_answer_threshold": 50.0}
COMMON: dict[str, Any] = {"model": "model", "teacher": "teacher", "dev": ["dev.json"], "filters": FILTERS}
COMMON |= {"cache": "cache", "batch_size": 10, "steps": 1, "learning_rate": 1e-9}
WEIGHTS = "model.safetensors"


class Taught:
    """Makes the recorded questions with the answers that "teacher" gives: by construction it has 100 F1 on them."""

    said: ClassVar[dict[str, Drafts]] = {}  # of each passage: the reader is asked once for all tests

    def make(self, passage: Passage) -> Drafts:
        return self.said[passage.text]

    def ask(self, reader: Reader, folder: Path) -> None:
        for path in folder.iterdir():
            passage = Passage(path.name, path.read_text(encoding="utf-8"))
            asked = [draft.question for draft in RecordedMaker().make(passage).drafts]
            found = [(question, reader.answer(question, passage.text)) for question in asked]
            drafts = (Draft(question, answer.text, answer.start) for question, answer in found)
            self.said[passage.text] = Drafts(tuple(drafts))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, a random reader, questions that it answers rightly, and the same with its head turned round: what it
    finds best is what the other finds worst."""
    place, before = tmp_path_factory.mktemp("adapt"), Path.cwd()
    os.chdir(place)
    try:
        write_folder(place / "folder")
        tiny_reader(place / "teacher", metadata=METADATA)
        turned = load_reader("teacher")
        with torch.no_grad():
            turned.model.qa_outputs.weight.neg_()
            turned.model.qa_outputs.bias.neg_()
        shutil.copytree("teacher", "model")
        turned.model.save_pretrained("model")
        reader, asked = Reader.load("teacher"), tiny_examples(unanswerable=False)
        Taught().ask(reader, place / "folder")
        save([replace(one, answers=(reader.answer(one.question, one.context),)) for one in asked], Path("dev.json"))
        destila.generate("folder", "asked.json", maker=Taught(), filters=FILTERS, cache="cache")
        asked = read(Path("asked.json"), repair=False)[0]
        reviewed = [replace(one, id=f"r-{one.id}", question=f"Dime: {one.question}") for one in asked]
        save(
            [replace(one, answers=(reader.answer(one.question, one.context),)) for one in reviewed],
            Path("reviewed.json"),
        )
    finally:
        os.chdir(before)
    return place


@pytest.fixture(autouse=True)
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for item in made.iterdir():
        (tmp_path / item.name).symlink_to(item)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "FEWEST", 5)
    monkeypatch.setattr(gate, "SHARES", (1.0,))
    return tmp_path


def adapt(output: str = "run", **more: Any) -> destila.Adapted:
    return destila.adapt("folder", output, maker=Taught(), **{**COMMON, **more})


def record(run: str) -> dict[str, Any]:
    return dict(json.loads(Path(run, "adapt.json").read_text()))


@pytest.fixture
def learns(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let a training end with the weights of a reader: what tiny trainings learn differs with the processor."""
    distill = module.distill

    def become(reader: str) -> None:
        def trained(settings: dict[str, Any]) -> destila.TrainingResult:
            result = distill(settings)
            shutil.copyfile(Path(reader, WEIGHTS), result.path / WEIGHTS)
            return result

        monkeypatch.setattr(module, "distill", trained)

    return become


def told_apart(*names: str) -> list[list[Example]]:
    return [read(Path("run", f"{name}.json"), repair=False)[0] for name in names]


# ---------------------------------------------------------------------------------------------------- the gate
def test_a_reader_that_gains_is_written_and_answers_better(
    learns: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "SHARES", SHARES)
    learns("teacher")
    found = adapt()
    assert (found.accepted, found.advice) == (True, ())
    assert found.share == 1.0, "at half of the way every span is as good as any other"
    assert found.documents is not None
    assert found.documents.after == 100.0
    assert found.documents.ci[0] > 0
    scores = destila.evaluate(["model", "run"], "run/held-out.json", resamples=100)
    again = [report.f1 for report in scores.reports if report.normalizer == "mlqa-es"]
    assert [found.documents.before, found.documents.after] == pytest.approx(again)
    assert Reader.load("run").no_answer_threshold == 50.0, "as the reader before had it"
    assert record("run")["status"] == "finished"
    with pytest.raises(UserError, match=r"holds an adaptation already \(finished\)"):
        adapt()
    parts = [{one.title for one in examples} for examples in told_apart("train", "choosing", "held-out")]
    assert all(parts)
    assert not [pair for pair in itertools.combinations(parts, 2) if pair[0] & pair[1]], "documents are whole"


def test_reviewed_questions_judge_and_are_not_trained_on(learns: Callable[[str], None]) -> None:
    learns("teacher")
    reviewed = read(Path("reviewed.json"), repair=False)[0]
    save([*reviewed, replace(read(Path("asked.json"), repair=False)[0][0], id="asked")], Path("mine.json"))
    found = adapt(test="mine.json")
    assert found.accepted
    assert found.documents is not None
    assert found.documents.n == len(reviewed) + 1
    train, choosing, held = told_apart("train", "choosing", "held-out")
    assert not {one.question for one in [*train, *choosing]} & {one.question for one in held}


def test_a_reader_that_gains_nothing_is_not_written() -> None:
    found = adapt()
    assert (found.accepted, found.advice) == (False, (MORE_GAIN,))
    assert found.documents is not None
    assert found.documents.before == found.documents.after
    assert record("run")["status"] == "refused"
    assert record("run")["gate"]["general"]["difference"] == 0
    with pytest.raises(UserError):
        Reader.load("run")


def test_a_reader_that_forgets_is_not_written(learns: Callable[[str], None]) -> None:
    """It has 100 F1 to lose, and what it becomes has its answers turned round."""
    learns("model")
    found = adapt(model="teacher", teacher="model")
    assert not found.accepted
    assert found.advice == (MORE_GAIN, LESS_LOSS)
    assert found.general is not None
    assert found.general.before == 100.0
    assert found.general.difference < -1
    assert not Path("run", WEIGHTS).exists()


def test_a_share_of_the_new_weights_is_taken_that_loses_nothing(
    learns: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three tenths of the way to the turned head it still points where it pointed, with smaller numbers."""
    monkeypatch.setattr(gate, "SHARES", SHARES)
    learns("model")
    found = adapt(model="teacher", teacher="model")
    assert (found.accepted, found.share, found.advice) == (False, 0.3, (MORE_GAIN,))
    assert found.general is not None
    assert (found.general.before, found.general.after) == (100.0, 100.0)
    assert found.after is not None
    old, new, mixed = (load_reader(str(name)).model.state_dict() for name in ("teacher", "model", found.after))
    for name, value in mixed.items():
        torch.testing.assert_close(value, 0.7 * old[name] + 0.3 * new[name])
    assert [path.name for path in Path("run").glob("adapted-*")] == ["adapted-0.3"]


@pytest.mark.parametrize(
    ("gain", "ci", "loss", "advice"),
    [
        (5.0, (1.0, 9.0), 0.5, ()),
        (5.0, (1.0, 9.0), 1.0, ()),
        (5.0, (0.0, 9.0), 0.0, (MORE_CERTAINTY,)),
        (0.0, (0.0, 0.0), -3.0, (MORE_GAIN,)),
        (5.0, (1.0, 9.0), 1.1, (LESS_LOSS,)),
        (-1.0, (-2.0, 3.0), 1.1, (MORE_GAIN, LESS_LOSS)),
    ],
)
def test_what_passes_the_gate(gain: float, ci: tuple[float, float], loss: float, advice: tuple[str, ...]) -> None:
    documents, general = Judged(9, 50, 50 + gain, gain, ci, 0.1), Judged(9, 50, 50 - loss, -loss, (-9, 9), 0.1)
    assert advice_of(documents, general, 1.0) == advice


# ---------------------------------------------------------------------------------------------------- kills
def dying(function: Callable[..., Any], last: int) -> Callable[..., Any]:
    """The same function in a process that is killed when it has been called for the last time."""
    calls = itertools.count(1)

    def dies(*given: Any, **more: Any) -> Any:
        result = function(*given, **more)
        if next(calls) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return dies


def in_a_process(where: str, output: str, settings: dict[str, Any]) -> None:
    """Adapt, and die at a place."""
    maker = Taught()
    if where == "questions":
        maker.make = dying(maker.make, 6)  # type: ignore[method-assign]
    if where == "training":
        loop.Loop.checkpoint = dying(loop.Loop.checkpoint, 2)  # type: ignore[method-assign]
    if where == "gate":
        module.atomic_file = dying(module.atomic_file, 2)  # type: ignore[attr-defined]
    destila.adapt("folder", output, maker=maker, **settings)


def test_kills_at_every_stage_and_the_result_of_a_run_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_STEPS", 3)
    settings = {**COMMON, "steps": 9, "learning_rate": 1e-3}
    # Nothing needs to have been gained for what is tried here, which is what follows after it, too.
    monkeypatch.setattr(gate, "advice_of", lambda *_: ())

    def call(where: str, output: str) -> int | None:
        process = multiprocessing.get_context("fork").Process(target=in_a_process, args=(where, output, settings))
        process.start()
        process.join()
        return process.exitcode

    assert call("", "whole") == 0
    for where in ("questions", "training", "gate"):
        assert call(where, "killed") == -signal.SIGKILL
        assert record("killed")["status"] == "running"
        assert not Path("killed", WEIGHTS).exists()
    assert call("", "killed") == 0
    assert record("killed") == record("whole")
    for name in ("train.json", "choosing.json", "held-out.json", WEIGHTS):
        assert Path("killed", name).read_bytes() == Path("whole", name).read_bytes()


# ---------------------------------------------------------------------------------------------------- mistakes
def test_mistakes_are_told_before_any_work(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="it has nothing to teach itself"):
        adapt(teacher="./model")
    with pytest.raises(UserError, match="no such file"):
        adapt(dev=["nowhere.json"])
    save(tiny_examples()[-4:], Path("four.json"))
    with pytest.raises(UserError, match="3 questions with an answer are too few to judge by"):
        adapt(test="four.json")
    monkeypatch.setattr(module, "CLONE", place / "away")
    with pytest.raises(UserError, match="3 problems") as error:
        destila.adapt("folder", "run", cache="cache")
    assert "teacher: names no reader, and models/teacher is not here" in str(error.value)
    bundled = str(Path(destila.__file__).parent / "inference" / "shipped")
    with pytest.raises(UserError, match="has no weights for torch"):
        adapt(model=bundled)
    for name, text in [("nowhere", None), ("short", "Nada.")]:
        if text:
            (place / name).mkdir()
            (place / name / "note.txt").write_text(text)
        with pytest.raises(UserError, match=name):
            destila.adapt(name, "run", **COMMON)
    assert not Path("run").exists()
    (place / "mine").mkdir()
    (place / "mine" / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no adaptation"):
        adapt("mine")


def test_too_few_questions_other_settings_and_beginning_anew() -> None:
    with pytest.raises(UserError, match=r"questions to train on, .* to judge by"):
        adapt(max_passages=2)
    assert record("run")["status"] == "running"
    with pytest.raises(UserError, match="max_passages: 0 is given, and the run has 2"):
        adapt()
    assert adapt(overwrite=True).training.finished


# ---------------------------------------------------------------------------------------------------- held out
NOTICE = "Queda prohibido tocar los relojes de las salas."


def asked_of(title: str, contexts: list[str]) -> list[Example]:
    question = "¿Qué guarda la sala {}?".format
    return [example(f"{title}{n}", question(n), text, "un reloj", title=title) for n, text in enumerate(contexts)]


def test_parts_of_few_documents_are_held_apart_without_a_common_sentence() -> None:
    sentences = [f"La sala número {number} guarda un reloj de torre." for number in range(60)]
    contexts = [" ".join(sentences[place : place + 4]) for place in range(0, 57, 3)]  # each shares one with the next
    asked = [
        *asked_of("a", contexts),
        *asked_of("b", [text.upper().replace("UN RELOJ", "un reloj") for text in contexts]),
    ]
    train, held = hold_out(asked, 5)
    assert len(asked) / 5 <= len(held) <= len(asked) / 3
    said = {
        sentence.casefold() for one in held for sentence in sentences if sentence.casefold() in one.context.casefold()
    }
    assert train
    assert not [one for one in train if any(sentence in one.context.casefold() for sentence in said)]
    assert len({one.title for one in held}) > 1
    assert all("/10" in one.title for one in held)
    assert hold_out(asked, 5) == (train, held)


def test_a_notice_in_every_document_costs_no_questions_but_those_about_it() -> None:
    own = [f"El reloj de la sala {number} es de torre. " for number in range(10)]
    asked = [one for number, text in enumerate(own) for one in asked_of_notice(str(number), f"{text}{NOTICE}")]
    train, held = hold_out(asked, 5)
    assert len(train) + len(held) == len(own)
    assert not [one for one in [*train, *held] if one.answers[0].text == "los relojes"]


def asked_of_notice(title: str, text: str) -> list[Example]:
    about = [("¿De qué es?", "torre"), ("¿Qué no se toca?", "los relojes")]
    return [example(f"{title}{answer}", question, text, answer, title=title) for question, answer in about]
