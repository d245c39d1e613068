"""`destila data check`, `fetch` and `convert`, end to end."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from destila.cli.main import dispatch
from destila.core.errors import UserError
from destila.data.sources import SOURCES
from destila.data.squad import read

CONTEXT = "Lima fue fundada en 1535 por Francisco Pizarro."
ANSWERS = [[("Lima", 0)], [("", -1), ("1535 ", 20), ("1535", 20)], [("Pizarr", 39)], [("Cuzco", 0)]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four questions: one good, one with a void and a spaced answer, one with half a word, one without hope."""
    questions = [
        {"id": str(n), "question": "¿Qué?", "answers": [{"text": text, "answer_start": at} for text, at in answers]}
        for n, answers in enumerate(ANSWERS)
    ]
    path = tmp_path / "es.json"
    document = {"data": [{"title": "Lima", "paragraphs": [{"context": CONTEXT, "qas": questions}]}]}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def last_line(text: str) -> Any:
    return json.loads(text.splitlines()[-1])


def destila(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "destila", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=60)


def test_check_reports_before_and_after(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dispatch(["data", "check", str(data), "--json"])
    assert last_line(capsys.readouterr().out) == {
        "files": [
            {
                "file": str(data),
                "before": {"examples": 4, "answerable": 4, "unanswerable": 0, "unlabeled": 0, "answers": 6},
                "after": {"examples": 3, "answerable": 3, "unanswerable": 0, "unlabeled": 0, "answers": 3},
                "problems": {"void": 1, "absent": 1, "unanswered": 1, "spaces": 1, "cut": 1, "duplicate": 1},
                "kept": 2,
                "mended": 1,
                "merged": 1,
                "dropped": 2,
                "unit": "characters",
            }
        ]
    }
    dispatch(["data", "check", str(data)])
    out = capsys.readouterr().out
    assert "{" not in out
    assert "  questions                4             3\n" in out
    assert "  answers: 2 kept, 1 mended, 1 merged, 2 dropped\n" in out
    assert "1 void            answers that are empty" in out


def test_check_json_prints_the_object_alone(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dispatch(["data", "check", str(data), str(data), "--json"])
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert [entry["file"] for entry in json.loads(out)["files"]] == [str(data), str(data)]


def test_check_names_every_file_that_cannot_be_read(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut.json").write_text('{"data": [', encoding="utf-8")
    with pytest.raises(UserError) as caught:
        dispatch(["data", "check", str(data), str(tmp_path / "cut.json"), str(tmp_path / "none.json")])
    assert "2 files cannot be read" in str(caught.value)
    assert "cut.json: is not JSON: Expecting value at line 1, column 11" in str(caught.value)
    assert "none.json: no such file" in str(caught.value)
    assert capsys.readouterr().out == ""
    with pytest.raises(UserError, match="no file is given"):
        dispatch(["data", "check"])


@pytest.mark.parametrize("ending", ["json", "jsonl", "parquet"])
def test_convert_repairs_when_asked(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    target = tmp_path / "out" / f"es.{ending}"
    with pytest.raises(UserError, match="2 of 6 answers do not match their context; 1 of 4 questions cannot be used"):
        dispatch(["data", "convert", str(data), str(target)])
    assert not target.exists()
    dispatch(["data", "convert", str(data), str(target), "--repair", "--json"])
    assert last_line(capsys.readouterr().out)["files"][0]["target"] == str(target)
    examples, counts = read(target, repair=False)
    assert [answer.text for example in examples for answer in example.answers] == ["Lima", "1535", "Pizarro"]
    assert counts.problems == {}


def test_convert_replaces_only_when_asked(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "es.jsonl"
    target.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="exists already"):
        dispatch(["data", "convert", str(data), str(target), "--repair"])
    assert target.read_text(encoding="utf-8") == "mine"
    dispatch(["data", "convert", str(data), str(target), "--repair", "--overwrite"])
    assert len(read(target, repair=False)[0]) == 3
    with pytest.raises(UserError, match="unknown ending"):
        dispatch(["data", "convert", str(data), str(tmp_path / "es.csv"), "--repair"])


def test_fetch_reports_what_is_in_the_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # No digest of this file is published, so a file put there by hand is taken as it is.
    path = tmp_path / "sqac" / "test.json"
    path.parent.mkdir()
    path.write_text("{}", encoding="utf-8")
    dispatch(["data", "fetch", "sqac/test", "--cache", str(tmp_path), "--json"])
    (entry,) = last_line(capsys.readouterr().out)["files"]
    assert entry["path"] == str(path)
    assert (entry["name"], entry["bytes"], entry["license"]) == ("sqac/test", 2, "CC BY-SA 4.0")
    assert entry["sha256"] == (tmp_path / "sqac" / "test.json.sha256").read_text(encoding="utf-8").strip()
    path.write_text("{ }", encoding="utf-8")
    with pytest.raises(UserError, match="was expected"):
        dispatch(["data", "fetch", "sqac/test", "--cache", str(tmp_path)])


def test_fetch_refuses_a_wrong_file_and_unknown_names(tmp_path: Path) -> None:
    path = tmp_path / "xquad-es" / "test.json"
    path.parent.mkdir()
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="Delete it and fetch it again"):
        dispatch(["data", "fetch", "xquad-es", "--cache", str(tmp_path)])
    with pytest.raises(UserError, match=r"no data set of that name\. Did you mean xquad-es\?"):
        dispatch(["data", "fetch", "xquad", "--cache", str(tmp_path)])


def test_mistakes_leave_with_code_2_and_without_traceback(data: Path, tmp_path: Path) -> None:
    done = destila("data", "convert", data, tmp_path / "es.jsonl")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"destila: {data}: 2 of 6 answers do not match their context")
    assert "Traceback" not in done.stderr
    path = tmp_path / "surrogate.jsonl"
    path.write_text('{"id": "\\ud83d", "question": "a", "context": "b"}', encoding="utf-8")
    done = destila("data", "check", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "unpaired surrogate" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_from_the_shell(data: Path) -> None:
    done = destila("data", "check", data, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert last_line(done.stdout)["files"][0]["after"]["examples"] == 3


def test_every_source_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    for source in SOURCES:
        assert f"`{source.key}`" in text
        assert source.address in text
        assert source.sha256 is None or source.sha256 in text


def test_augment_writes_more_questions_and_replaces_only_when_asked(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "more.json"
    command = ["data", "augment", str(data), "--output", str(output), "--variation.copies", "2"]
    dispatch([*command, "--json"])
    said = last_line(capsys.readouterr().out)
    made = read(output, repair=False)[0]
    assert said["questions"] == len(made) <= 2 * said["from"]
    with pytest.raises(UserError, match="exists already"):
        dispatch(command)
    dispatch([*command, "--overwrite"])
    assert read(output, repair=False)[0] == made  # the same seed
    with pytest.raises(UserError, match="unknown ending"):
        dispatch(["data", "augment", str(data), "--output", str(tmp_path / "more.txt")])


def test_augment_needs_labels(tmp_path: Path) -> None:
    asked = tmp_path / "asked.jsonl"
    asked.write_text('{"id": "1", "question": "¿Qué?", "context": "Nada."}\n', encoding="utf-8")
    with pytest.raises(UserError, match="has no labeled question"):
        dispatch(["data", "augment", str(asked), "--output", str(tmp_path / "more.json")])
    with pytest.raises(UserError, match="no file"):
        dispatch(["data", "augment", "--output", str(tmp_path / "more.json")])
    with pytest.raises(UserError, match="no file is named to write to"):
        dispatch(["data", "augment", str(asked)])
