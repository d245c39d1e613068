"""What is said of a directory that holds no model, or not yet one."""

import json
from pathlib import Path

import pytest

from destila.core.errors import UserError
from destila.core.runs import Run
from destila.models.directory import require_directory, require_model
from tiny import tiny_reader


def unfinished(path: Path, settings: str, *, status: str = "interrupted", verb: str = "distill") -> Path:
    run = Run.create(path, settings_text=settings, seed=1, verb=verb)
    run.update(status=status)
    return path


def checkpoint(run: Path, name: str) -> None:
    (run / "checkpoints" / name).mkdir(parents=True)


@pytest.mark.parametrize(
    ("settings", "far"),
    [
        ("[training]\nsteps = 4000\nepochs = 3.0\nseconds = 0.0\n", "saved at step 1,200 of 4,000"),
        ("[training]\nsteps = 0\nepochs = 3.0\nseconds = 0.0\n", "saved at step 1,200 of a run of 3 epochs"),
        ("[training]\nsteps = 0\nepochs = 3.0\nseconds = 90.0\n", "saved at step 1,200 of a run of 90 seconds"),
        ("tokens = 5000\n[training]\nsteps = 0\nepochs = 3.0\n", "saved at step 1,200 of a run of 5,000 tokens"),
    ],
)
def test_an_unfinished_run_says_how_far_it_is_and_how_to_finish_it(settings: str, far: str, tmp_path: Path) -> None:
    run = unfinished(tmp_path / "run", settings)
    checkpoint(run, "step-00000600")
    checkpoint(run, "step-00001200")
    with pytest.raises(UserError) as caught:
        require_model(run)
    assert f"is a run that has not finished (interrupted; {far}" in str(caught.value)
    assert f"Finish it: destila distill --resume {run}." in str(caught.value)
    checkpoint(run, "best-00000800")
    with pytest.raises(UserError, match=r"its best model so far is .*best-00000800"):
        require_model(run)


def test_a_run_without_a_checkpoint_and_one_that_diverged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\(running; nothing is saved yet\)\. Finish it: destila pretrain --resume"):
        require_model(unfinished(tmp_path / "young", "", status="running", verb="pretrain"))
    with pytest.raises(UserError, match=r"\(diverged; nothing is saved yet\)\. Train again"):
        require_model(unfinished(tmp_path / "diverged", "", status="diverged"))


def test_an_old_record_names_no_verb(tmp_path: Path) -> None:
    run = unfinished(tmp_path / "run", "")
    record = json.loads((run / "run.json").read_text())
    del record["verb"]
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="destila VERB --resume"):
        require_model(run)


def test_a_finished_run_that_lost_a_file_is_not_called_unfinished(tmp_path: Path) -> None:
    run = unfinished(tmp_path / "run", "", status="finished")
    tiny_reader(run)
    require_model(run)
    (run / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"has no tokenizer\.json; expected config\.json, model\.safetensors"):
        require_model(run)


def test_models_below_a_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no model; expected .*\. Check the path"):
        require_model(tmp_path)
    tiny_reader(tmp_path / "student")
    with pytest.raises(UserError, match="There are models below it, such as student"):
        require_model(tmp_path)


def test_what_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "reader").mkdir()
    require_directory(tmp_path / "reader")
    with pytest.raises(UserError, match=r"is not a directory; did you mean .*/reader\?"):
        require_directory(tmp_path / "raeder")
