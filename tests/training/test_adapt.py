"""A folder becomes a reader that knows it, or a reason why not: the gate, kills at every stage, mistakes."""

import itertools
import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import destila
from destila import Reader, UserError
from destila.core.records import Example
from destila.data.squad import read, save
from destila.training import adapt as module
from destila.training import loop
from destila.training.adapt import LESS_LOSS, MORE_CERTAINTY, MORE_GAIN, Judged, _advice
from destila.training.holding_out import hold_out, without_sentences
from museums import RecordedMaker, write_folder
from tiny import TEXTS, example, tiny_examples, tiny_reader

FILTERS = {"agreement": 0.0, "question_word": 1.0, "answer_length": 1.0, "overlap": 1.0}
WINDOW = {"length": 128, "stride": 16, "max_answer_tokens": 16}
COMMON: dict[str, Any] = {"model": "model", "teacher": "teacher", "dev": ["dev.json"], "filters": FILTERS}
COMMON |= {"cache": "cache", "learning_rate": 5e-3, "batch_size": 10}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, a reader that knows nothing, one that has learned the folder by heart, and questions."""
    place, before = tmp_path_factory.mktemp("adapt"), Path.cwd()
    os.chdir(place)
    try:
        write_folder(place / "folder")
        tiny_reader(place / "model", metadata={"window": WINDOW, "no_answer_threshold": 0.25})
        destila.generate("folder", "asked.json", maker=RecordedMaker(), filters=FILTERS, cache="cache")
        asked = [one for one in read(Path("asked.json"), repair=False)[0] if one.answers]
        save([replace(one, id=f"r-{one.id}", question=f"Dime: {one.question}") for one in asked], Path("reviewed.json"))
        save(tiny_examples(), Path("dev.json"))
        training = {"steps": 120, "learning_rate": 5e-3, "batch_size": 10, "keep_best": False}
        data = {"train": ["asked.json"]}
        destila.finetune(
            model={"name": "model", "dropout": 0.0}, data=data, window=WINDOW, training=training, output="teacher"
        )
    finally:
        os.chdir(before)
    return place


@pytest.fixture(autouse=True)
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for item in trained.iterdir():
        (tmp_path / item.name).symlink_to(item)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("destila.training.adapt.FEWEST", 5)
    return tmp_path


def adapt(output: str = "run", **more: Any) -> destila.Adapted:
    return destila.adapt("folder", output, maker=RecordedMaker(), **{**COMMON, **more})


def record(run: str) -> dict[str, Any]:
    return dict(json.loads(Path(run, "adapt.json").read_text()))


# ---------------------------------------------------------------------------------------------------- the gate
def test_a_reader_that_gains_is_written_and_answers_better(place: Path) -> None:
    found = adapt(test="reviewed.json", steps=80, max_loss=100.0)
    assert found.accepted
    assert found.advice == ()
    assert found.documents is not None
    assert found.documents.ci[0] > 0
    examples = read(Path("reviewed.json"), repair=False)[0]
    scores = destila.evaluate(["model", "run"], "reviewed.json", resamples=100)
    again = [report.f1 for report in scores.reports if report.normalizer == "mlqa-es"]
    assert [found.documents.before, found.documents.after] == pytest.approx(again)
    assert found.documents.n == len(examples)
    assert Reader.load("run").no_answer_threshold == 0.25, "as the reader before had it"
    assert record("run")["status"] == "finished"
    with pytest.raises(UserError, match=r"holds an adaptation already \(finished\)"):
        adapt(steps=80)
    trained_on = read(Path("run/train.json"), repair=False)[0]
    assert not {one.question for one in trained_on} & {one.question for one in examples}


def test_a_reader_that_gains_nothing_is_not_written(place: Path) -> None:
    found = adapt(steps=1, learning_rate=1e-9)
    assert (found.accepted, found.advice) == (False, (MORE_GAIN,))
    assert found.documents is not None
    assert found.documents.before == found.documents.after
    assert record("run")["status"] == "refused"
    with pytest.raises(UserError):
        Reader.load("run")
    files = (read(Path("run", name), repair=False)[0] for name in ("train.json", "held-out.json"))
    train, held = ({one.title for one in examples} for examples in files)
    assert train
    assert held
    assert not train & held, "documents are held apart whole"


def test_a_reader_that_forgets_is_not_written(place: Path) -> None:
    """The one that knows the folder is taught by the one that knows nothing."""
    found = adapt(model="teacher", teacher="model", dev=["asked.json"], steps=30, learning_rate=1e-2)
    assert not found.accepted
    assert LESS_LOSS in found.advice
    assert found.general is not None
    assert found.general.difference < -1
    assert not Path("run/model.safetensors").exists()


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
    assert _advice(documents, general, 1.0) == advice


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
    maker = RecordedMaker()
    if where == "questions":
        maker.make = dying(maker.make, 6)  # type: ignore[method-assign]
    if where == "training":
        loop.Loop.checkpoint = dying(loop.Loop.checkpoint, 2)  # type: ignore[method-assign]
    if where == "gate":
        module.atomic_file = dying(module.atomic_file, 2)  # type: ignore[attr-defined]
    destila.adapt("folder", output, maker=maker, **settings)


def test_kills_at_every_stage_and_the_result_of_a_run_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_STEPS", 3)
    settings = {**COMMON, "test": ["reviewed.json"], "steps": 12, "max_loss": 100.0}
    # Nothing needs to have been gained for what is tried here, which is what follows after it, too.
    monkeypatch.setattr(module, "_advice", lambda *_: ())

    def call(where: str, output: str) -> int | None:
        process = multiprocessing.get_context("fork").Process(target=in_a_process, args=(where, output, settings))
        process.start()
        process.join()
        return process.exitcode

    assert call("", "whole") == 0
    for where in ("questions", "training", "gate"):
        assert call(where, "killed") == -signal.SIGKILL
        assert record("killed")["status"] == "running"
        assert not Path("killed/model.safetensors").exists()
    assert call("", "killed") == 0
    assert record("killed") == record("whole")
    for name in ("train.json", "held-out.json", "model.safetensors"):
        assert Path("killed", name).read_bytes() == Path("whole", name).read_bytes()


# ---------------------------------------------------------------------------------------------------- mistakes
def test_mistakes_are_told_before_any_work(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="it has nothing to teach itself"):
        adapt(teacher="./model")
    with pytest.raises(UserError, match="no such file"):
        adapt(dev=["nowhere.json"])
    monkeypatch.setattr("destila.training.adapt.CLONE", place / "away")
    with pytest.raises(UserError, match="3 problems") as error:
        destila.adapt("folder", "run", cache="cache")
    assert "teacher: names no reader, and models/teacher is not here" in str(error.value)
    bundled = str(Path(destila.__file__).parent / "inference" / "shipped")
    with pytest.raises(UserError, match="has no weights for torch"):
        adapt(model=bundled)
    assert not Path("run").exists()
    (place / "mine").mkdir()
    (place / "mine" / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no adaptation"):
        adapt("mine")


def test_other_settings_do_not_go_on_and_overwrite_begins_anew(place: Path) -> None:
    adapt(steps=1)
    (place / "run" / "adapt.json").write_text(json.dumps({**record("run"), "status": "running"}))
    with pytest.raises(UserError, match="steps: 2 is given, and the run has 1"):
        adapt(steps=2)
    assert adapt(steps=2, overwrite=True).training.steps == 2


def test_too_few_questions_are_an_error(place: Path) -> None:
    with pytest.raises(UserError, match="questions to train on and"):
        adapt(max_passages=2, steps=1)


# ---------------------------------------------------------------------------------------------------- held out
def test_parts_of_few_documents_are_held_apart_without_a_common_sentence() -> None:
    sentences = [f"La sala número {number} guarda un reloj de torre." for number in range(60)]
    contexts = [" ".join(sentences[place : place + 4]) for place in range(0, 57, 3)]  # each shares one with the next
    asked = [
        example(f"{title}{number}", f"¿Qué guarda la sala {number}?", f"{title} {context}", "un reloj", title=title)
        for title in "ab"
        for number, context in enumerate(contexts)
    ]
    train, held = hold_out(asked)
    assert len(asked) / 5 <= len(held) <= len(asked) / 3
    said = {sentence for one in held for sentence in sentences if sentence in one.context}
    assert not [one for one in train if any(sentence in one.context for sentence in said)]
    assert len({one.title for one in held}) > 1
    assert all("/10" in one.title for one in held)
    assert hold_out(asked) == (train, held)


def test_texts_without_a_common_sentence_stay() -> None:
    examples: list[Example] = tiny_examples()
    apart = [one for one in examples if one.context == TEXTS[0]]
    assert without_sentences(examples, apart) == [one for one in examples if one.context != TEXTS[0]]
