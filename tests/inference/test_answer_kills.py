"""Files of questions: what is left after kills at any moment."""

import json
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from destila.cli import answer as command
from destila.core import journal as journal_module
from destila.core.errors import UserError
from destila.core.journal import Journal
from destila.inference import jsonl
from destila.inference.reader import Reader
from questions_file import arguments, ask, write_questions
from serving import until
from tiny import TEXTS, tiny_reader


def test_three_kills_lose_and_repeat_nothing(model, places):
    write_questions(places[0], 3_000)
    process = [sys.executable, "-c", SLOW_ANSWER, *arguments(model, places)]
    chance = random.Random(7)
    for _ in range(3):
        with subprocess.Popen(process, stderr=subprocess.DEVNULL) as running:
            before = size(places[1])
            while size(places[1]) <= before:  # it is at work again
                assert running.poll() is None
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.3))
            running.send_signal(signal.SIGKILL)
        assert places[1].with_name("answers.jsonl.progress").exists()
    done = subprocess.run(process, capture_output=True, text=True, check=True)
    assert "going on after line" in done.stderr
    assert "3000 questions, 0 errors" in done.stdout
    results = [json.loads(line) for line in places[1].read_text(encoding="utf-8").splitlines()]
    assert [result["id"] for result in results] == list(range(3_000))
    for number in (0, 1_234, 2_999):
        assert results[number]["answers"][0]["text"] in TEXTS[number % 6]
    assert sorted(file.name for file in places[1].parent.iterdir()) == ["answers.jsonl", "questions.jsonl"]


# Pieces so small, and records so frequent, that a kill falls into every part of the work. Token ids stand in for the
# network's scores: loading torch five times would take longer than the test.
SLOW_ANSWER = """
import sys
from tokenizers import Tokenizer
from destila import Reader
from destila.cli import answer
from destila.cli.main import dispatch
from destila.config import WindowSettings
from destila.core import journal
from destila.inference import jsonl

class Ids:
    def logits(self, input_ids, attention_mask):
        return input_ids % 17.0, input_ids % 19.0

def load(settings):
    tokenizer = Tokenizer.from_file(f"{settings.model}/tokenizer.json")
    return Reader(Ids(), tokenizer, window=WindowSettings(64, 16, 10), pad_id=1)

jsonl.LINES_AT_ONCE, journal.RECORD_SECONDS, answer._load = 20, 0.05, load
dispatch(sys.argv[1:])
"""


def size(path):
    return path.stat().st_size if path.exists() else 0


class Killed(BaseException):
    """What a kill looks like from within."""


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 16), max_size=4), st.integers(0, 9))
def test_a_kill_at_any_write_or_record_is_mended(tmp_path_factory, kills, torn):
    """Eight blocks are written; each run dies in the middle of its n-th, with some bytes torn."""
    path = tmp_path_factory.mktemp("journal") / "out"
    blocks = [f"{number:02}\n".encode() for number in range(8)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_module, "RECORD_SECONDS", 0.0)
        for last in [*kills, None]:
            journal = Journal.open(path, {"input": "x"})
            first = journal.place.get("next", 0)
            assert path.read_bytes() == b"".join(blocks[:first])
            for number in range(first, 8):
                if last == number - first:
                    journal.close()
                    with open(path, "ab") as file:
                        file.write((blocks[number] * 3)[:torn])
                    break
                journal.append(blocks[number], {"next": number + 1})
            else:
                journal.finish()
                break
    assert path.read_bytes() == b"".join(blocks)
    assert [file.name for file in path.parent.iterdir()] == ["out"]


def test_a_signal_ends_after_the_piece_in_hand_and_the_same_command_goes_on(model, places):
    write_questions(places[0], 3_000)
    process = [sys.executable, "-c", SLOW_ANSWER, *arguments(model, places)]
    with subprocess.Popen(process, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        until(lambda: size(places[1]) or running.poll() is not None, 60)
        running.send_signal(signal.SIGTERM)
        said = running.communicate(timeout=60)[1]
    assert running.returncode == 128 + signal.SIGTERM
    stopped = int(
        re.search(r"stopped after line ([\d,]+) of 3,000; the same command goes on", said)[1].replace(",", "")
    )
    assert 0 < stopped < 3_000
    assert stopped % 20 == 0, "a piece is 20 lines"
    assert len(places[1].read_text().splitlines()) == stopped
    done = subprocess.run(process, capture_output=True, text=True, check=True)
    assert f"going on after line {stopped:,} of 3,000" in done.stderr
    results = [json.loads(line) for line in places[1].read_text(encoding="utf-8").splitlines()]
    assert [result["id"] for result in results] == list(range(3_000))


def unfinished(model, places, monkeypatch):
    """A run that was stopped after its first piece."""
    write_questions(places[0], 12)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(jsonl, "LINES_AT_ONCE", 4)
        patch.setattr(journal_module, "RECORD_SECONDS", 0.0)
        patch.setattr(Journal, "append", kill_after(1, Journal.append))
        ask(model, places)
    assert len(places[1].read_text().splitlines()) == 4


def kill_after(calls, function):
    left = iter(range(calls))

    def called(*arguments):
        if next(left, None) is None:
            raise Killed
        return function(*arguments)

    return called


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model, places: places[0].write_text(places[0].read_text() + "{}\n"), "another input"),
        (lambda model, places: (model / "destila.json").write_text("{}"), "another model"),
        (lambda model, places: places[1].write_text("short"), "has 5 bytes, and"),
        (lambda model, places: places[1].with_name("answers.jsonl.progress").write_text("[]"), "no record of progress"),
        (lambda model, places: ["--top-k", "2"], "another top_k"),
    ],
)
def test_what_changed_in_between_is_refused_and_nothing_is_touched(tmp_path, places, monkeypatch, change, message):
    window = {"length": 64, "stride": 16, "max_answer_tokens": 10}
    model = tiny_reader(tmp_path / "model", seed=3, metadata={"window": window})
    unfinished(str(model), places, monkeypatch)
    more = change(model, places)
    more = more if isinstance(more, list) else []
    before = places[1].read_bytes()
    with pytest.raises(UserError, match=message) as caught:
        ask(str(model), places, *more)
    assert "--overwrite" in caught.value.remedy
    assert places[1].read_bytes() == before
    assert len(ask(str(model), places, "--overwrite", *more)) in (12, 13)


def test_finished_answers_are_kept_unless_asked(model, places):
    write_questions(places[0], 3)
    assert len(ask(model, places)) == 3
    with pytest.raises(UserError, match="exists already and is finished"):
        ask(model, places)
    write_questions(places[0], 1)
    assert len(ask(model, places, "--overwrite")) == 1


def test_two_processes_do_not_write_one_file(tmp_path):
    first = Journal.open(tmp_path / "out", {})
    with pytest.raises(UserError, match="being written by another process"):
        Journal.open(tmp_path / "out", {})
    first.close()
    Journal.open(tmp_path / "out", {}).finish()


def test_a_broken_model_stops_and_what_was_answered_stays(model, places, monkeypatch):
    unfinished(model, places, monkeypatch)
    reader = Reader.load(model)
    with monkeypatch.context() as patch:
        patch.setattr(command, "_load", lambda settings: reader)
        patch.setattr(reader.model, "logits", lambda ids, mask: (ids * float("nan"), ids * 1.0))
        with pytest.raises(UserError, match="not finite"):
            ask(model, places)
    assert len(places[1].read_text().splitlines()) == 4
    assert [result["id"] for result in ask(model, places)] == list(range(12))
