"""Settings files, flags, and mistakes in both."""

from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import get_type_hints

import pytest
from pydantic import TypeAdapter

import destila.config
from destila.cli.verbs import VERBS, settings_class
from destila.config import (
    DataAugmentSettings,
    DistillSettings,
    EvaluateSettings,
    FinetuneSettings,
    LossSettings,
    PretrainSettings,
    loader,
)
from destila.config.bundled import bundled, find_config
from destila.config.flags import help_texts, parse_arguments
from destila.config.loader import leaves, read_toml, resolve, to_toml
from destila.core.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"


def test_every_shipped_config_resolves() -> None:
    paths = sorted(CONFIGS.rglob("*.toml"))
    assert len(paths) >= 8
    for path in paths:
        values = read_toml(str(path))
        own = {"text": PretrainSettings, "model": FinetuneSettings, "variation": DataAugmentSettings}
        kind = next((own[table] for table in own if table in values), DistillSettings)
        resolve(kind, values, where=str(path))
        assert path.read_text(encoding="utf-8").startswith("# "), f"{path} does not open by saying what it is"


NAMES = [
    "paper",
    "best",
    "general",
    "baselines/beto",
    "baselines/multilingual-bert",
    "baselines/student-alone",
    "reader/others",
    "reader/quickstart",
    "reader/inside",
    "reader/student",
    "reader/teacher",
    "reader/typed",
    "reader/varied",
    "reader/raw-text/pretrain",
    "reader/raw-text/teacher",
    "reader/raw-text/reader",
    "reader/raw-text/pretrain-cpu",
    "reader/raw-text/pretrain-cpu-asking",
    "reader/raw-text/pretrain-cpu-grown",
    "reader/raw-text/student-alone-cpu",
    "reader/raw-text/teacher-cpu",
    "reader/raw-text/reader-cpu",
    "tiny/distill",
    "tiny/finetune",
    "tiny/pretrain",
]


def test_bundled_configurations_are_found_by_name_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert set(bundled()) == set(NAMES)
    assert [find_config(name).relative_to(CONFIGS) for name in ("paper", "baselines/beto")] == [
        Path("paper/paper.toml"),
        Path("baselines/beto.toml"),
    ]
    paper = parse_arguments(DistillSettings, ["--config", "paper"], command="destila distill")
    assert paper == resolve(DistillSettings, read_toml(str(CONFIGS / "paper" / "paper.toml")))
    (tmp_path / "paper").write_text('output = "mine"')
    assert read_toml("paper") == {"output": "mine"}, "a file here comes first"
    assert find_config("paper.toml") == Path("paper.toml"), "with its ending it is a path"


@pytest.mark.parametrize("name", ["papr", "baselines/betto", "tiny", "reader", "/nowhere/paper", "../paper", ""])
def test_an_unknown_configuration_lists_those_that_there_are(name: str) -> None:
    with pytest.raises(UserError, match="neither a file nor the name of a bundled") as caught:
        read_toml(name)
    assert "best, general, paper" in str(caught.value)
    assert "baselines/beto" in str(caught.value)


