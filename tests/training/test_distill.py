"""What `distill` can do beyond the paper's recipe, from end to end at tiny size."""

import json
import os
from pathlib import Path

import pytest
import torch

from destila import Reader
from destila.cli.main import dispatch
from destila.config import DistillSettings
from destila.config.flags import parse_arguments
from destila.config.loader import read_toml, resolve
from destila.core.errors import UserError
from destila.data.squad import save
from destila.models.files import load_reader
from destila.training.stages import stages_to_do
from tiny import tiny_examples

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def in_the_project() -> None:
    os.chdir(ROOT)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "teacher"
    dispatch(["finetune", "--config", "configs/tiny/finetune.toml", "--output", str(path)])
    return path


def distill(teacher: Path, output: Path, *flags: str) -> list[dict[str, float]]:
    """The lines of metrics.jsonl of a run."""
    places = ["--teacher.name", str(teacher), "--teacher.cache", str(output.parent / "cache"), "--output", str(output)]
    dispatch(["distill", "--config", "configs/tiny/distill.toml", *places, *flags])
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def test_a_student_born_from_its_teacher(teacher: Path, tmp_path: Path) -> None:
    config = json.loads((teacher / "config.json").read_text())
    same = {"layers": "num_hidden_layers", "heads": "num_attention_heads"}
    same |= {"hidden": "hidden_size", "feed_forward": "intermediate_size"}
    shape = [flag for name, key in same.items() for flag in (f"--student.shape.{name}", str(config[key]))]
    flags = ["--student.initial", "teacher", "--student.dropout", "0", "--training.precision", "fp32"]
    exact = distill(teacher, tmp_path / "same", *flags, *shape)
    assert [exact[0][term] for term in ("soft", "hidden", "attention")] == pytest.approx([0, 0, 0], abs=1e-6)
    distill(teacher, tmp_path / "smaller", *flags)
    assert len(list((tmp_path / "cache").glob("importance-*.safetensors"))) == 1  # measured once for both shapes


