"""`destila annotate`: a process that is killed, the folder and the questions it begins with, two people, mistakes."""

import json
import signal
import socket
import threading

import pytest

from annotating import PASSAGES, SUGGESTIONS
from destila.cli import annotate
from destila.cli.main import dispatch
from destila.core.errors import UserError
from destila.data.annotation import Annotation
from destila.data.squad import read, save
from destila.serving.annotating import PATH
from museums import TOWNS, write_folder
from serving import JSON, process, request

GENERATED = ["--filters.agreement", "0", "--filters.overlap", "1", "--max-passages", "4", "--per-passage", "5"]
GENERATED += ["--cache", "cache"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(SUGGESTIONS, tmp_path / "suggestions.json")
    return tmp_path


def test_sigkill_under_load_loses_no_step_that_was_answered(place):
    answered, enough = [], threading.Event()
    with process("--suggestions", "suggestions.json", "--output", "out.json", verb="annotate") as (server, port, _):
        key = request(port, path=PATH)[2]["passages"][0]["key"]

        def client():
            for revision in range(10_000):
                fields = {"passage": key, "start": 0, "end": 4, "text": "Lima"}
                body = {"revision": revision, "action": "accept", "question": f"¿{revision}?", **fields}
                try:
                    status, _, content = request(port, "POST", PATH, json.dumps(body).encode(), JSON)
                except (OSError, ValueError):
                    return
                assert status == 200
                answered.append(content["changed"])
                if len(answered) > 20:
                    enough.set()

        thread = threading.Thread(target=client)
        thread.start()
        assert enough.wait(30)
        server.send_signal(signal.SIGKILL)
        thread.join(20)
    kept = [example.id for example in read(place / "out.json", repair=False)[0]]
    assert kept[: len(answered)] == answered
    assert len(kept) - len(answered) in (0, 1)  # one may have been written and not answered
    again = Annotation(place / "out.json", PASSAGES, SUGGESTIONS)
    assert again.revision == len(kept)


@pytest.fixture
def served(monkeypatch):
    """What was to be served."""
    found = []
    monkeypatch.setattr(annotate, "serve_annotation", lambda annotation, **_: found.append(annotation))
    return found


def test_a_folder_brings_its_passages_and_questions_are_made_once(served, place, monkeypatch):
    write_folder(place / "folder")
    dispatch(["annotate", "folder", "--output", "out.json", *GENERATED])
    made = read(place / "out.suggestions.json", repair=False)[0]
    assert 4 < len(made) == len(served[0].suggestions)
    assert {passage.title.removesuffix(".txt") for passage in served[0].passages.values()} < {*TOWNS}
    assert len(served[0].passages) == 4
    assert not (place / "out.json").exists()
    monkeypatch.setattr(annotate, "make_questions", None)  # it would fail
    dispatch(["annotate", "folder", "--output", "out.json", *GENERATED])
    assert served[1].suggestions == served[0].suggestions
    dispatch(["annotate", "folder", "--output", "mine.json", "--suggest", "false", *GENERATED])
    assert (len(served[2].passages), served[2].suggestions) == (4, {})


def test_where_no_question_is_left_a_person_writes_them(served, place, capsys):
    write_folder(place / "folder")
    dispatch(["annotate", "folder", "--output", "out.json", *GENERATED, "--filters.overlap", "0"])
    assert "no question is left" in capsys.readouterr().err
    assert (len(served[0].passages), served[0].suggestions) == (4, {})


def test_two_people_are_compared(place, capsys):
    one, other = Annotation(place / "a.json", [], SUGGESTIONS), Annotation(place / "b.json", [], SUGGESTIONS)
    for revision, name in enumerate(one.suggestions):
        one.decide(name, one.suggestions[name], revision=revision)
        changed = "alcalde" if name == "quién" else name
        marked = other.suggestions["quién"] if changed != name else other.suggestions[name]
        other.decide(name, marked, revision=revision)
    other.decide("nace", "rejected", revision=4)
    dispatch(["annotate", "--output", "a.json", "--agreement", "b.json"])
    text = capsys.readouterr().out
    assert text.startswith("3 questions in both files; 1 stand in a.json only, 0 in b.json only")
    dispatch(["annotate", "--output", "a.json", "--agreement", "b.json", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["exact"], found["kappa"], found["differing"]) == (3, 100.0, 1.0, [])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "no file is named to write to"),
        (["--output", "out.json"], "no folder is named"),
        (["--output", "out.txt", "folder"], r"out.txt: is no file of SQuAD JSON"),
        (["--output", ".", "folder"], "is no file of SQuAD JSON"),
        (["--output", "suggestions.json", "folder"], "did not write it"),
        (["--output", "out.json", "nowhere"], "nowhere"),
        (["--output", "out.json", "--suggestions", "away.json"], "away.json: does not exist"),
        (["--output", "out.json", "--suggestions", "suggestions.json", "--port", "TAKEN"], "cannot be listened at"),
        (["--output", "suggestions.json", "--agreement", "away.json"], "away.json: does not exist"),
        (["--output", "suggestions.json", "--agreement", "other.json"], "has no question of suggestions.json"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(place, arguments, expected):
    save([example for example in SUGGESTIONS if example.id == "nace"], place / "other.json")
    save([example for example in SUGGESTIONS if example.id != "nace"], place / "suggestions.json")
    before = sorted(place.iterdir())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        filled = [argument.replace("TAKEN", str(taken.getsockname()[1])) for argument in arguments]
        with pytest.raises(UserError, match=expected):
            dispatch(["annotate", *filled])
    assert sorted(place.iterdir()) == before
