"""What verbs print: text for people, with --json JSON alone; and each message of an export once."""

import contextlib
import json
import logging
import sys
from pathlib import Path

import pytest

import spanish
from destila.cli.main import dispatch
from destila.cli.result import only_results, show
from destila.cli.verbs import VERBS
from destila.core.progress import on_stderr
from destila.data.squad import save
from destila.export.quantize import quiet
from destila.reporting.card import write_card
from finished_run import METADATA, run_directory
from half_right import half_right
from tiny import TEXTS, tiny_examples, tiny_reader

for name in ("onnxscript", "openvino"):
    pytest.importorskip(name)
CONFIGS = Path(__file__).parents[2] / "configs" / "tiny"
TRAINED = "--data.train {data} --data.dev {data} --training.steps 2 --output {out}"
GENERATED = "--cache {cache} --filters.overlap 1 --filters.agreement 0 --output {out}"
MEASURED = "--model {reader} --lengths 64 --rounds 1 --threads 1"

# (verb, arguments); a verb may stand here several times, and each stands here at least once.
COMMANDS = [
    ("data check", "{data} {data}"),
    ("data fetch", "sqac/test --cache {cache}"),
    ("data convert", "{data} {out}.jsonl"),
    ("data augment", "{data} --output {out}.json --variation.copies 1"),
    (
        "data generate",
        "{text} --output {out}.json --max-passages 3 --cache {cache} --filters.overlap 1",
    ),
    ("annotate", "--output {data} --agreement {data}"),
    ("pretrain", "--config {configs}/pretrain.toml --text.files {text} --training.steps 2 --output {out}"),
    ("finetune", "--config {configs}/finetune.toml --model.name {reader} " + TRAINED),
    ("distill", "--config {configs}/distill.toml --teacher.name {reader} " + TRAINED),
    ("adapt", "{text} --model {reader} --teacher {teacher} --dev {data} --steps 1 --max-passages 8 " + GENERATED),
    ("trim", "{reader} --data {data} --output {out}"),
    ("evaluate", "--model {reader} --data {data} --resamples 100"),
    ("calibrate", "{reader} --data {half}"),
    ("certify", "{reader} --data {data} --write false"),
    ("export", "--model {reader} --output {out} --format openvino"),
    ("report", "{reader} --data {data} --output {out} --resamples 100"),
    ("card", "{run}"),
    ("push", "{run} acme/reader --dry-run"),
    ("bench", MEASURED + " --batch 1 --cold false"),
    ("bench", MEASURED + " --data {data} --pareto"),
    ("answer", "¿Quién? --context {text}/leyes-00.txt --model {reader}"),
    ("answer", "¿Quién? --context {text} --model {reader} --folder.cache {out}"),
    ("answer", "--input {lines} --output {out} --model {reader}"),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the commands read."""
    root = tmp_path_factory.mktemp("places")
    names = ("data", "cache", "text", "reader", "teacher", "run", "lines")
    found = {name: root / name for name in names} | {"configs": CONFIGS}
    found |= {name: root / f"{name}.json" for name in ("data", "half")}
    save(tiny_examples(), found["data"])
    for name in ("cache/sqac", "text"):
        (root / name).mkdir(parents=True)
    (root / "cache" / "sqac" / "test.json").write_text("{}", encoding="utf-8")
    (found["text"] / "leyes-00.txt").write_text(spanish.text(1, documents=12), encoding="utf-8")
    tiny_reader(found["reader"], metadata=METADATA)
    tiny_reader(found["teacher"], seed=1)
    write_card(run_directory(found["run"], train=["train.json"]))
    save(half_right(found["reader"]), found["half"])
    found["lines"].write_text(json.dumps({"question": "¿Quién?", "context": TEXTS[0]}), encoding="utf-8")
    return found


def is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def test_every_verb_is_tried() -> None:
    assert {verb for verb, _ in COMMANDS} == VERBS.keys() - {"serve", "mcp"}


@pytest.mark.parametrize(("verb", "arguments"), COMMANDS)
def test_people_get_text_and_programs_json(
    verb: str,
    arguments: str,
    places: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = []
    for name, flags in (("people", []), ("programs", ["--json"])):
        given = [part.format(**places, out=tmp_path / name) for part in arguments.split()]
        capfd.readouterr()
        with contextlib.suppress(*[SystemExit] * (verb == "adapt")):  # one step is no gain, and it leaves with 1
            dispatch([*verb.split(), *given, *flags])
        printed.append(capfd.readouterr().out.splitlines())
    people, programs = printed
    assert people
    assert not [line for line in people if is_object(line)]
    assert all(map(is_object, programs))
    assert len(programs) == 1, "no stages here"


def test_each_message_of_an_export_is_said_once(
    places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = METADATA | {"window": {"length": 384, "stride": 8, "max_answer_tokens": 10}}
    reader, root, handler = tiny_reader(tmp_path / "reader", metadata=metadata), logging.getLogger(), None
    try:
        root.addHandler(handler := logging.StreamHandler(sys.stderr))  # as a library does
        flags = ["--precision", "int8", "--data", str(places["data"]), "--max-loss", "100"]
        dispatch(["export", "--model", str(reader), "--output", str(tmp_path / "out"), *flags])
    finally:
        root.removeHandler(handler)
    said = [line for line in capsys.readouterr().err.splitlines() if line]
    assert sum("windows of 128 tokens, because" in line for line in said) == 1
    assert len(said) == len(set(said)) == 2
    assert "int8, default: F1" in said[1]


def test_messages_go_to_other_loggers_again_afterwards() -> None:
    logger = logging.getLogger("destila")
    with on_stderr():
        assert not logger.propagate
    assert logger.propagate


def test_quiet_in_quiet_is_quiet_to_its_end() -> None:
    before = logging.root.manager.disable
    with quiet():
        with quiet():
            pass
        assert not logging.getLogger("nncf").isEnabledFor(logging.INFO)
    assert logging.root.manager.disable == before


def test_what_libraries_print_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with only_results():
        print("* Trackio project initialized")
    show({"run": "a"}, "a is done", json=True)
    show({"run": "a"}, "a is done", json=False)
    assert capsys.readouterr() == ('{"run": "a"}\na is done\n', "* Trackio project initialized\n")
