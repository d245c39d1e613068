"""Models of the hub, by the real client over HTTP: pinned to a commit, data only, and quick to say what is wrong."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from destila import Reader, UserError
from destila.models.hub import locate
from fake_hub import TOKEN, FakeHub, client_environment, log_in, point_client_at, serving
from tiny import TEXTS, tiny_examples, tiny_reader

pytest.importorskip("torch")
WINDOW = {"window": {"length": 96, "stride": 8, "max_answer_tokens": 10}}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving() as hub:
        point_client_at(hub.address, tmp_path / "home", monkeypatch)
        yield hub


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two readers of one shape and other weights, each with files that must never be fetched."""
    root = tmp_path_factory.mktemp("readers")
    found = [tiny_reader(root / str(seed), metadata=WINDOW, seed=seed) for seed in (0, 1)]
    for directory in found:
        for name in ("pytorch_model.bin", "modeling_evil.py", "training_args.pt", "README.md"):
            (directory / name).write_bytes(b"not for you")
    return found


def answers(reader: Reader) -> list[tuple[str | None, float]]:
    pairs = [(example.question, example.context) for example in tiny_examples()]
    return [(answer.text, answer.score) for answer in reader.answer_batch(pairs)]


@pytest.mark.usefixtures("messages_on_stderr")
def test_a_name_without_revision_becomes_a_commit_that_is_said(
    hub: FakeHub, readers: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    commit = hub.add("acme/reader", readers[0])
    reader = Reader.load("acme/reader")
    assert answers(reader) == answers(Reader.load(readers[0]))
    assert reader.name == f"acme/reader@{commit}"
    assert f"acme/reader: commit {commit}" in capsys.readouterr().err


def test_a_revision_is_what_is_loaded_whatever_the_branch_says_now(hub: FakeHub, readers: list[Path]) -> None:
    first = hub.add("acme/reader", readers[0])
    second = hub.add("acme/reader", readers[1])
    hub.repositories["acme/reader"].refs["refs/pr/1"] = first
    assert first != second
    by_revision = {name: answers(Reader.load(f"acme/reader@{name}")) for name in (first, second, "main", "refs/pr/1")}
    assert by_revision[first] == by_revision["refs/pr/1"] == answers(Reader.load(readers[0]))
    assert by_revision[second] == by_revision["main"] == answers(Reader.load(readers[1]))
    assert by_revision[first] != by_revision[second], "else this proves nothing"
    assert answers(Reader.load("acme/reader", revision=first)) == by_revision[first]


def test_only_data_is_fetched(hub: FakeHub, readers: list[Path]) -> None:
    hub.add("acme/reader", readers[0])
    directory = locate("acme/reader").directory
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "destila.json"}
    assert hub.fetched() == wanted == {path.name for path in directory.iterdir()}


