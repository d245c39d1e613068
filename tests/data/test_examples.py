"""Raw text for a teacher to label: what its rows and questions are, and distilling on them from end to end."""

import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import spanish
from destila.cli.main import dispatch
from destila.config import ClozeSettings, UnlabeledSettings
from destila.core.errors import UserError
from destila.data.corpus import TokenStore
from destila.data.synthetic.examples import row_maker, text_examples, text_store, text_window, windows_by_step
from destila.data.synthetic.token_table import MASK
from destila.data.windows import WindowBuilder, collate
from destila.training.losses import to_tensors
from tiny import pad_token_id, tiny_reader, tiny_tokenizer

ROOT = Path(__file__).parents[2]
LENGTH = 240
BOS, EOS = 0, 2


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> UnlabeledSettings:
    path = tmp_path_factory.mktemp("text")
    for seed, name in enumerate(("actas-00", "leyes-00")):
        (path / f"{name}.txt").write_text(spanish.text(seed, documents=4), encoding="utf-8")
    return UnlabeledSettings(files=[str(path)], store=str(path.parent / "store"), workers=0)


@pytest.fixture(scope="module")
def store(text: UnlabeledSettings) -> TokenStore:
    return text_store(text, tiny_tokenizer(), reader="el alumno")


# ---------------------------------------------------------------------------------------------------- rows
def test_rows_are_windows_that_nobody_has_labeled(store: TokenStore, text: UnlabeledSettings) -> None:
    maker = row_maker(store, text, length=LENGTH, seed=1)
    windows = [text_window(maker, number) for number in range(60)]
    questions = 0
    for window in windows:
        ids = window.input_ids
        assert len(ids) == LENGTH
        assert (ids[0], ids[-1]) == (BOS, EOS)
        assert window.context_end == LENGTH - 1
        assert not window.labeled
        if window.context_start > 1:
            questions += 1
            assert ids[window.context_start - 2 : window.context_start].tolist() == [EOS, EOS]
            assert EOS not in ids[1 : window.context_start - 2]
        assert MASK not in ids[window.context_start :]
    assert questions > 40
    batch = to_tensors(collate(windows[:4], pad_id=pad_token_id()))
    assert not batch.start_positions.any()
    assert not batch.end_positions.any()
    assert batch.context_mask[0].sum() == windows[0].context_end - windows[0].context_start


def test_rows_depend_on_seed_and_number_alone(store: TokenStore, text: UnlabeledSettings) -> None:
    at = windows_by_step(store.path, text, LENGTH, 1, 4)
    late, early = at(7), at(0)
    maker = row_maker(store, text, length=LENGTH, seed=1)
    assert [w.input_ids.tolist() for w in late] == [text_window(maker, n).input_ids.tolist() for n in range(28, 32)]
    prepared = pickle.loads(pickle.dumps((windows_by_step, (store.path, text, LENGTH, 1, 4))))  # as to a worker
    sent = pickle.loads(pickle.dumps(prepared[0](*prepared[1])(7)))
    assert [w.input_ids.tolist() for w in sent] == [w.input_ids.tolist() for w in late]
    other = windows_by_step(store.path, text, LENGTH, 2, 4)(0)
    assert [w.input_ids.tolist() for w in early] != [w.input_ids.tolist() for w in other]


def test_questions_of_the_text_are_examples(store: TokenStore, text: UnlabeledSettings) -> None:
    settings = replace(text, questions=40)
    examples = text_examples(store, settings, length=LENGTH, seed=1)
    assert examples == text_examples(store, settings, length=LENGTH, seed=1)
    assert len({example.id for example in examples}) == 40
    whole = "\n".join(path.read_text(encoding="utf-8") for path in sorted(Path(text.files[0]).iterdir()))
    for example in examples:
        assert not example.labeled
        assert not example.answers
        assert example.question
        assert "<mask>" not in example.question
        pieces = re.split(r"(?<=[.?!:;])\s*|\n+", example.context)
        assert all(piece in whole for piece in pieces[1:-1]), example.context
    assert any("…" in example.question for example in examples)
    assert any(example.question.startswith("¿") for example in examples)
    windows = WindowBuilder(tiny_tokenizer(), length=LENGTH, stride=16, pad_id=pad_token_id()).build(examples)
    assert len(windows) <= 1.05 * len(examples)
    asked = replace(settings, cloze=ClozeSettings(interrogative=1.0))
    assert all(each.question.endswith("?") for each in text_examples(store, asked, length=LENGTH, seed=1))


