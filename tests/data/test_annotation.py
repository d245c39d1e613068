"""The file of `destila annotate`: whole after every step, through kills, other processes and wrong files."""

import json
import os
import random
import signal
from pathlib import Path
from typing import Any, NoReturn

import pytest

from annotating import LIMA, PASSAGES, RIVER, SUGGESTIONS
from destila.core import runs
from destila.core.errors import UnwritableError, UserError
from destila.data import annotation as annotations
from destila.data.annotation import REJECTED, Annotation, Decision, Marked, StaleError, _key
from destila.data.squad import read, save

LIMA_KEY, RIVER_KEY = map(_key, PASSAGES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "questions.json"


def opened(path: Path, *, blind: bool = False) -> Annotation:
    return Annotation(path, PASSAGES, SUGGESTIONS, blind=blind)


def everything(annotation: Annotation) -> tuple[int, dict[str, Decision], int]:
    return annotation.revision, annotation.decided, annotation.steps


def a_step(annotation: Annotation, generator: random.Random) -> None:
    """Anything that a person may do."""
    key, text = generator.choice([(LIMA_KEY, LIMA), (RIVER_KEY, RIVER)])
    places = [(start, end) for start, end in [(0, 4), (5, 6), (10, 30), (40, len(text))] if text[start:end].strip()]
    span = generator.choice([*places, (None, None)])
    name = generator.choice([None, *annotation.suggestions, *annotation.decided])
    wanted: Decision = Marked(key, f"¿Qué {generator.random()}?", *span)
    if name is not None and generator.random() < 0.4:
        wanted = REJECTED
    annotation.decide(name, wanted, revision=annotation.revision)


@pytest.mark.parametrize("seed", range(2))
def test_any_steps_are_on_the_disk_and_can_be_taken_back(path: Path, seed: int) -> None:
    annotation, generator, past = opened(path), random.Random(seed), list[dict[str, Decision]]()
    for _ in range(25):
        past.append(dict(annotation.decided))
        a_step(annotation, generator)
        again = opened(path)
        assert everything(again) == everything(annotation)
        accepted = {name: it for name, it in annotation.decided.items() if isinstance(it, Marked)}
        if accepted:
            found = {example.id: example for example in read(path, repair=False)[0]}
            assert found.keys() == accepted.keys()
            for name, it in accepted.items():
                context = LIMA if it.passage == LIMA_KEY else RIVER
                assert (found[name].question, found[name].context) == (it.question, context)
                texts = [context[it.start : it.end]] if it.start is not None else []
                assert [answer.text for answer in found[name].answers] == texts
        annotation = again
    while past:
        annotation.undo(revision=annotation.revision)
        assert annotation.decided == past.pop()
    assert annotation.undo(revision=annotation.revision) is None
    assert json.loads(path.read_text())["data"] == []


def test_only_so_many_steps_are_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert annotations.STEPS >= 20
    monkeypatch.setattr(annotations, "STEPS", 3)
    annotation = opened(path)
    for number in range(5):
        annotation.decide("quién", Marked(LIMA_KEY, f"¿{number}?", 0, 4), revision=number)
    assert opened(path).steps == 3


@pytest.mark.parametrize(("where", "kept"), [("half written", 1), ("not renamed", 1), ("renamed", 2)])
def test_a_kill_in_the_middle_of_a_save_leaves_the_old_or_the_new_file(path: Path, where: str, kept: int) -> None:
    opened(path).decide("quién", Marked(LIMA_KEY, "¿Quién?", 0, 4), revision=0)
    child = os.fork()
    if child == 0:
        _die_in_a_save(path, where)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    annotation = opened(path)
    assert annotation.revision == kept
    assert annotation.decided["quién"] == Marked(LIMA_KEY, "¿Quién?", 0, 4)
    assert ("cuándo" in annotation.decided) is (kept == 2)
    annotation.decide("nace", REJECTED, revision=kept)  # and it goes on


def _die_in_a_save(path: Path, where: str) -> NoReturn:
    """Take a step in a process that is killed at that place of it."""

    def die(*given: Any, **_: Any) -> None:
        if where == "half written":
            given[0].write_bytes(given[1].encode()[: len(given[1]) // 2])
        if where == "renamed":
            rename(*given)
        os.kill(os.getpid(), signal.SIGKILL)

    rename, owner = os.replace, Path if where == "half written" else os
    setattr(owner, "write_text" if where == "half written" else "replace", die)
    try:
        opened(path).decide("cuándo", REJECTED, revision=1)
    finally:
        os._exit(3)


def test_another_process_is_noticed_and_nothing_of_it_is_overwritten(path: Path) -> None:
    first, second = opened(path), opened(path)
    first.decide("quién", REJECTED, revision=0)
    with pytest.raises(StaleError):
        second.decide("cuándo", REJECTED, revision=0)
    with pytest.raises(StaleError):
        second.undo(revision=0)
    assert second.decided == {"quién": REJECTED}
    second.decide("cuándo", REJECTED, revision=1)
    first.refresh()
    assert first.decided == second.decided == {"quién": REJECTED, "cuándo": REJECTED}


def test_a_step_that_cannot_be_written_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotation = opened(path)
    annotation.decide("quién", REJECTED, revision=0)
    before, content = everything(annotation), path.read_bytes()

    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(runs, "flush", full)
        with pytest.raises(UnwritableError, match="the disk is full"):
            annotation.decide("cuándo", REJECTED, revision=1)
    assert (everything(annotation), path.read_bytes()) == (before, content)
    path.unlink()  # who deletes it while it is open loses nothing
    annotation.decide("cuándo", REJECTED, revision=1)
    assert opened(path).decided.keys() == {"quién", "cuándo"}


@pytest.mark.parametrize(
    ("marked", "problem"),
    [
        (Marked("away", "¿Quién?", 0, 4), "passage: is none"),
        (Marked(LIMA_KEY, " \n ", 0, 4), "question: is empty"),
        (Marked(LIMA_KEY, "x" * 1001, 0, 4), "too long"),
        (Marked(LIMA_KEY, "¿\0?", 0, 4), "holds what no file can"),
        (Marked(LIMA_KEY, "¿\ud83c?", 0, 4), "holds what no file can"),
        (Marked(LIMA_KEY, "¿Quién?", 0, None), "one end only"),
        (Marked(LIMA_KEY, "¿Quién?", 4, 4), "no text of the passage"),
        (Marked(LIMA_KEY, "¿Quién?", 4, 5), "no text of the passage"),  # a space
        (Marked(LIMA_KEY, "¿Quién?", -4, 4), "no text of the passage"),
        (Marked(LIMA_KEY, "¿Quién?", 0, len(LIMA) + 1), "no text of the passage"),
    ],
)
def test_what_is_no_question_is_refused(path: Path, marked: Marked, problem: str) -> None:
    annotation = opened(path)
    with pytest.raises(UserError, match=problem):
        annotation.decide("quién", marked, revision=0)
    with pytest.raises(UserError, match="is no question here"):
        annotation.decide("nobody's", REJECTED, revision=0)
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"", "is empty"),
        (b"[]", "did not write it"),
        (b'{"data": []}', "did not write it"),
        (b'{"data": [], "annotation": {"revision": "x", "rejected": [], "steps": []}}', "annotation.revision is not"),
        (b'{"data": 3, "annotation": {"revision": 1, "rejected": [], "steps": []}}', "data"),
    ],
)
def test_a_file_that_cannot_be_gone_on_from_is_left_as_it_is(path: Path, content: bytes, problem: str) -> None:
    path.write_bytes(content)
    with pytest.raises(UserError, match=problem):
        opened(path)
    path.unlink()
    annotation = opened(path)
    path.write_bytes(content)  # it became so meanwhile
    with pytest.raises(UserError, match=problem):
        annotation.decide("quién", REJECTED, revision=0)
    assert path.read_bytes() == content


def test_passages_that_the_folder_has_no_more_stay_with_their_questions(path: Path) -> None:
    opened(path).decide("quién", Marked(LIMA_KEY, "¿Quién?", 0, 4), revision=0)
    later = Annotation(path, PASSAGES[1:])
    later.decide(None, Marked(RIVER_KEY, "¿Cuánto mide?", 80, 95), revision=1)
    assert [example.title for example in read(path, repair=False)[0]] == ["río.txt", "lima.txt"]
    assert read(path, repair=False)[0][0].answers[0].text == RIVER[80:95]


def test_what_is_written_can_be_suggested_and_hidden(path: Path, tmp_path: Path) -> None:
    save(SUGGESTIONS, tmp_path / "suggestions.json")
    again = read(tmp_path / "suggestions.json", repair=False)[0]
    assert Annotation(path, [], again).passages == opened(path).passages
    assert opened(path).unanswered == set()
    assert opened(path, blind=True).unanswered == {example.id for example in SUGGESTIONS}
