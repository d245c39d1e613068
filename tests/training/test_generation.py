"""Questions about a folder: from a real server that misbehaves, through kills, without a key ever on the disk."""

import json
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import destila
import forked
from destila import UserError
from destila.config import GeneratorSettings
from destila.data.generation.endpoint import _seconds, api_key
from destila.data.generation.prompts import KINDS, SCHEMA
from destila.data.squad import read
from destila.training import question_filters as filters
from language_model import USAGE, LanguageModel
from museums import KEY, RECORDED, TOWNS, generate, on_disk, reply, text, write_folder

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DESTILA_API_KEY", KEY)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # texts that took it would never arrive
    write_folder(tmp_path / "folder")
    return tmp_path


@pytest.fixture
def served() -> Iterator[Callable[..., LanguageModel]]:
    open_ones = []

    def start(*given: Any, **more: Any) -> LanguageModel:
        context = LanguageModel(*given, **more).serving()
        open_ones.append(context)
        return context.__enter__()

    yield start
    for context in open_ones:
        context.__exit__(None, None, None)


# ---------------------------------------------------------------------------------------------------- a good server
def test_questions_of_a_server_are_filtered_written_and_paid_for_once(
    served: Callable[..., LanguageModel], place: Path
) -> None:
    model = served(RECORDED, delay=0.05)
    made = generate(model, generator={"parallel": 3, "price_in": 2.0, "price_out": 10.0})
    examples, counts = read(Path("out.json"), repair=False)
    assert (made.questions, made.answerable, made.drafts, made.passages) == (40, 30, 60, 10)
    assert made.left_out == {filters.NOT_THERE: 10, filters.TOO_EASY: 10}
    assert (made.faults, len(examples), counts.problems) == ({}, 40, {})
    assert {example.title for example in examples} == {f"{town}.txt" for town in TOWNS}
    assert model.most_at_once == 3
    assert (made.tokens_in, made.tokens_out) == (10 * USAGE["prompt_tokens"], 10 * USAGE["completion_tokens"])
    assert made.price == pytest.approx((7000 * 2 + 900 * 10) / 1e6)
    first = Path("out.json").read_bytes()
    again = generate(served(RECORDED), output="again.json")  # at another address: the cache knows no addresses
    assert Path("again.json").read_bytes() == first
    assert (again.tokens_in, len(model.requests)) == (0, 10)
    assert sorted(path.name for path in place.iterdir()) == ["again.json", "cache", "folder", "out.json"]


def test_what_a_server_is_sent(served: Callable[..., LanguageModel]) -> None:
    model = served(RECORDED)
    generate(model)
    for request in model.requests:
        body = request["body"]
        assert request["path"] == "/v1/chat/completions"
        assert request["headers"]["Authorization"] == f"Bearer {KEY}"
        assert KEY not in json.dumps(body)
        assert body["response_format"]["json_schema"]["schema"] == SCHEMA
        assert all(kind in body["messages"][1]["content"] for kind in KINDS)
        assert (body["model"], body["max_tokens"]) == ("recorded", GeneratorSettings().max_tokens)


@pytest.mark.parametrize("refused", [["400"], ["400", "422"]])
def test_a_server_that_knows_fewer_options_is_asked_with_fewer(
    refused: list[str], served: Callable[..., LanguageModel]
) -> None:
    model = served(RECORDED, dict.fromkeys(list(RECORDED)[:1], refused))
    made = generate(model, generator={"parallel": 1})
    assert (made.questions, made.faults) == (40, {})
    shapes = [sorted(set(request["body"]) - {"model", "messages"}) for request in model.requests]
    assert shapes[0] == ["max_tokens", "response_format", "temperature"]
    assert shapes[len(refused)] == (["max_completion_tokens", "response_format"], ["max_tokens"])[len(refused) - 1]
    assert all(shape == shapes[len(refused)] for shape in shapes[len(refused) :])  # it has learned


