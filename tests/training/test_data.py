"""The questions of a training: weights by file, languages, other paragraphs, shorter contexts; and what is noted."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

import destila
from destila.config import FinetuneSettings
from destila.config.loader import resolve
from destila.core.errors import UserError
from destila.data.squad import save
from destila.reporting.card import write_card
from destila.training.data import load_training_data
from tiny import TEXTS, example, tiny_examples

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def in_the_project() -> None:
    os.chdir(ROOT)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A Spanish file and a Portuguese one, whose head says so."""
    es, pt = tmp_path / "es.json", tmp_path / "pt.json"
    save(tiny_examples(), es)
    save([example(f"pt{number}", "Quem fundou Lima?", TEXTS[0], "Pizarro", title="Lima") for number in range(4)], pt)
    pt.write_text(json.dumps(json.loads(pt.read_text()) | {"language": "pt"}), encoding="utf-8")
    return {"es": str(es), "pt": str(pt)}


def settings(files: dict[str, str], **data: Any) -> FinetuneSettings:
    return resolve(FinetuneSettings, {"data": {"train": list(files.values()), **data}})


def test_examples_know_their_file_also_those_that_were_made_of_others(files: dict[str, str]) -> None:
    data = load_training_data(settings(files, other_paragraphs=1.5))
    made = [each for each in data.train if "~" in each.id]
    assert len(made) == round(1.5 * 10)  # six answered questions of one file, four of the other
    assert all(each.labeled and not each.answers for each in made)
    for each in data.train:
        assert data.file(each) == files["pt" if each.id.startswith("pt") else "es"]


def test_long_contexts_are_cut_for_training_alone(files: dict[str, str]) -> None:
    data = load_training_data(settings(files, crop=98, dev=[files["es"]]))
    assert max(len(each.context) for each in data.train) <= 98
    assert max(len(each.context) for each in data.dev) > 98
    for each in data.train:
        assert all(answer.text == each.context[answer.start : answer.end] for answer in each.answers)


@pytest.mark.parametrize("table", ["weights", "languages"])
def test_a_file_that_is_not_trained_on_is_refused(files: dict[str, str], table: str) -> None:
    with pytest.raises(UserError, match=rf"data\.{table}: 'pr' is no file of data\.train; did you mean pt\?"):
        load_training_data(settings(files, **{table: {"pr": 1}} if table == "weights" else {table: {"pr": "pt"}}))


def test_other_paragraphs_need_unanswerable_questions(files: dict[str, str]) -> None:
    with pytest.raises(UserError, match="other_paragraphs makes unanswerable questions"):
        settings(files, other_paragraphs=1, unanswerable=False)


def test_weights_and_languages_are_noted_and_a_sliced_run_is_the_whole_one(
    files: dict[str, str], tmp_path: Path
) -> None:
    data = {"train": list(files.values()), "dev": [], "weights": {"pt": 0.5}, "languages": {"es": "es"}}
    changes: dict[str, Any] = {"data": data, "training": {"steps": 5, "batch_size": 2}}
    whole = destila.finetune("configs/tiny/finetune.toml", **changes, output=tmp_path / "whole")
    for number in range(6):
        call = {"stop_after_seconds": 1e-6, "resume": number > 0, "output": tmp_path / "sliced"}
        result = destila.finetune("configs/tiny/finetune.toml", **changes, **call)
        if result.finished:
            break
    assert number > 0
    one, other = (path / "model.safetensors" for path in (whole.path, result.path))
    assert one.read_bytes() == other.read_bytes()
    expected = [
        {"file": files["es"], "language": "es", "license": "", "questions": 7, "weight": 1.0},
        {"file": files["pt"], "language": "pt", "license": "", "questions": 4, "weight": 0.5},
    ]
    assert json.loads((whole.path / "run.json").read_text())["source"]["files"] == expected
    assert json.loads((whole.path / "destila.json").read_text())["source"]["files"] == expected
    card = write_card(whole.path).read_text(encoding="utf-8")
    assert re.search(r"\| pt\.json \| train \|.*\| pt \| 4 \| 0\.5 \|", card)
    assert re.search(r"\| es\.json \| train \|.*\| es \| 7 \| 1 \|", card)


def test_finetuning_in_stages(files: dict[str, str], tmp_path: Path) -> None:
    stages = [
        {"name": "foreign", "data": {"train": [files["pt"]]}, "training": {"steps": 2}},
        {"name": "spanish", "training": {"steps": 3}},
    ]
    changes = {"data": {"train": [files["es"]], "dev": []}, "stages": stages, "output": tmp_path / "run"}
    result = destila.finetune("configs/tiny/finetune.toml", **changes)
    assert [(one.path.name, one.steps) for one in (*result.earlier, result)] == [("run-foreign", 2), ("run", 3)]
    source = json.loads((result.path / "destila.json").read_text())["source"]
    assert source["model"] == str(tmp_path / "run-foreign")
    tokenizers = [(path / "tokenizer.json").read_bytes() for path in (tmp_path / "run-foreign", tmp_path / "run")]
    assert tokenizers[0] == tokenizers[1]
