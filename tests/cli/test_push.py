"""Pushing to a hub over HTTP with the real client: what goes there, what never does, and what is refused."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from destila import Reader, UserError
from destila.cli.main import dispatch
from destila.core.model_files import torch_weights
from destila.core.records import Example
from destila.models.files import load_reader, save_reader
from destila.reporting.card import write_card
from destila.reporting.publish import without_paths
from destila.reporting.snippets import CONTEXT, QUESTION
from fake_hub import FakeHub, client_environment, log_in, point_client_at, serving
from finished_run import METADATA, run_directory
from tiny import tiny_reader

READER_FILES = {"README.md", "destila.json", "config.json", "model.safetensors", "tokenizer.json"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving() as hub:
        point_client_at(hub.address, tmp_path / "home", monkeypatch)
        yield hub


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run, full of things that must stay here."""
    path = run_directory(tmp_path / "secret-place" / "run", train=[str(tmp_path / "secret-place" / "train.json")])
    write_card(path)
    (path / "metrics.jsonl").write_text('{"step": 1}\n')
    for name in ("checkpoints/step-00000001/state.pt", "tensorboard/events", "predictions.json", "server.log", ".env"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("¿Qué tengo? Un secreto.")
    return path


def pushed(hub: FakeHub, name: str) -> dict[str, bytes]:
    repository = hub.repositories[name]
    return repository.commits[repository.refs["main"]]


def test_a_run_becomes_a_private_repository_that_answers_the_same(
    hub: FakeHub, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log_in(tmp_path / "home")
    dispatch(["push", str(run), "acme/reader", "--yes", "--json"])
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert hub.repositories["acme/reader"].private
    files = pushed(hub, "acme/reader")
    assert set(files) == READER_FILES | {".gitattributes"}
    assert found["commit"] == hub.repositories["acme/reader"].refs["main"]
    assert found["files"] == {name: len(files[name]) for name in READER_FILES}
    assert files["model.safetensors"] == (run / "model.safetensors").read_bytes()
    assert b"secret" not in b"".join(files.values()), "no path and no text of the user's"
    assert b'Reader.load("acme/reader")' in files["README.md"]
    assert "acme/reader (private): 5 files" in said.err
    local, remote = Reader.load(run), Reader.load(f"acme/reader@{found['commit']}")
    assert remote.answer(QUESTION, CONTEXT) == local.answer(QUESTION, CONTEXT)
    dispatch(["push", str(run), "acme/reader", "--yes"])
    assert pushed(hub, "acme/reader") == files, "a second time changes nothing"


def test_weights_in_shards_go_with_their_index_and_answer_the_same(hub: FakeHub, run: Path, tmp_path: Path) -> None:
    log_in(tmp_path / "home")
    sharded = tmp_path / "sharded"
    shutil.copytree(run, sharded)
    (sharded / "model.safetensors").unlink()
    loaded = load_reader(str(run))
    save_reader(loaded.model, loaded.tokenizer, loaded.metadata, sharded, shard_size="40KB")
    weights = {path.name for path in torch_weights(sharded)}
    assert len(weights) > 2
    dispatch(["push", str(sharded), "acme/sharded", "--yes"])
    assert set(pushed(hub, "acme/sharded")) == (READER_FILES - {"model.safetensors"}) | weights | {
        ".gitattributes",
        "tokenizer_config.json",
    }
    assert Reader.load("acme/sharded").answer(QUESTION, CONTEXT) == Reader.load(run).answer(QUESTION, CONTEXT)


def test_a_dry_run_shows_all_and_asks_nobody(hub: FakeHub, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dispatch(["push", str(run), "acme/reader", "--dry-run", "--json"])
    said = capsys.readouterr()
    assert json.loads(said.out)["commit"] is None
    for name in READER_FILES:
        assert re.search(rf"{re.escape(name)} +[\d,]+ bytes", said.err)
    assert "## Intended use" in said.err, "the card, too"
    assert not hub.requests


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["y\n", "sí\n", "n\n", "\n", ""])
def test_it_asks_first(hub: FakeHub, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    log_in(tmp_path / "home")
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    if answer.strip() in ("y", "sí"):
        dispatch(["push", str(run), "acme/reader"])
        assert "acme/reader" in hub.repositories
    else:
        with pytest.raises(UserError, match="called off"):
            dispatch(["push", str(run), "acme/reader"])
        assert not hub.requests
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(UserError, match="--yes"):
        dispatch(["push", str(run), "acme/other"])


@pytest.mark.parametrize("status", ["running", "interrupted", "diverged"])
def test_a_run_that_has_not_finished_is_refused(hub: FakeHub, run: Path, tmp_path: Path, status: str) -> None:
    log_in(tmp_path / "home")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"status": status}))
    (run / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=rf"(?s)not finished \({status}\).*no tokenizer.json"):
        dispatch(["push", str(run), "acme/reader", "--yes"])
    assert not hub.requests