# ---------------------------------------------------------------------------------------------------- a bad server
@pytest.mark.parametrize(
    "fault", ["hang", "drip", "half", "html", "no_text", "no_choices", "deep", "429", "500", "503"]
)
def test_what_goes_wrong_once_costs_an_attempt(fault: str, served: Callable[..., LanguageModel], place: Path) -> None:
    model = served(RECORDED, {list(RECORDED)[3]: [fault]})
    made = generate(model)
    assert (made.questions, made.faults) == (40, {})
    assert len(model.requests) == 11
    assert KEY.encode() not in on_disk(place)


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("hang", "timeout"),
        ("half", "no connection, or one that was cut"),
        ("html", "a reply that is no chat completion"),
        ("no JSON", "a reply that is not the JSON asked for"),
        ("500", "HTTP 500"),
        ("429", "HTTP 429"),
        ("redirect", "HTTP 302"),
        ("418", "HTTP 418"),
    ],
)
def test_what_goes_wrong_for_good_costs_a_line(
    fault: str, name: str, served: Callable[..., LanguageModel], place: Path
) -> None:
    pieces = [list(RECORDED)[2], list(RECORDED)[9]]  # the last one, too: nothing comes after it
    model = served(RECORDED, {piece: [fault] * 9 for piece in pieces})
    made = generate(model, generator={"attempts": 2})
    assert (made.questions, made.faults) == (32, {name: 2})
    assert KEY.encode() not in on_disk(place)
    model.faults = {}
    made = generate(model, output="again.json")  # what failed is asked again, and nothing else
    expected = (32, {name: 2}) if fault == "no JSON" else (40, {})  # a whole reply was paid for, whatever it says
    assert (made.questions, made.faults) == expected
    assert made.tokens_in == (0 if fault == "no JSON" else 2 * USAGE["prompt_tokens"])


def test_the_server_says_how_long_to_wait(served: Callable[..., LanguageModel]) -> None:
    model = served(RECORDED, {next(iter(RECORDED)): ["wait 1"]})
    started = time.monotonic()
    assert generate(model).faults == {}
    assert time.monotonic() - started > 1
    assert _seconds("3") == 3
    assert _seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert [_seconds(text) for text in ("", "soon", "-1", "٣", "1e9")] == [0] * 5


@pytest.mark.parametrize("status", ["401", "403", "404"])
def test_what_fails_for_every_request_ends_the_run(status: str, served: Callable[..., LanguageModel]) -> None:
    model = served(RECORDED, {piece: [status] * 9 for piece in RECORDED})
    with pytest.raises(UserError, match=f"HTTP {status}") as error:
        generate(model)
    assert KEY not in str(error.value)
    assert not Path("out.json").exists()


def test_a_server_that_never_works_ends_the_run_and_one_that_is_mended_goes_on(
    served: Callable[..., LanguageModel], place: Path
) -> None:
    broken = {piece: ["500"] * 99 for piece in list(RECORDED)[2:]}
    model = served(RECORDED, broken)
    # Two replies came; then twenty failures in a row would be needed, and there are eight.
    assert generate(model, generator={"attempts": 1}).faults == {"HTTP 500": 8}
    silent = served(RECORDED, {piece: ["500"] * 99 for piece in RECORDED})
    with pytest.raises(UserError, match="5 passages in a row have no questions, the last for this: HTTP 500"):
        generate(silent, output="next.json", generator={"attempts": 1, "model": "other"})
    silent.faults = {}
    made = generate(silent, output="next.json", generator={"model": "other"})
    assert (made.questions, made.faults) == (40, {}), "those that failed in a row were asked again"


def test_no_server_is_an_error(place: Path) -> None:
    generator = {"url": "http://127.0.0.1:9/v1", "model": "m", "attempts": 2, "wait": 0.01}
    with pytest.raises(UserError, match="no connection"):
        destila.generate("folder", "out.json", generator=generator, cache="cache")


