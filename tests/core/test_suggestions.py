"""Guesses at misspelled names: whole names, of the kind that was meant, and none where nothing is alike."""

from pathlib import Path

import pytest

from destila.cli.main import dispatch
from destila.cli.verbs import VERBS
from destila.config.bundled import bundled
from destila.core.errors import UserError
from destila.core.suggestions import nearest, nearest_path
from destila.data.sources import SOURCES, resolve
from destila.models.hub import locate


@pytest.mark.parametrize(
    ("key", "known", "meant"),
    [
        ("sqa", ["xquad-es", "sqac/dev", "sqac"], "sqac"),  # the shortest that it begins
        ("PAPER", ["best", "paper"], "paper"),
        ("[traning]", ["[student.shape]", "[training]"], "[training]"),
        ("my.txt", ["squad-es-v1.1/train", "sqac/dev"], ""),
        ("model.1", ["squad-es-v1.1", "sqac"], ""),  # what stands behind a dot means something in settings only
        ("zzz", ["alpha", "beta"], ""),
        ("a", ["alpha", "beta"], ""),
        ("", ["alpha"], ""),
        ("alpha", [], ""),
    ],
)
def test_the_name_that_is_most_like_it(key: str, known: list[str], meant: str) -> None:
    assert nearest(key, known) == (f"; did you mean {meant}?" if meant else "")


def test_a_setting_in_the_wrong_table_is_found_by_its_last_part() -> None:
    known = ["training.epochs", "training.batch_size", "model.dropout"]
    assert nearest("student.batch_size", known, dotted=True) == "; did you mean training.batch_size?"
    assert nearest("epoch", known, dotted=True) == "; did you mean training.epochs?"
    assert nearest("zzz.zzz", known, dotted=True) == ""


@pytest.mark.parametrize("name", [*VERBS, *bundled(), *(source.key for source in SOURCES)])
def test_a_name_that_lacks_a_letter_is_found_wherever_names_are_known(name: str) -> None:
    for known in (list(VERBS), list(bundled()), [source.key for source in SOURCES]):
        for place in range(1, len(name)):
            found = nearest(name[:place] + name[place + 1 :], known)
            assert found in ["", *(f"; did you mean {one}?" for one in known)], "a part of a name"
            if name in known:
                assert found


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("readr", "reader"),
        ("Reader", "reader"),
        ("reader/", ""),
        ("./readr/", "reader"),
        ("runs/studnet", "runs/student"),
        ("rus/student", "runs"),
        ("data.jsn", "data.json"),
        ("nothing-like-it", ""),
        ("", ""),
    ],
)
def test_what_lies_where_a_path_should(wrong: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/student").mkdir(parents=True)
    Path("reader").mkdir()
    Path("data.json").touch()
    expected = f"; did you mean {meant}?" if meant else ""
    assert nearest_path(wrong) == expected
    assert nearest_path(tmp_path / "readr") == f"; did you mean {tmp_path / 'reader'}?"
    assert nearest_path("data.jso", directories=True) == ""


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("distil",), "distill"),
        (("anwser",), "answer"),
        (("data", "fech"), "data fetch"),
        (("evaluate", "--data", "squad-es"), "Did you mean squad-es-v1.1?"),
        (("evaluate", "--data", "sqac/devv"), "Did you mean sqac/dev?"),
        (("evaluate", "--data", "questions.jsn"), "Did you mean questions.json?"),
        (("distill", "--config", "papr"), "did you mean paper?"),
        (("distill", "--config", "baselines/bet"), "did you mean baselines/beto?"),
        (("distill", "--config", "mine.tom"), "did you mean mine.toml?"),
        (("distill", "--config", "mien.toml"), "did you mean mine.toml?"),
        (("finetune", "--batch-size", "3"), "--batch-size: no such flag; did you mean --training.batch_size?"),
        (("answer", "--top-kk=3"), "--top-kk=3: no such flag; did you mean --top-k?"),
        (("answer", "¿Q?", "--context", "text.txt", "--model", "./readr"), "did you mean reader?"),
        (("card", "readr"), "did you mean reader?"),
        (("report", "./readr", "--data", "questions.json"), "did you mean reader?"),
    ],
)
def test_the_command_line_suggests(
    arguments: tuple[str, ...], meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("reader").mkdir()
    Path("mine.toml").write_text("[training]\nsteps = 3\n")
    Path("text.txt").write_text("Lima se fundó en 1535.")
    Path("questions.json").write_text("{}")
    with pytest.raises(UserError) as caught:
        dispatch(arguments)
    assert meant in str(caught.value)


def test_the_value_of_a_flag_that_there_is_not_is_no_second_mistake() -> None:
    with pytest.raises(UserError) as caught:
        dispatch(["finetune", "--batch-size", "3", "--epochs", "2", "stray"])
    assert "3 problems" in str(caught.value)
    assert "unexpected argument 'stray'" in str(caught.value)
    assert "'3'" not in str(caught.value)


def test_data_and_models_are_looked_for_by_one_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("preguntas.json").touch()
    Path("lector").mkdir()
    with pytest.raises(UserError, match=r"Did you mean preguntas\.json\?"):
        resolve("pregunta.json")
    with pytest.raises(UserError, match=r"is not a directory; did you mean lector\?"):
        locate("./letcor")