def test_a_wheel_carries_the_configurations() -> None:
    """The folder that pyproject.toml names is the one that the package looks in."""
    import tomllib

    from destila.config.bundled import PACKAGED

    project = tomllib.loads((CONFIGS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    source = CONFIGS.parent / "src"
    assert {source / target: CONFIGS.parent / name for name, target in included.items()} == {PACKAGED: CONFIGS}


def test_paper_config_has_the_papers_hyper_parameters() -> None:
    paper = resolve(DistillSettings, read_toml(str(CONFIGS / "paper" / "paper.toml")))
    shape, training = paper.student.shape, paper.training
    assert (shape.layers, shape.heads, shape.hidden, shape.feed_forward) == (6, 16, 512, 3072)
    assert (training.learning_rate, training.adam_epsilon, training.weight_decay) == (3e-5, 1e-8, 0.01)
    assert (training.warmup, training.batch_size, training.clip, training.epochs) == (0.2, 32, 1.0, 100)
    assert (paper.window.length, paper.window.stride) == (384, 128)
    weights = LossSettings(task=1, soft=1, hidden=1, attention=1, temperature=1, layer_map="uniform")
    assert paper.loss == replace(weights, projections="shared")


def test_later_files_and_flags_win(tmp_path: Path) -> None:
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text('output = "x"\n[training]\nseed = 3\nepochs = 5\n')
    second.write_text("[training]\nseed = 4\n")
    arguments = [
        "--config",
        str(first),
        "--config",
        str(second),
        "--training.epochs",
        "7",
        "--loss.layer_map",
        "[2, 4]",
    ]
    settings = parse_arguments(DistillSettings, arguments, command="destila distill")
    assert (settings.output, settings.training.seed, settings.training.epochs) == ("x", 4, 7.0)
    assert settings.loss.layer_map == [2, 4]


def test_flags_may_be_repeated_and_switched() -> None:
    arguments = ["--model", "a", "--model", "b", "--json", "--repair", "false", "--revision", "none"]
    settings = parse_arguments(EvaluateSettings, arguments, command="destila evaluate")
    assert settings.model == ["a", "b"]
    assert settings.json
    assert not settings.repair
    assert settings.revision is None


def test_all_mistakes_are_reported_at_once_with_the_nearest_key(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[training]\nlearning_rate = "fast"\nepoch = 3\n[student.shape]\nhidden = 100\n[los]\ntask = 1\n')
    with pytest.raises(UserError) as caught:
        parse_arguments(
            DistillSettings, ["--config", str(path), "--training.bath_size", "3"], command="destila distill"
        )
    message = str(caught.value)
    assert "--training.bath_size: no such flag; did you mean --training.batch_size?" in message
    assert "training.epoch: no such setting; did you mean training.epochs?" in message
    assert "training.learning_rate = 'fast'" in message
    assert "hidden (100) is not a multiple of heads (16)" in message
    assert "los" in message
    assert str(path) in message


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--training.warmup", "1.5"], "training.warmup = '1.5'"),
        (["--training.precision", "fp8"], "training.precision = 'fp8'"),
        (["--training.batch_size", "0"], "training.batch_size = '0'"),
        (["--loss.layer_map", "middle"], "loss.layer_map"),
        (["--training.learning_rate", "nan"], "training.learning_rate = 'nan': input should be a finite number"),
        (["--training.epochs", "inf"], "training.epochs = 'inf': input should be a finite number"),
        (["--loss.task", "1e999"], "loss.task = '1e999': input should be a finite number"),
        (["stray"], "unexpected argument 'stray'"),
        (["--training.seed"], "--training.seed"),
    ],
)
def test_illegal_values_are_named(flags: list[str], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_arguments(DistillSettings, flags, command="destila distill")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"a = = 1", "is not TOML"), (b"\xff\xfe", "is not UTF-8"), (None, "does not exist")],
)
def test_unreadable_files_are_named(tmp_path: Path, content: bytes | None, expected: str) -> None:
    path = tmp_path / "bad.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=expected):
        read_toml(str(path))


def test_settings_survive_the_way_through_toml(tmp_path: Path) -> None:
    settings = parse_arguments(
        DistillSettings,
        ["--output", 'odd "name"\\', "--loss.layer_map", "[1, 2]", "--data.train", "a", "--data.train", "b"],
        command="destila distill",
    )
    path = tmp_path / "settings.toml"
    path.write_text(to_toml(settings), encoding="utf-8")
    assert resolve(DistillSettings, read_toml(str(path))) == settings


def test_every_setting_of_every_command_has_help() -> None:
    for verb, line in VERBS.items():
        assert line
        cls = settings_class(verb)
        assert cls.__doc__
        names = {name.partition(".")[0] for name, _ in leaves(cls)}
        assert names <= set(help_texts(cls)), f"{verb}: {names - set(help_texts(cls))} has no help"


VALUES = ["", "a", "auto", "onnx", "true", "false", "True", "1", "0", "-1", "007", "1.0", "1_0", " 1", "\u0663", "none"]
OTHERS = [None, True, False, 0, 1, -1, 99, 100, 10**12, 1.0, [], ["a"], {}, {"length": 16}]


def test_what_is_read_without_pydantic_is_what_pydantic_reads() -> None:
    """`resolve` leaves pydantic out where it can: one setting of every kind with any value beside those required."""
    checked = 0
    for verb in VERBS:
        cls = settings_class(verb)
        adapter = TypeAdapter(cls)
        required = {each.name: "x" for each in fields(cls) if each.default is each.default_factory is MISSING}
        for setting in get_type_hints(cls):
            for value in VALUES + OTHERS:
                values = required | {setting: value}
                found = loader._plain(cls, values)
                if found is not None:
                    checked += 1
                    assert found == adapter.validate_python(values), values
    assert checked > 500


def test_usual_settings_are_read_without_pydantic() -> None:
    """What `destila answer` reads; the import of pydantic would cost it a tenth of its memory."""
    window = {"length": 320, "stride": 40, "max_answer_tokens": 30}
    assert loader._plain(destila.config.WindowSettings, window) == destila.config.WindowSettings(**window)
    assert loader._plain(destila.config.WindowSettings, window | {"length": 15}) is None
    answer = {"question": "¿Quién?", "context": "-", "model": "x", "json": "true", "threads": "1", "top_k": "3"}
    found = loader._plain(destila.config.AnswerSettings, answer)
    assert found is not None
    assert (found.question, found.model, found.json, found.threads, found.top_k) == ("¿Quién?", "x", True, 1, 3)