# ---------------------------------------------------------------------------------------------------- the key
def test_the_key_is_never_on_the_disk_in_logs_or_in_results(
    served: Callable[..., LanguageModel], place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = {piece: [fault] * 9 for piece, fault in zip(RECORDED, ["echo", "500", "half", "429"], strict=False)}
    with caplog.at_level("DEBUG"):
        made = generate(served(RECORDED, plan), generator={"attempts": 2})
    assert b"***" in on_disk(place), "the server's echo of the key was kept without it"
    assert KEY.encode() not in on_disk(place)
    assert KEY not in caplog.text + repr(made)


@pytest.mark.parametrize(
    ("environment", "key"),
    [
        ({}, ""),
        ({"OPENAI_API_KEY": " b \n"}, "b"),
        ({"DESTILA_API_KEY": "a", "OPENAI_API_KEY": "b"}, "a"),
        ({"DESTILA_API_KEY": "", "OPENAI_API_KEY": "b"}, "b"),
    ],
)
def test_where_the_key_comes_from(environment: dict[str, str], key: str) -> None:
    assert api_key(environment) == key


@pytest.mark.parametrize("key", ["sk-a\nb", "sk-ñ", "sk\0a"])
def test_a_key_that_no_header_can_hold_is_refused_untold(key: str) -> None:
    with pytest.raises(UserError, match="holds characters that no key has") as error:
        api_key({"OPENAI_API_KEY": key})
    assert key not in str(error.value)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("127.0.0.1:8080", "is '127.0.0.1:8080'"),
        ("ftp://host/v1", "is 'ftp"),
        ("http://host:port/v1", "is 'http://host:port"),
        (f"http://user:{KEY}@host/v1", "holds more than an address"),
        (f"http://host/v1?api-key={KEY}", "holds more than an address"),
    ],
)
def test_addresses_that_are_none(url: str, problem: str) -> None:
    with pytest.raises(UserError, match=re.escape(problem)) as error:
        destila.generate("folder", "out.json", generator={"url": url, "model": "m"}, cache="cache")
    assert KEY not in str(error.value)
    with pytest.raises(UserError, match=r"generator.model: is empty"):
        destila.generate("folder", "out.json", generator={"url": "http://host/v1"}, cache="cache")
    with pytest.raises(UserError, match=r"generator.url: is empty"):
        destila.generate("folder", "out.json", generator={"model": "m"}, cache="cache")


# ---------------------------------------------------------------------------------------------------- kills
def test_kills_lose_nothing_and_ask_nothing_twice(place: Path) -> None:
    server = place / "server"
    server.mkdir()
    (server / "plan.json").write_text(json.dumps({"recorded": RECORDED, "delay": 0.15}), encoding="utf-8")
    process = subprocess.Popen([sys.executable, str(SUPPORT / "language_model.py"), str(server)])
    try:
        while not (server / "port").exists():
            assert process.poll() is None
            time.sleep(0.01)
        url = f"http://127.0.0.1:{(server / 'port').read_text()}/v1"
        flags = ["--generator.url", url, "--generator.model", "recorded", "--generator.parallel", "1"]
        flags += [
            "--filters.agreement",
            "0",
            "--filters.question_word",
            "1",
            "--filters.answer_length",
            "1",
            "--cache",
            "cache",
        ]
        command = ["data", "generate", "folder", "--output", "out.json", *flags]
        log, chance = server / "requests.jsonl", random.Random(3)
        for _ in range(3):
            before = len(log.read_text().splitlines()) if log.exists() else 0
            running = forked.start(*command)
            while not log.exists() or len(log.read_text().splitlines()) < before + 2:
                assert running.poll() is None
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.1))
            running.send_signal(signal.SIGKILL)
            assert running.wait().returncode == -signal.SIGKILL
        assert not Path("out.json").exists()
        done = forked.finish(*command)
        assert "out.json: 40 questions, 30 of them answerable" in done.stdout
        asked = Counter(log.read_text().splitlines())
        # A reply that was on its way when the process died cannot be kept: one for each kill, with one request at once.
        assert sum(asked.values()) - len(asked) <= 3
        assert len(asked) == len(TOWNS)
        assert KEY.encode() not in on_disk(place)
        forked.finish(*command, "--output", "whole.json")
        assert Path("whole.json").read_bytes() == Path("out.json").read_bytes()
        assert sum(Counter(log.read_text().splitlines()).values()) == sum(asked.values()), "all came from the cache"
    finally:
        process.kill()
        process.wait()
    assert sorted(path.name for path in place.iterdir()) == ["cache", "folder", "out.json", "server", "whole.json"]


def test_an_output_that_was_begun_from_other_documents_is_refused(
    served: Callable[..., LanguageModel], place: Path
) -> None:
    silent = served(RECORDED, {piece: ["500"] * 99 for piece in RECORDED})
    with pytest.raises(UserError):
        generate(silent, generator={"attempts": 1})
    (place / "folder" / "otro.txt").write_text(text("Otro", 50), encoding="utf-8")
    with pytest.raises(UserError, match="was begun with another documents"):
        generate(served({**RECORDED, "museo de Otro ": reply("Otro", 50)}))
    made = generate(served({**RECORDED, "museo de Otro ": reply("Otro", 50)}), overwrite=True)
    assert made.questions == 44
    with pytest.raises(UserError, match="exists already"):
        generate(None)
