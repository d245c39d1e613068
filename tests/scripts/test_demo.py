"""What the demo makes of its question and its text; the trainings in it are those of the commands."""

import os
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from destila.core.errors import UserError
from scripts import ROOT, load_script


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    return load_script("scripts/demo.py")


@pytest.mark.parametrize("question", ['¿Quién dijo "no"?', "¿Y l'Hospitalet? $HOME `ls` \\ *"])
def test_quotes_in_a_question_survive_make(tmp_path: Path, question: str) -> None:
    """`make demo` with a python that only prints the question that it was given."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\nprintf "%s" "$QUESTION" >"$SEEN"\n')
    python.chmod(0o755)
    (tmp_path / ".dev-installed").touch()
    environment = {**os.environ, "SEEN": str(tmp_path / "seen")}
    given = question.replace("$", "$$")  # a dollar is make's own
    command = ["make", "--no-print-directory", "demo", f"VENV={tmp_path}", f"QUESTION={given}"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    assert (tmp_path / "seen").read_text(encoding="utf-8") == question


def test_the_question_and_the_text_of_the_environment(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUESTION", '¿Quién dijo "no"?')
    monkeypatch.setenv("TEXT", str(tmp_path / "mine.txt"))
    (tmp_path / "mine.txt").write_text("Ana dijo que no.", encoding="utf-8")
    assert demo.asked() == ('¿Quién dijo "no"?', "Ana dijo que no.")
    monkeypatch.setenv("QUESTION", "")
    monkeypatch.setenv("TEXT", "")
    assert demo.asked() == (demo.QUESTION, demo.TEXT)


def test_a_text_that_cannot_be_read_is_one_clear_line(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "latin.txt").write_bytes("año".encode("latin-1"))
    for name, reason in (("missing.txt", "No such file"), ("latin.txt", "UTF-8"), (".", "directory")):
        monkeypatch.setenv("TEXT", str(tmp_path / name))
        with pytest.raises(UserError, match=reason):
            demo.asked()
