"""Whatever scores takes gold answers as they were published, and says so where it was asked not to."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import destila
from destila.cli.main import dispatch
from destila.core.errors import UserError
from destila.evaluation.metrics import NORMALIZERS, exact_match, f1
from tiny import TEXTS, tiny_reader

pytest.importorskip("torch")
CONTEXT = f"{TEXTS[0]} La isla fue llamadaNueva Holanda por Abel Tasman; mide 30\u00a0km y tiene 1200 almas."
WINDOW = {"window": {"length": 96, "stride": 16, "max_answer_tokens": 12}, "no_answer_threshold": None}

# Gold answers as data sets hold them (text, answer_start), whether the question is marked impossible, and a prediction.
QUESTIONS: dict[str, tuple[list[tuple[str, int]], bool | None, str | None]] = {
    "right": ([("Francisco Pizarro", CONTEXT.index("Francisco"))], False, "Francisco Pizarro"),
    "no space": ([("Nueva Holanda", CONTEXT.index("Nueva"))], False, "Nueva Holanda"),
    "cut": ([("isl", CONTEXT.index("isl"))], False, "isla"),
    "spaces": ([(" Abel Tasman;", CONTEXT.index(" Abel"))], False, "Abel Tasman"),
    "shifted": ([("Abel Tasman", CONTEXT.index("Abel") - 7)], False, "Abel Tasman"),
    "elsewhere": ([("Cuzco", 3), ("el Cuzco", -1)], False, "Cuzco"),
    "other characters": ([("30 km", CONTEXT.index("30"))], False, "30\u00a0km"),
    "void": ([("", -1)], False, None),
    "void and not": ([("", -1), ("1200 almas", CONTEXT.index("1200"))], False, "1200"),
    "marked": ([("Tasman", CONTEXT.index("Tasman"))], True, "Tasman"),
    "nothing said": ([], False, "Lima"),
    "impossible": ([], True, None),
    "twice": ([("Lima", CONTEXT.index("Lima"))] * 2, None, "ciudad de Lima"),
}
DROPPED = {"elsewhere", "void", "marked", "nothing said"}  # by repair


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "odd.json"
    entries = []
    for name, (golds, impossible, _) in QUESTIONS.items():
        answers = [{"text": text, "answer_start": start} for text, start in golds]
        entry: dict[str, Any] = {"id": name, "question": f"¿{name}?", "answers": answers}
        entries.append(entry if impossible is None else entry | {"is_impossible": impossible})
    paragraphs = [{"context": CONTEXT, "qas": entries[:8]}, {"context": f"{CONTEXT} Fin.", "qas": entries[8:]}]
    path.write_text(json.dumps({"data": [{"title": "Lima", "paragraphs": paragraphs}]}), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("predictions") / "answers.json"
    path.write_text(json.dumps({name: said or "" for name, (_, _, said) in QUESTIONS.items()}), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_reader(tmp_path_factory.mktemp("models") / "reader", metadata=WINDOW))


def official(texts: dict[str, str | None], normalizer: str) -> tuple[float, float]:
    """F1 and exact match in percent over the file as evaluate-v2.0.py reads it: by texts, whatever else it says."""
    golds = {name: [text for text, _ in found] for name, (found, _, _) in QUESTIONS.items()}
    overlap = [f1(texts[name], golds[name], normalizer=normalizer) for name in golds]
    exact = [exact_match(texts[name], golds[name], normalizer=normalizer) for name in golds]
    return 100 * sum(overlap) / len(overlap), 100 * sum(exact) / len(exact)


def last_line(text: str) -> Any:
    return json.loads(text.strip().splitlines()[-1])


def test_scores_are_those_of_the_official_script(data: str, predictions: str, capsys: Any) -> None:
    dispatch(["evaluate", "--from-predictions", predictions, "--data", data, "--resamples", "100", "--json"])
    said = capsys.readouterr()
    given = {name: answer for name, (_, _, answer) in QUESTIONS.items()}
    for report in last_line(said.out)["reports"]:
        assert report["n"] == len(QUESTIONS)
        assert (report["f1"], report["em"]) == pytest.approx(official(given, report["normalizer"]))
        assert report["details"]["repaired"] is False
        assert "repaired" not in report["signature"]
        # As make_qid_to_has_ans: whoever lists an answer says that there is one.
        assert report["details"]["has_answer"]["n"] == sum(bool(golds) for golds, _, _ in QUESTIONS.values())
    assert "epaired" not in said.out.replace('"repaired": false', "")
    assert re.search(r"odd\.json: gold answers are taken as published \(.*absent.*\); 5 have no place", said.err)


def test_repair_is_done_when_asked_and_said(data: str, predictions: str, tmp_path: Path, capsys: Any) -> None:
    kept = {name: answer for name, (_, _, answer) in QUESTIONS.items() if name not in DROPPED}
    path = tmp_path / "kept.json"
    path.write_text(json.dumps(kept), encoding="utf-8")
    command = ["evaluate", "--from-predictions", str(path), "--data", data, "--resamples", "100", "--repair"]
    dispatch([*command, "--json"])
    said = capsys.readouterr()
    for report in last_line(said.out)["reports"]:
        assert report["n"] == len(kept)
        assert report["details"]["repaired"] is True
        assert report["signature"].endswith("|gold:repaired")
    assert "questions dropped" in said.err
    dispatch(command)
    note = "Gold answers were repaired (--repair): these scores are not the official ones."
    assert note in capsys.readouterr().out
    found = destila.evaluate(data=data, from_predictions=str(path), repair=True, resamples=100)
    assert found.reports[0].details["repaired"]
    with pytest.raises(UserError, match="are not in the data"):  # of what repair has dropped
        destila.evaluate(data=data, from_predictions=predictions, repair=True)


@pytest.mark.parametrize("criterion", [None, "f1", "equal-errors"])
def test_models_are_scored_and_thresholds_fitted_on_it(data: str, reader: str, criterion: str | None) -> None:
    found = destila.evaluate(reader, data, backend="torch", fit_threshold=criterion, resamples=100)
    texts = next(iter(found.answers.values()))
    assert {report.normalizer for report in found.reports} == set(NORMALIZERS)
    for report in found.reports:
        assert (report.f1, report.em) == pytest.approx(official(dict(texts), report.normalizer))
        if criterion:
            answerable = sum(bool(golds) for golds, _, _ in QUESTIONS.values())
            assert report.details["fitted"]["questions"]["answerable"] == answerable


def test_cards_and_reports_and_choices_are_made_by_it(data: str, reader: str, tmp_path: Path, capsys: Any) -> None:
    scored = destila.evaluate(reader, data, backend="torch", resamples=100).reports[0]
    dispatch(["card", reader, "--data", data, "--json"])
    measured = json.loads((Path(reader) / "scores.json").read_text(encoding="utf-8"))
    assert [(one["n"], one["f1"]) for one in measured if one["normalizer"] == "squad"] == [(scored.n, scored.f1)]

    for name, options in (("as-published", []), ("mended", ["--repair"])):
        output = tmp_path / name
        options = [*options, "--data", data, "--output", str(output), "--backend", "torch", "--layer_windows", "0"]
        dispatch(["report", reader, "--resamples", "100", "--json", *options])
        said = last_line(capsys.readouterr().out)
        text = (output / "report.md").read_text(encoding="utf-8")
        repaired = name == "mended"
        assert said["n"] == len(QUESTIONS) - len(DROPPED) * repaired
        assert ("Gold answers were repaired" in text) == repaired
        assert ("--repair" in text) == repaired
        assert ("5 right answers as published do not stand in their text" in text) == (not repaired)
        if not repaired:
            assert said["scores"]["reader"]["squad"] == pytest.approx({"f1": scored.f1, "em": scored.em})

    dispatch(["bench", "--pareto", "--model", reader, "--data", data, "--lengths", "80", "--rounds", "2", "--json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows
    assert all(row["f1"] == pytest.approx(scored.f1) for row in rows)


def test_checkpoints_are_chosen_by_it(data: str, reader: str, tmp_path: Path) -> None:
    small = {"steps": 1, "batch_size": 4}
    run = destila.finetune(
        model=reader,
        data={"train": ["data/nativa/dev.json"], "dev": [data], "max_train_examples": 8},
        window={"length": 96, "stride": 16},
        training=small,
        output=str(tmp_path / "run"),
    )
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["dev_n"] for line in lines if "dev_n" in line] == [len(QUESTIONS)]