def test_a_broken_card_is_refused_before_and_by_the_hub(hub: FakeHub, run: Path, tmp_path: Path) -> None:
    log_in(tmp_path / "home")
    card = run / "README.md"
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace("license: other", "license: [other"), encoding="utf-8")
    with pytest.raises(UserError, match="metadata cannot be read"):
        dispatch(["push", str(run), "acme/reader", "--yes"])
    assert not hub.requests
    card.write_text(text.replace("license: other", "license: my-own"), encoding="utf-8")
    with pytest.raises(UserError, match="license must be one of the hub's"):
        dispatch(["push", str(run), "acme/reader", "--yes"])
    assert set(pushed(hub, "acme/reader")) == {".gitattributes"}, "nothing was uploaded"
    card.unlink()
    with pytest.raises(UserError, match="write one with destila card"):
        dispatch(["push", str(run), "acme/reader", "--yes"])


def test_only_who_is_logged_in_may_push(hub: FakeHub, run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not logged in"):
        dispatch(["push", str(run), "acme/reader", "--yes"])
    assert not hub.requests
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text("hf_stale")
    with pytest.raises(UserError, match=r"the hub refuses \(401: Invalid username"):
        dispatch(["push", str(run), "acme/reader", "--yes"])
    log_in(tmp_path / "home")
    with pytest.raises(UserError, match=r"the hub refuses \(403: You have no rights"):
        dispatch(["push", str(run), "others/reader", "--yes"])
    with pytest.raises(UserError, match="is no name of a repository"):
        dispatch(["push", str(run), "acme/reader/", "--yes"])


def test_what_exists_keeps_its_visibility(hub: FakeHub, run: Path, tmp_path: Path) -> None:
    log_in(tmp_path / "home")
    hub.add("acme/open", run)
    with pytest.raises(UserError, match=r"exists and is public.*--private false"):
        dispatch(["push", str(run), "acme/open", "--yes"])
    dispatch(["push", str(run), "acme/open", "--yes", "--private", "false"])
    assert b"acme/open" in pushed(hub, "acme/open")["README.md"]
    dispatch(["push", str(run), "acme/reader", "--yes", "--private", "false"])
    assert not hub.repositories["acme/reader"].private


def test_a_hub_that_is_down_is_said(hub: FakeHub, run: Path, tmp_path: Path) -> None:
    log_in(tmp_path / "home")
    hub.broken = True
    with pytest.raises(UserError, match="hub cannot be reached"):
        dispatch(["push", str(run), "acme/reader", "--yes"])


def test_paths_leave_the_metadata_and_names_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "teacher").mkdir()
    before = {
        "teacher": "runs/teacher",
        "deep": [{"data": ["/home/ana/train.json", "sqac/train", "../x/dev.json"], "model": "acme/reader"}],
        "threshold": 0.5,
    }
    after = without_paths(before)
    assert after["teacher"] == "teacher"
    assert after["deep"] == [{"data": ["train.json", "sqac/train", "dev.json"], "model": "acme/reader"}]
    assert after["threshold"] == 0.5


def best_span(directory: Path, *, longest: int) -> str:
    """The most probable span, by a plain search over what the reader's network says."""
    reader = Reader.load(directory)
    (window,) = reader.builder.build([Example("x", QUESTION, CONTEXT)])
    (starts, ends) = (side[0][window.context_start : window.context_end] for side in reader.logits([window]))
    spans = [(start, end) for start in range(len(starts)) for end in range(start, min(start + longest, len(starts)))]
    start, end = max(spans, key=lambda span: np.float32(starts[span[0]]) + np.float32(ends[span[1]]))
    return CONTEXT[window.offsets[start][0] : window.offsets[end][1]]


RUN_BLOCKS = """
import json, sys, io, contextlib
printed = []
for program in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(program, "card", "exec"), {})
    printed.append(out.getvalue().strip())
print(json.dumps(printed))
"""


def test_the_programs_of_the_cards_run_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    roberta = tiny_reader(tmp_path / "roberta", metadata=METADATA)
    loaded, bert = load_reader(str(tiny_reader(tmp_path / "old", "bert"))), tmp_path / "bert"
    bert.mkdir()
    save_reader(loaded.model, loaded.tokenizer, METADATA, bert)
    export = tmp_path / "onnx"  # where the card's export command writes
    dispatch(["export", "--model", str(roberta), "--output", str(export)])
    programs = []
    with serving() as hub:
        log_in(tmp_path / "home")
        point_client_at(hub.address, tmp_path / "home", monkeypatch)
        for directory in (roberta, bert):
            write_card(directory)
        for directory in (roberta, bert, export):
            dispatch(["push", str(directory), f"acme/{directory.name}", "--yes"])
            card = pushed(hub, f"acme/{directory.name}")["README.md"].decode()
            programs.append(re.findall(r"```python\n(.*?)```", card, re.S))
        assert [len(blocks) for blocks in programs] == [3, 3, 2]
        found = subprocess.run(
            [sys.executable, "-c", RUN_BLOCKS],
            input=json.dumps([*programs[0], *programs[1][:2], *programs[2]]),
            env={**os.environ, **client_environment(hub, tmp_path / "home")},
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        )
    printed = json.loads(found.stdout.splitlines()[-1])
    spans = {directory: best_span(directory, longest=10) for directory in (roberta, bert)}
    assert printed[1] == printed[2] == printed[6] == spans[roberta]
    assert printed[4] == spans[bert]
    for place, directory in ((0, roberta), (3, bert), (5, export)):
        answer = Reader.load(directory).answer(QUESTION, CONTEXT)
        assert printed[place].startswith(f"{answer.text} {answer.start} {answer.end} ")
