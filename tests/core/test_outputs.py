"""Names of outputs: a file where a file is meant, a directory where a directory is."""

from pathlib import Path

import pytest

from destila.core.errors import UserError
from destila.core.outputs import check_directory, check_file


@pytest.mark.parametrize("name", ["", None, "new", "new.json", "there.txt", "no/such/place.html", "v1.2"])
def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.txt").write_text("mine")
    check_file("--output", name)
    check_file("--output", name and Path(name))


@pytest.mark.parametrize("name", ["folder", "folder/", "new/", "new.json/", "folder.json", "."])
def test_a_directory_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("folder", "folder.json"):
        Path(folder).mkdir()
    with pytest.raises(UserError, match=r"directory\. Give --output a file"):
        check_file("--output", name)


@pytest.mark.parametrize(
    "name", ["", None, "new", "new/", "v1.2", "run-0.5", "folder", "folder.json", "new.json/", "."]
)
def test_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("folder", "folder.json"):  # whoever has one meant it
        Path(folder).mkdir()
    check_directory("--output", name)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("there", "is not a directory"),
        ("there.json", "is not a directory"),
        ("report.html", r"is named like a file \(.html\)"),
        ("runs/student/model.SAFETENSORS", r"is named like a file \(.safetensors\)"),
        ("model.onnx", r"is named like a file \(.onnx\)"),
        ("out.json", r"is named like a file \(.json\)"),
    ],
)
def test_a_file_is_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, problem: str) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("there", "there.json"):
        Path(file).write_text("mine")
    with pytest.raises(UserError, match=problem):
        check_directory("--output", name)