def test_teachers_that_are_asked_once(teacher: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    finetune = ["finetune", "--config", "configs/tiny/finetune.toml", "--training.seed", "2"]
    tokenizer = ["--model.tokenizer", str(teacher)]
    dispatch([*finetune, *tokenizer, "--output", str(second)])
    logits_alone = ["--loss.hidden", "0", "--loss.attention", "0"]
    first = distill(teacher, tmp_path / "one", *logits_alone)
    assert len(list((tmp_path / "cache").glob("logits-*.npy"))) == 1
    again = distill(teacher, tmp_path / "again", *logits_alone)
    assert [line.get("soft") for line in first] == [line.get("soft") for line in again]
    both = distill(teacher, tmp_path / "both", *logits_alone, "--teacher.ensemble", str(second))
    assert len(list((tmp_path / "cache").glob("logits-*.npy"))) == 2
    assert both[0]["soft"] != first[0]["soft"]
    assert both[0]["task"] == first[0]["task"]
    with pytest.raises(UserError, match=r"teacher\.ensemble: can be averaged in a loss of logits alone"):
        distill(teacher, tmp_path / "no", "--teacher.ensemble", str(second))


STAGES = """
[[stages]]
name = "inside"
loss = { soft = 0.0, attention_error = "divergence" }
training = { steps = 4 }

[[stages]]
name = "answers"
loss = { hidden = 0.0, attention = 0.0, gold_discount = 0.5 }
training = { steps = 3, learning_rate = 5e-4 }
"""


def staged(teacher: Path, output: Path, *flags: str) -> list[dict[str, float]]:
    file = output.parent / "stages.toml"
    file.write_text(STAGES)
    return distill(teacher, output, "--config", str(file), *flags)


def status(path: Path) -> str:
    return json.loads((path / "run.json").read_text())["status"]


def test_stages_follow_one_another(teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = staged(teacher, tmp_path / "run", "--json")
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [report["steps"] for report in reports] == [4, 3]
    first = [json.loads(line) for line in (tmp_path / "run-inside" / "metrics.jsonl").read_text().splitlines()]
    assert {"task", "hidden", "attention"} <= set(first[0])
    assert "soft" not in first[0]
    assert {"task", "soft"} <= set(last[0])
    assert "hidden" not in last[0]
    assert any("dev_f1" in line for line in first)
    assert any("dev_f1" in line for line in last)
    # Each stage is a plain run: its own settings alone repeat it.
    alone = tmp_path / "alone"
    dispatch(["distill", "--config", str(tmp_path / "run" / "settings.toml"), "--output", str(alone)])
    names = ["model.safetensors", "tokenizer.json"]
    assert [(alone / name).read_bytes() for name in names] == [(tmp_path / "run" / name).read_bytes() for name in names]
    with pytest.raises(UserError, match="run-inside holds a run already"):
        staged(teacher, tmp_path / "run")


def test_stages_resume_where_they_were(teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = tmp_path / "whole"
    staged(teacher, whole)
    cut = tmp_path / "cut"
    with pytest.raises(SystemExit):
        staged(teacher, cut, "--stop-after-seconds", "0.001")
    assert status(tmp_path / "cut-inside") == "interrupted"
    assert not cut.exists()
    capsys.readouterr()
    staged(teacher, cut, "--resume", "--json")
    assert [json.loads(line)["steps"] for line in capsys.readouterr().out.splitlines()] == [4, 3]
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    staged(teacher, cut, "--resume", "--json")  # all is done: nothing is trained again
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert [json.loads(line)["steps"] for line in capsys.readouterr().out.splitlines()] == [3]


def test_mistakes_in_stages_come_before_training(teacher: Path, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(STAGES.replace("gold_discount", "gold_discont"))
    with pytest.raises(
        UserError, match=r"(?s)stage 'answers'.*loss.gold_discont: no such setting; did you mean loss.gold_discount"
    ):
        distill(teacher, tmp_path / "run", "--config", str(file))
    file.write_text(STAGES.replace('"answers"', '"inside"'))
    with pytest.raises(UserError, match="the name 'inside' stands twice"):
        distill(teacher, tmp_path / "run", "--config", str(file))
    with pytest.raises(UserError, match="there is no run to resume here"):
        staged(teacher, tmp_path / "run", "--resume")
    assert not (tmp_path / "run-inside").exists()


def test_the_better_recipe_is_two_stages_of_the_papers_shape() -> None:
    best, paper = (resolve(DistillSettings, read_toml(name)) for name in ("best", "paper"))
    assert best.student.shape == paper.student.shape
    inside, answers = stages_to_do(best)
    assert (inside.output, answers.output) == ("runs/best-inside", "runs/best")
    assert (inside.student.initial, inside.student.name, answers.student.name) == ("teacher", "", "runs/best-inside")
    assert (inside.loss.relations, answers.loss.relations, answers.loss.hidden) == (1.0, 0.0, 0.0)


def test_a_general_stage_lies_over_the_better_recipe() -> None:
    files = ["--config", "best", "--config", "general", "--unlabeled.files", "textos"]
    text, inside, answers = stages_to_do(parse_arguments(DistillSettings, files, command="destila distill"))
    assert (text.unlabeled.text_only, inside.unlabeled.text_only, answers.unlabeled.text_only) == (
        True,
        False,
        False,
    )
    assert (text.student.initial, inside.student.name) == ("teacher", "runs/best-general-text")
    assert (text.loss.relations, text.loss.attention, text.loss.task, text.loss.scale) == (1.0, 0.0, 0.0, "start")
    assert inside.unlabeled.questions == answers.unlabeled.questions > 0
    assert (inside.teacher.other_paragraphs, answers.loss.scale) == (1, "none")


def test_a_student_with_a_trimmed_vocabulary(teacher: Path, tmp_path: Path) -> None:
    save(tiny_examples(unanswerable=False)[:1], tmp_path / "texts.json")
    flags = ["--student.initial", "teacher", "--student.dropout", "0", "--data.max_train_examples", "1"]
    whole = distill(teacher, tmp_path / "whole", *flags)
    trimmed = distill(teacher, tmp_path / "trimmed", *flags, "--student.vocabulary", str(tmp_path / "texts.json"))
    assert trimmed[0]["loss"] == pytest.approx(whole[0]["loss"], rel=1e-4)
    sizes = [json.loads((tmp_path / name / "config.json").read_text())["vocab_size"] for name in ("trimmed", "whole")]
    assert sizes[0] < sizes[1]
    answer = Reader.load(str(tmp_path / "trimmed")).answer("¿Quién?", "Lo hizo Ωmega 日本.")
    assert answer.text is None or answer.text in "Lo hizo Ωmega 日本."


def test_a_student_of_the_teachers_layers_and_some_of_its_tokens(teacher: Path, tmp_path: Path) -> None:
    config = json.loads((teacher / "config.json").read_text())
    save(tiny_examples(unanswerable=False)[:3], tmp_path / "texts.json")
    dispatch(["trim", str(teacher), "--data", str(tmp_path / "texts.json"), "--output", str(tmp_path / "pieces")])
    shape = ["--student.shape.layers", "1", "--student.shape.heads", str(config["num_attention_heads"])]
    shape += ["--student.shape.hidden", str(config["hidden_size"])]
    shape += ["--student.shape.feed_forward", str(config["intermediate_size"])]
    flags = ["--student.initial", "layers", "--student.tokenizer", str(tmp_path / "pieces"), "--loss.hidden", "0"]
    flags += ["--loss.attention", "0", "--training.steps", "1", "--training.learning_rate", "1e-12"]
    distill(teacher, tmp_path / "student", *flags, *shape)
    start, origin = load_reader(str(tmp_path / "student")), load_reader(str(teacher))
    tokens = start.tokenizer.get_vocab()
    assert set(tokens) < set(origin.tokenizer.get_vocab())
    ours, theirs = (one.model.get_input_embeddings().weight for one in (start, origin))
    for token, number in tokens.items():
        assert torch.allclose(ours[number], theirs[origin.tokenizer.token_to_id(token)], atol=1e-6), token
    last = config["num_hidden_layers"] - 1
    ours, theirs = start.model.state_dict(), origin.model.state_dict()
    copied = [name for name in ours if ".layer.0." in name]
    assert copied
    for name in copied:
        assert torch.allclose(ours[name], theirs[name.replace(".layer.0.", f".layer.{last}.")], atol=1e-6), name

    with pytest.raises(UserError, match=r"has \d+ tokens that"):
        distill(tmp_path / "pieces", tmp_path / "wrong", *flags[:2], "--student.tokenizer", str(teacher), *flags[4:])


def test_rows_that_only_the_teacher_labels(teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--loss.hidden", "0", "--loss.attention", "0", "--teacher.other_paragraphs", "2"]
    distill(teacher, tmp_path / "more", *flags, "--training.steps", "2")
    assert "72 questions" in capsys.readouterr().err  # 24 and twice as many
    metadata = json.loads((tmp_path / "more" / "destila.json").read_text())
    assert metadata["no_answer_threshold"] is not None
    distill(teacher, tmp_path / "alone", *flags, "--loss.soft", "0", "--training.steps", "2")
    assert "24 questions" in capsys.readouterr().err