@pytest.mark.usefixtures("messages_on_stderr")
def test_a_commit_that_was_fetched_needs_no_hub(
    hub: FakeHub, readers: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    commit = hub.add("acme/reader", readers[0])
    before = answers(Reader.load("acme/reader"))
    hub.requests.clear()
    hub.broken = True
    assert answers(Reader.load(f"acme/reader@{commit}")) == before
    assert not hub.requests, "a commit never changes, so nobody is asked"
    assert answers(Reader.load("acme/reader")) == before
    assert "taking what was fetched before" in capsys.readouterr().err


def test_a_hub_that_is_down_or_away_is_said_within_seconds(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.broken = True
    started = time.monotonic()
    with pytest.raises(UserError, match="hub cannot be reached"):
        locate("acme/reader")
    with pytest.raises(UserError, match="hub cannot be reached"):
        locate("acme/reader@" + 40 * "a")
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:  # takes connections and never answers
        point_client_at(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path / "other", monkeypatch)
        monkeypatch.setattr("destila.models.hub.CONTACT_SECONDS", 0.5)
        with pytest.raises(UserError, match=r"no local directory, and the hub cannot be reached.*give its directory"):
            locate("acme/reader")
    with pytest.raises(UserError, match="hub cannot be reached"):  # now nobody listens there
        locate("acme/reader")
    assert time.monotonic() - started < 4


def names_of_the_hub() -> set[str]:
    """What the settings files that come with the package train or compare."""
    files = [path.read_text(encoding="utf-8") for path in (Path(__file__).parents[2] / "configs").rglob("*.toml")]
    names = {name for text in files for name in re.findall(r'^name = "([^"]+)"$', text, re.MULTILINE)}
    return {name for name in names if "/" in name and not name.startswith(("runs/", "models/"))}


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("name", sorted({*names_of_the_hub(), "intfloat/multilingual-e5-small"}))
def test_where_a_name_that_is_ours_has_vanished_another_is_named(name: str) -> None:
    with pytest.raises(UserError, match="no such model that you may see") as caught:
        locate(name)
    second = re.search(r"Or take (\S+) in its place", str(caught.value))
    assert second
    assert second[1] != name


def test_what_is_not_there_is_named(hub: FakeHub, readers: list[Path], tmp_path: Path) -> None:
    commit = hub.add("acme/reader", readers[0])
    hub.add("acme/secret", readers[0], private=True)
    with pytest.raises(UserError, match="no such model that you may see"):
        locate("acme/nothing")
    with pytest.raises(UserError, match="has no revision 'v9' on the hub"):
        locate("acme/reader@v9")
    with pytest.raises(UserError, match="names another revision than"):
        locate(f"acme/reader@{commit}", "main")
    with pytest.raises(UserError, match="is not a directory"):
        locate("acme/reader/weights")
    with pytest.raises(UserError, match="log in first"):
        locate("acme/secret")
    log_in(tmp_path / "home")
    assert locate("acme/secret").commit


def test_pickles_are_refused(hub: FakeHub, tmp_path: Path) -> None:
    directory = tiny_reader(tmp_path / "old")
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    hub.add("acme/old", directory)
    with pytest.raises(UserError, match=r"only pytorch_model\.bin, which can run code and is never fetched"):
        Reader.load("acme/old")
    assert "pytorch_model.bin" not in hub.fetched()


def test_code_in_a_repository_is_never_run(hub: FakeHub, tmp_path: Path) -> None:
    directory = tiny_reader(tmp_path / "evil")
    config = json.loads((directory / "config.json").read_text())
    names = {"AutoConfig": "evil.Config", "AutoModelForQuestionAnswering": "evil.Model"}
    (directory / "config.json").write_text(json.dumps({**config, "model_type": "evil", "auto_map": names}))
    (directory / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    hub.add("acme/evil", directory)
    with pytest.raises(UserError):
        Reader.load("acme/evil")
    assert "evil.py" not in hub.fetched()
    assert not (tmp_path / "ran").exists()


def test_a_directory_of_that_name_wins(
    hub: FakeHub, readers: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_reader(tmp_path / "acme" / "reader", metadata=WINDOW)
    assert locate("acme/reader").commit is None
    assert not hub.requests


def test_without_the_client_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'destila\[hub\]'"):
        locate("acme/reader")


def test_an_exported_reader_answers_from_the_hub_in_a_fresh_process_without_torch(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from destila.cli import export
    from destila.config import ExportSettings
    from destila.config.loader import resolve

    source = tiny_reader(tmp_path / "source", metadata=WINDOW)
    export.run(resolve(ExportSettings, {"model": str(source), "output": str(tmp_path / "onnx")}))
    (tmp_path / "text.txt").write_text(TEXTS[0], encoding="utf-8")
    with serving() as hub:
        commit = hub.add("acme/fast", tmp_path / "onnx", private=True)
        environment = {**os.environ, **client_environment(hub, tmp_path / "home"), "HF_TOKEN": TOKEN}
        code = "import sys; from destila.cli.main import main; sys.modules['torch'] = None; main()"
        command = ["answer", "¿Quién fundó Lima?", "--context", "text.txt", "--json", "--model", "acme/fast@main"]
        found = subprocess.run(
            [sys.executable, "-c", code, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    expected = Reader.load(tmp_path / "onnx").answer("¿Quién fundó Lima?", TEXTS[0])
    assert json.loads(found.stdout)["answers"][0]["text"] == expected.text
    assert commit in found.stderr


def test_training_notes_the_commit_and_resumes_with_it(
    hub: FakeHub, readers: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from destila.cli.main import dispatch

    monkeypatch.chdir(Path(__file__).parents[2])
    first = hub.add("acme/teacher", readers[0])
    run = tmp_path / "student"
    flags = [
        "--teacher.name",
        "acme/teacher",
        "--output",
        str(run),
        "--training.steps",
        "4",
        "--student.shape.layers",
        "1",
    ]
    command = ["distill", "--config", "configs/tiny/distill.toml", *flags]
    with pytest.raises(SystemExit):
        dispatch([*command, "--stop-after-seconds", "0.001"])
    assert json.loads((run / "run.json").read_text())["source"]["commits"] == {"acme/teacher": first}
    second = hub.add("acme/teacher", readers[1])
    hub.requests.clear()
    dispatch([*command, "--resume"])
    assert not hub.requests, "the commit is in the cache; nobody asks what the branch says now"
    noted = json.loads((run / "destila.json").read_text())["source"]["commits"]
    assert noted == {"acme/teacher": first} != {"acme/teacher": second}
    card = (run / "README.md").read_text(encoding="utf-8")
    assert f"`acme/teacher@{first}`" in card
    assert "base_model:\n- acme/teacher" in card


# ---------------------------------------------------------------------------------------------------- no cache
def test_a_cache_that_cannot_be_written_costs_a_line(
    hub: FakeHub,
    readers: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    commit = hub.add("acme/reader", readers[0])
    (tmp_path / "file").write_text("I am no directory")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    for name in ("acme/reader", f"acme/reader@{commit}"):
        reader = Reader.load(name)
        assert reader.name == f"acme/reader@{commit}"
        assert answers(reader) == answers(Reader.load(readers[0]))
    assert sum("a temporary directory takes its place" in record.message for record in caplog.records) == 1


def test_a_wrong_name_suggests_a_directory(
    hub: FakeHub, readers: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "student").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no such model that you may see; did you mean runs/student\?"):
        locate("runs/studnet")
