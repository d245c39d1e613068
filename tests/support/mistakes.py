"""A good data file, and the command line as a user meets it: exit code, stdout and stderr."""

import sys
from typing import Any

import pytest

from destila.cli.main import main

GOOD: dict[str, Any] = {
    "version": "1.1",
    "data": [
        {
            "title": "Lima",
            "paragraphs": [
                {
                    "context": "Lima se fundó en 1535.",
                    "qas": [{"id": "a", "question": "¿Cuándo?", "answers": [{"text": "1535", "answer_start": 17}]}],
                }
            ],
        }
    ],
}


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["destila", *arguments])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    capsys.readouterr()
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err