def test_a_text_that_offers_too_few_questions_says_so(tmp_path: Path) -> None:
    (tmp_path / "nada.txt").write_text("Una palabra tras otra sin que nada se repita nunca. " * 60, encoding="utf-8")
    settings = UnlabeledSettings(files=[str(tmp_path)], store=str(tmp_path / "store"), workers=0, questions=3)
    reluctant = replace(settings, cloze=ClozeSettings(unanswerable=1.0))
    store = text_store(settings, tiny_tokenizer(), reader="x")
    with pytest.raises(UserError, match=r"unlabeled\.questions: is 3, and the text offered 0"):
        text_examples(store, reluctant, length=64, seed=1)


@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta", "modernbert"])
def test_a_tokenizer_of_another_kind_is_named(text: UnlabeledSettings, architecture: str) -> None:
    with pytest.raises(UserError, match=r"unlabeled\.files: the tokenizer of beto .*byte-level BPE with RoBERTa's"):
        text_store(text, tiny_tokenizer(architecture), reader="beto")


def test_a_store_is_shared_with_pre_training(store: TokenStore, text: UnlabeledSettings, tmp_path: Path) -> None:
    from destila.config import TextSettings
    from destila.data.corpus import open_store

    tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    reading = TextSettings(files=text.files, store=text.store, tokenizer=str(tmp_path), workers=0)
    assert open_store(reading).path == store.path


# ---------------------------------------------------------------------------------------------------- end to end
@pytest.fixture
def teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(ROOT)
    return tiny_reader(tmp_path / "teacher", layers=4, hidden=32)


def flags_of(teacher: Path, text: UnlabeledSettings, output: Path) -> list[str]:
    places = ["--teacher.name", str(teacher), "--teacher.cache", str(output.parent / "cache"), "--output", str(output)]
    reading = ["--unlabeled.store", text.store, "--unlabeled.workers", "0"]
    reading += [flag for file in text.files for flag in ("--unlabeled.files", file)]
    return ["distill", "--config", "configs/tiny/distill.toml", *places, *reading]


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


STAGES = """
[student]
initial = "teacher"

[loss]
relation_heads = 4
scale = "start"

[[stages]]
name = "general"
unlabeled = { text_only = true }
loss = { task = 0.0, attention = 0.0, relations = 1.0 }
training = { steps = 4, keep_best = false }

[[stages]]
name = "answers"
unlabeled = { questions = 8 }
teacher = { other_paragraphs = 1 }
loss = { hidden = 0.0, attention = 0.0 }
training = { steps = 3 }
"""


