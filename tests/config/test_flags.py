"""Command lines: help that opens with what people change, flags as they were typed, and what is meant by a mistake."""

from pathlib import Path

import pytest

from destila.config import (
    AnswerSettings,
    DistillSettings,
    EvaluateSettings,
    FinetuneSettings,
    PretrainSettings,
)
from destila.config.flags import parse_arguments
from destila.config.loader import leaves, nearest
from destila.core.errors import UserError
from destila.data.sources import resolve


def help_of(cls: type, flag: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        parse_arguments(cls, [flag], command="destila verb")
    assert left.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("cls", [DistillSettings, FinetuneSettings, PretrainSettings])
def test_help_shows_ten_settings_and_help_all_the_rest(cls: type, capsys: pytest.CaptureFixture[str]) -> None:
    short, whole = (help_of(cls, flag, capsys) for flag in ("--help", "--help-all"))
    names = [name for name, _ in leaves(cls)]
    often: tuple[str, ...] = cls.OFTEN  # type: ignore[attr-defined]
    assert len(often) == len(set(often)) == 10
    assert set(often) <= set(names)
    places = [short.index(f"--{name}") for name in often]
    assert places == sorted(places)
    assert [name for name in names if f"--{name} " in short] == [name for name in names if name in often]
    assert f"--help-all shows all {len(names)} settings" in short
    flags = [f"--{name if '.' in name else name.replace('_', '-')}" for name in names]
    assert all(flag in whole for flag in flags)


def test_help_without_a_choice_of_settings_shows_all(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(AnswerSettings, "-h", capsys)
    assert all(f"--{name.replace('_', '-')}" in text for name in ("top_k", "model", "json"))
    assert "[QUESTION]" in text


def test_defaults_of_zero_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(help_of(FinetuneSettings, "--help-all", capsys).split())
    assert "0: follow `epochs`. (default: 0)" in text
    assert "0: none. (default: 0.0)" in text


@pytest.mark.parametrize("flag", ["--training.learning-rate", "--training.learning_rate"])
@pytest.mark.parametrize("join", ["=", None])
def test_dashes_and_underscores_are_the_same_and_errors_say_what_was_typed(flag: str, join: str | None) -> None:
    def arguments(value: str) -> list[str]:
        return [f"{flag}={value}"] if join else [flag, value]

    settings = parse_arguments(FinetuneSettings, arguments("1e-3"), command="destila finetune")
    assert settings.training.learning_rate == 1e-3
    with pytest.raises(UserError) as caught:
        parse_arguments(FinetuneSettings, arguments("fast"), command="destila finetune")
    assert f"{flag} = 'fast'" in str(caught.value)
    with pytest.raises(UserError, match=f"{flag}: expected one argument"):
        parse_arguments(FinetuneSettings, [flag], command="destila finetune")


def test_mistakes_in_a_file_are_named_as_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[training]\nlearning_rate = "fast"\n')
    with pytest.raises(UserError, match=r": training\.learning_rate = 'fast'"):
        parse_arguments(FinetuneSettings, ["--config", str(path)], command="destila finetune")


@pytest.mark.parametrize(
    ("cls", "argument", "expected"),
    [
        (EvaluateSettings, "dev.json", "unexpected argument 'dev.json'; did you mean --data dev.json?"),
        (FinetuneSettings, "train.jsonl", "unexpected argument 'train.jsonl'; did you mean --data train.jsonl?"),
        (DistillSettings, "best.toml", "unexpected argument 'best.toml'; did you mean --config best.toml?"),
        (EvaluateSettings, "stray", "unexpected argument 'stray'. Run"),
    ],
)
def test_an_unexpected_argument_is_called_that(cls: type, argument: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_arguments(cls, [argument], command="destila verb")
    assert expected in str(caught.value)


def test_a_table_has_a_flag_of_its_own() -> None:
    arguments = ["--teacher", "x", "--teacher.cache", "y", "--student=z", "--data", "a", "--data.train", "b"]
    settings = parse_arguments(DistillSettings, [*arguments, "--loss", "m:f"], command="destila distill")
    assert (settings.teacher.name, settings.teacher.cache, settings.student.name) == ("x", "y", "z")
    assert (settings.data.train, settings.loss.function) == (["a", "b"], "m:f")


def test_tables_in_a_file_may_be_texts_and_flags_lie_over_them(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('teacher = "x"\ndata = ["a", "b"]\n')
    arguments = ["--config", str(path), "--teacher.cache", "y"]
    settings = parse_arguments(DistillSettings, arguments, command="destila distill")
    assert (settings.teacher.name, settings.teacher.cache, settings.data.train) == ("x", "y", ["a", "b"])


@pytest.mark.parametrize(
    ("table", "meant"), [("traning", "training"), ("student.shap", "student.shape"), ("window2", "window")]
)
def test_a_misspelled_table_suggests_a_table(tmp_path: Path, table: str, meant: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(f"[{table}]\nepochs = 3\n")
    with pytest.raises(UserError, match=rf"\[{table}\]: no such table; did you mean \[{meant}\]\?"):
        parse_arguments(DistillSettings, ["--config", str(path)], command="destila distill")


def test_suggestions_are_whole_names() -> None:
    with pytest.raises(UserError, match=r"Did you mean squad-es-v1\.1\?"):
        resolve("squad-es")
    assert nearest("sqa", ["xquad-es", "sqac/dev", "sqac"]) == "; did you mean sqac?"
    assert nearest("epoch", ["training.epochs", "training.seed"]) == "; did you mean training.epochs?"
    assert nearest("zzz", ["alpha", "beta"]) == ""
