"""The public functions: their examples run, they return records, print nothing, and say whatever is wrong."""

import doctest
import logging
import re
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

import destila
import spanish
from destila.core.errors import UserError
from few_questions import few_questions
from pretraining import write_sources

ROOT = Path(__file__).parents[1]
# Each example needs those before.
FUNCTIONS = ("generate", "finetune", "pretrain", "distill", "evaluate", "calibrate", "certify", "export", "benchmark")
FUNCTIONS += ("adapt",)
OTHERS = ("Reader.highlight", "Reader.explain", "answer_frame")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with what the examples name."""
    place = tmp_path_factory.mktemp("work")
    (place / "configs").symlink_to(ROOT / "configs")
    few_questions(place)
    (place / "my-documents").mkdir()
    (place / "my-documents" / "leyes.txt").write_text(spanish.text(1), encoding="utf-8")
    (place / "my-texts").mkdir()
    write_sources(place / "my-texts")
    return place


def examples_of(name: str) -> list[doctest.DocTest]:
    thing = destila if name == "destila" else attrgetter(name)(destila)
    if name == "export":
        from destila.export.export import export as thing
    found = doctest.DocTestFinder(recurse=False).find(thing, name, globs={"destila": destila})
    assert any(test.examples for test in found), f"{name} has no example"
    return found


@pytest.mark.parametrize("name", [*FUNCTIONS, *OTHERS, "destila"])
def test_the_example_of_each_function_runs_and_prints_nothing(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    said: list[str] = []
    for test in examples_of(name):
        results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
        assert results.failed == 0, "".join(said)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_every_public_name_is_there() -> None:
    for name in destila.__all__:
        assert callable(getattr(destila, name)), name
    with pytest.raises(AttributeError, match="has no attribute 'destill'"):
        destila.destill  # type: ignore[attr-defined]  # noqa: B018


def documented() -> dict[str, list[str]]:
    """The public names by module, as docs/architecture.md lists them."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## What is public")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(destila[\w.]*)` \| (.*) \|$", table, re.M)
    named = {module: re.findall(r"`([A-Za-z]\w*)`", names) for module, names in rows}
    return {module: names or list(import_module(module).__all__) for module, names in named.items()}


def test_what_is_public_is_documented_exists_and_is_not_much() -> None:
    public = documented()
    for module, names in public.items():
        for name in names:
            assert getattr(import_module(module), name).__doc__ or name.isupper(), f"{module}.{name}"
    assert 60 < len({name for names in public.values() for name in names}) <= 200


def test_documents_and_examples_use_public_names_only() -> None:
    public, used = documented(), list[tuple[str, str]]()
    pages = [*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*")]
    for path in (page for page in pages if page.name != "log.md"):
        for module, names in re.findall(r"from (destila[\w.]*) import ([\w, ]+)", path.read_text(encoding="utf-8")):
            used += [(module, name.strip()) for name in names.split(",")]
    assert len(used) > 10
    assert [each for each in used if each[1] not in public.get(each[0], ())] == []


def test_progress_is_told_to_whoever_asks(place: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None, bool]] = []

    def listen(progress: destila.Progress) -> None:
        told.append((progress.what, progress.done, progress.total, progress.closed))

    data = {"train": [str(ROOT / "data/nativa/train.json")], "dev": []}
    changes: dict[str, Any] = {"training": {"steps": 2}, "data": data, "output": tmp_path / "run"}
    with caplog.at_level(logging.INFO, "destila"):
        destila.finetune(ROOT / "configs/tiny/finetune.toml", progress=listen, **changes)
    assert [each for each in told if each[0] == "training"] == [
        ("training", 0, 2, False),
        ("training", 1, 2, False),
        ("training", 2, 2, False),
        ("training", 2, 2, True),
    ]
    assert "24 questions" in caplog.text


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: destila.distill(), r"teacher\.name: is empty"),
        (lambda: destila.distill(teacher="x", studnet={}), r"studnet.*no such table; did you mean \[student\]\?"),
        (lambda: destila.finetune("nowhere.toml"), r"nowhere\.toml: does not exist"),
        (lambda: destila.finetune(training={"epochs": -1}), r"training\.epochs = -1"),
        (lambda: destila.finetune(3), "settings: are int"),  # type: ignore[arg-type]
        (lambda: destila.evaluate(), "--data: is required"),
        (lambda: destila.evaluate([], "data/nativa/dev.json"), "models: is an empty list"),
        (lambda: destila.benchmark([]), "models: is an empty list"),
        (lambda: destila.certify(), "--data: is required"),
        (lambda: destila.export("a", ""), "--output: is required"),
        (lambda: destila.benchmark(lengths=[0]), r"lengths"),
    ],
)
def test_a_mistake_is_a_user_error(call: Any, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        call()


def test_a_text_for_a_table_is_its_name_and_paths_are_texts(tmp_path: Path) -> None:
    from destila.config import DistillSettings
    from destila.config.loader import settings_of

    changes = {"teacher": tmp_path, "data": "a.json", "loss": "m:f", "student": {"shape": {"layers": 2}}}
    found = settings_of(DistillSettings, None, changes)
    assert (found.teacher.name, found.data.train, found.loss.function) == (str(tmp_path), ["a.json"], "m:f")
    assert found.student.shape.layers == 2
    again = settings_of(DistillSettings, found, {"training": {"seed": 9}})
    assert (again.training.seed, again.teacher) == (9, found.teacher)
    assert settings_of(DistillSettings, found, {}) == found