def test_a_general_stage_and_questions_of_the_text(
    teacher: Path, text: UnlabeledSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "stages.toml"
    file.write_text(STAGES)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    dispatch([*flags_of(teacher, text, whole), "--config", str(file)])
    general, last = metrics(tmp_path / "whole-general"), metrics(whole)
    assert {"soft", "hidden", "relations"} <= set(general[0])
    assert "task" not in general[0]
    assert [line["step"] for line in general if "loss" in line] == [1, 2, 3, 4]
    assert any("dev_f1" in line for line in general)
    assert {"task", "soft"} <= set(last[0])
    assert "56 questions" in capsys.readouterr().err  # 24 of the data, as many before other paragraphs, 8 of the text
    assert len(list((tmp_path / "cache").glob("logits-*"))) == 1
    # A stop in the general stage, and one more call: the same student.
    with pytest.raises(SystemExit):
        dispatch([*flags_of(teacher, text, cut), "--config", str(file), "--stop-after-seconds", "0.001"])
    assert json.loads((tmp_path / "cut-general" / "run.json").read_text())["status"] == "interrupted"
    dispatch([*flags_of(teacher, text, cut), "--config", str(file), "--resume"])
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert len(list((tmp_path / "cache").glob("logits-*"))) == 1


def test_terms_on_a_common_scale(teacher: Path, text: UnlabeledSettings, tmp_path: Path) -> None:
    """Each term is divided by what it was on the first rows, for the whole run, and every step says so."""
    flags = flags_of(teacher, text, tmp_path / "run")
    scaled = ["--student.dropout", "0", "--loss.scale", "start", "--loss.hidden", "2", "--training.steps", "3"]
    dispatch([*flags, *scaled])
    lines = [line for line in metrics(tmp_path / "run") if "loss" in line]
    terms = ("task", "soft", "hidden", "attention")
    assert [line["step"] for line in lines] == [1, 2, 3]
    for line in lines:
        for name in terms:
            assert line[f"weight_{name}"] == pytest.approx(lines[0][f"weight_{name}"])
        assert line["loss"] == pytest.approx(sum(line[name] * line[f"weight_{name}"] for name in terms), rel=1e-5)
    for name in terms:
        assert lines[0][name] * lines[0][f"weight_{name}"] == pytest.approx(2.0 if name == "hidden" else 1.0, rel=1e-4)
    # In smaller parts, the same; and without the setting, nothing of the kind.
    dispatch([*flags_of(teacher, text, tmp_path / "parts"), *scaled, "--training.micro_batch_size", "3"])
    parts = [line for line in metrics(tmp_path / "parts") if "loss" in line]
    assert [line["loss"] for line in parts] == pytest.approx([line["loss"] for line in lines], rel=1e-4)
    dispatch([*flags_of(teacher, text, tmp_path / "plain"), "--training.steps", "1"])
    assert not any(name.startswith("weight_") for name in metrics(tmp_path / "plain")[0])


def test_a_pause_keeps_the_scale(teacher: Path, text: UnlabeledSettings, tmp_path: Path) -> None:
    scaled = ["--loss.scale", "start", "--student.dropout", "0", "--training.steps", "4"]
    dispatch([*flags_of(teacher, text, tmp_path / "whole"), *scaled])
    with pytest.raises(SystemExit):
        dispatch([*flags_of(teacher, text, tmp_path / "cut"), *scaled, "--stop-after-seconds", "0.001"])
    dispatch([*flags_of(teacher, text, tmp_path / "cut"), *scaled, "--resume"])
    names = ("loss", "weight_task", "weight_hidden")
    whole, cut = ([[line.get(name) for name in names] for line in metrics(tmp_path / run)] for run in ("whole", "cut"))
    assert whole == cut


def test_rows_of_text_alone_need_no_questions(
    teacher: Path, text: UnlabeledSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "alone.toml"
    file.write_text("[data]\ntrain = []\ndev = []\n")
    loss = ["--loss.task", "0", "--loss.hidden", "0", "--loss.attention", "0", "--unlabeled.text_only"]
    dispatch([*flags_of(teacher, text, tmp_path / "run"), "--config", str(file), *loss, "--training.steps", "2"])
    assert [set(line) >= {"soft"} for line in metrics(tmp_path / "run")] == [True, True]
    assert np.isfinite([line["loss"] for line in metrics(tmp_path / "run")]).all()
    with pytest.raises(UserError, match="is more than the model's"):
        dispatch([*flags_of(teacher, text, tmp_path / "long"), *loss, "--window.length", "400"])
    beto = tiny_reader(tmp_path / "beto", "bert")
    with pytest.raises(UserError, match=r"unlabeled\.files: the tokenizer of .*beto"):
        dispatch([*flags_of(beto, text, tmp_path / "beto-run"), *loss])


@pytest.mark.parametrize(
    ("files", "flags", "message"),
    [
        ([], [], r"unlabeled\.files: names no text"),
        (["ninguno.txt"], [], r"unlabeled\.files: ninguno\.txt does not exist"),
        (None, ["--unlabeled.weights", "{ otra = 2.0 }"], r"unlabeled\.weights: no file is of source otra"),
    ],
)
def test_mistakes_about_the_text_are_named_before_training(
    teacher: Path, text: UnlabeledSettings, tmp_path: Path, files: list[str] | None, flags: list[str], message: str
) -> None:
    file = tmp_path / "stages.toml"
    file.write_text(STAGES)
    reading = text if files is None else replace(text, files=files)
    with pytest.raises(UserError, match=message):
        dispatch([*flags_of(teacher, reading, tmp_path / "run"), "--config", str(file), *flags])
    assert not list(tmp_path.glob("run*"))
