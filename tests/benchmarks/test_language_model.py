"""A language model and a reader are asked the same, over a real socket, and scored by the same rules."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from destila.core.errors import UserError
from destila.core.records import Answer, Example
from destila.data import squad
from language_model import LanguageModel
from scripts import load_script

pytest.importorskip("httpx")
CONTEXT = "Lima fue fundada por Francisco Pizarro en 1535. El puerto del Callao queda a 15 km."
GOLD = {"¿Quién fundó Lima?": "Francisco Pizarro", "¿Cuándo se fundó?": "1535", "¿Qué puerto hay cerca?": "Callao"}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("benchmarks/language_model.py")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    examples = [
        Example(f"q{number}", question, CONTEXT, (Answer.at(CONTEXT, start, start + len(text)),), title="Lima")
        for number, (question, text) in enumerate(GOLD.items())
        for start in [CONTEXT.index(text)]
    ]
    squad.save([*examples, Example("none", "¿Quién la destruyó?", CONTEXT)], tmp_path / "data.json")
    return tmp_path / "data.json"


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, url: str, data: Path) -> None:
    arguments = ["--url", url, "--model", "small", "--data", str(data), "--shots", str(data), "--shot-count", "2"]
    monkeypatch.setattr(sys, "argv", ["language_model.py", *arguments])
    script.main()


def test_both_are_scored_on_the_questions_that_have_an_answer(
    script: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Right in quotation marks; right, but not a piece of the text; wrong, and said at length.
    replies = ["«Francisco Pizarro»\nporque así lo dice el texto.", "en el año 1535", ""]
    with LanguageModel(dict(zip(GOLD, replies, strict=True))).serving() as server:
        run(script, monkeypatch, server.url, data)
    row, reader = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert (row["peer"], row["n"], reader["n"]) == ("small", 3, 3)
    assert row["squad"]["em"] == pytest.approx(100 / 3)
    assert row["squad"]["f1"] == pytest.approx(100 * (1 + 2 * (1 / 4) / (1 + 1 / 4)) / 3)  # 1 of 4 words is right
    assert reader["literal"] == 1.0
    assert row["literal"] == pytest.approx(2 / 3)  # the second is none; nothing at all stands in every text
    asked = server.requests[0]["body"]["messages"]
    assert [message["role"] for message in asked] == ["system", *["user", "assistant"] * 2, "user"]
    assert all(message["content"] in GOLD.values() for message in asked if message["role"] == "assistant")
    assert CONTEXT in asked[-1]["content"]


def test_a_server_that_fails_ends_the_run_in_one_line(
    script: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = {next(iter(GOLD)): ["500"]}
    failing = LanguageModel(dict.fromkeys(GOLD, "1535"), faults).serving()
    with failing as server, pytest.raises(UserError, match="gives no answer"):
        run(script, monkeypatch, server.url, data)
    with pytest.raises(UserError, match="gives no answer"):
        run(script, monkeypatch, "http://127.0.0.1:9/v1", data)  # where nothing listens; a freed port may be another's
