"""`destila evaluate` from end to end: files of predictions without a model, and tiny readers."""

import contextlib
import dataclasses
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from destila.cli.evaluate import run as print_evaluation
from destila.cli.main import dispatch
from destila.config import EvaluateSettings
from destila.core.errors import UserError
from destila.core.records import Example, Report
from destila.data.squad import save
from destila.inference.reader import Reader
from tiny import tiny_examples, tiny_reader


def run(settings: EvaluateSettings) -> list[Report]:
    """What the command prints, first for people and then as JSON, as the records that it is made of."""
    said = io.StringIO()
    print_evaluation(settings)
    with contextlib.redirect_stdout(said):
        print_evaluation(replace(settings, json=True, overwrite=True))
    print(said.getvalue(), end="")
    fields = {field.name for field in dataclasses.fields(Report)}
    return [
        Report(**{name: value for name, value in report.items() if name in fields})
        for report in last_line(said.getvalue())["reports"]
    ]


RIGHT = {
    "fundador": "Pizarro",
    "fecha": "el 18 de enero de 1535",
    "amazonas": "Andes",
    "quijote": "Miguel de Cervantes",
    "nacimiento": "Córdoba",
    "lluvia": "1200 mm",
    "nada": None,
}


@pytest.fixture
def data(tmp_path: Path) -> str:
    path = tmp_path / "dev.json"
    save(tiny_examples(), path)
    return str(path)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    directory = tmp_path_factory.mktemp("models")
    return [str(tiny_reader(directory / f"model{seed}", seed=seed, metadata=metadata())) for seed in (0, 1)]


def metadata() -> dict[str, object]:
    window = {"length": 96, "stride": 16, "max_answer_tokens": 12}
    return {"window": window, "no_answer_threshold": None, "version": "0", "source": {"teacher": "none"}}


def write(path: Path, value: object) -> str:
    path.write_text(json.dumps(value), encoding="utf-8")
    return str(path)


def last_line(text: str) -> dict:
    return json.loads(text.splitlines()[-1])


def test_predictions_are_scored_by_both_rules(tmp_path, data, capsys) -> None:
    predictions = write(tmp_path / "answers.json", {**RIGHT, "nada": ""})
    reports = run(EvaluateSettings(data=[data], from_predictions=predictions, resamples=100))
    out = capsys.readouterr().out
    parsed = last_line(out)
    squad, mlqa = parsed["reports"]
    assert (squad["normalizer"], mlqa["normalizer"]) == ("squad", "mlqa-es")
    # "el 18 de enero de 1535": six tokens against five by the English rules; "Andes" against "los Andes" likewise.
    assert squad["em"] == pytest.approx(100 * 5 / 7)
    assert squad["f1"] == pytest.approx(100 * (5 + 10 / 11 + 2 / 3) / 7)
    assert (mlqa["em"], mlqa["f1"]) == (100, 100)
    assert squad["n"] == 7
    assert squad["details"]["no_answer"] == {"n": 1, "f1": 100, "em": 100}
    assert squad["model"] == predictions
    assert squad["data"] == data
    assert parsed["comparisons"] == []
    assert [report.f1 for report in reports] == [squad["f1"], mlqa["f1"]]
    assert "HasAns F1" in out
    assert "question word" in out


def test_json_prints_one_line_alone(tmp_path, data, capsys) -> None:
    predictions = write(tmp_path / "answers.json", RIGHT)
    print_evaluation(EvaluateSettings(data=[data], from_predictions=predictions, resamples=100, json=True))
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_scoring_predictions_loads_neither_torch_nor_a_model(tmp_path, data) -> None:
    predictions = write(tmp_path / "answers.json", RIGHT)
    code = (
        "import sys; from destila.cli.main import dispatch\n"
        f"dispatch(['evaluate', '--from-predictions', {predictions!r}, '--data', {data!r},"
        " '--resamples', '100', '--json'])\n"
        "heavy = {'torch', 'transformers', 'onnxruntime', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert last_line(done.stdout)["reports"][1]["f1"] == 100


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (["Lima"], r"answers\.json: holds a JSON list, not an object"),
        ({"fundador": 3, "fecha": ["x"]}, r"2 problems:\n  - 'fundador': 3 is not a text\n  - 'fecha'"),
        ({"fundador": "x"}, r"answers\.json: no prediction for 6 ids \('fecha', .* of 7"),
        ({**RIGHT, "otra": "x"}, r"answers\.json: 1 ids \('otra'\) are not in the data"),
    ],
)
def test_malformed_predictions_are_refused(tmp_path, data, content, expected) -> None:
    predictions = write(tmp_path / "answers.json", content)
    with pytest.raises(UserError, match=expected):
        run(EvaluateSettings(data=[data], from_predictions=predictions))


def test_what_is_not_json_is_refused(tmp_path, data) -> None:
    (tmp_path / "answers.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="is not JSON"):
        run(EvaluateSettings(data=[data], from_predictions=str(tmp_path / "answers.json")))
    with pytest.raises(UserError, match="does not exist"):
        run(EvaluateSettings(data=[data], from_predictions=str(tmp_path / "missing.json")))


def test_contradictory_settings_are_all_named() -> None:
    with pytest.raises(UserError) as caught:
        run(EvaluateSettings(model=["m"], from_predictions="p.json", fit_threshold="f1"))
    for part in ("--data: is required", "exclude each other", "need a model"):
        assert part in str(caught.value)
    with pytest.raises(UserError, match="--write: some/hub-id is not a local directory"):
        run(EvaluateSettings(model=["some/hub-id"], data=["d"], fit_threshold="f1", write=True))
    with pytest.raises(UserError, match="no fitted threshold to write"):
        run(EvaluateSettings(model=["m"], data=["d"], write=True))
    with pytest.raises(UserError, match="--fit-threshold = 'true'"):
        dispatch(["evaluate", "--data", "d", "--fit-threshold", "true"])


def test_data_without_labels_are_refused(tmp_path) -> None:
    path = tmp_path / "questions.jsonl"
    save([Example("a", "¿Qué?", "Un texto.", labeled=False)], path)
    predictions = write(tmp_path / "answers.json", {"a": "texto"})
    with pytest.raises(UserError, match="holds no labeled example"):
        run(EvaluateSettings(data=[str(path)], from_predictions=predictions))


def test_models_are_compared_and_their_predictions_written(tmp_path, data, models, capsys) -> None:
    settings = EvaluateSettings(
        model=models, data=[data], predictions=str(tmp_path / "out" / "answers.json"), backend="torch", resamples=100
    )
    run(settings)
    out = capsys.readouterr().out
    parsed = last_line(out)
    assert [(item["model"], item["normalizer"]) for item in parsed["reports"]] == [
        (model, normalizer) for model in models for normalizer in ("squad", "mlqa-es")
    ]
    assert [(item["first"], item["second"]) for item in parsed["comparisons"]] == [tuple(models)] * 2
    assert "retention" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["answers-1.json", "answers-2.json"]
    for number, model in enumerate(models, start=1):
        written = json.loads((tmp_path / "out" / f"answers-{number}.json").read_text(encoding="utf-8"))
        answers = Reader.load(model, backend="torch").predict(tiny_examples())
        assert written == {name: prediction.answer.text for name, prediction in answers.items()}
        again = run(
            EvaluateSettings(
                data=[data], from_predictions=str(tmp_path / "out" / f"answers-{number}.json"), resamples=100
            )
        )
        assert [report.f1 for report in again] == [item["f1"] for item in parsed["reports"] if item["model"] == model]


@pytest.mark.parametrize("several", [False, True])
def test_a_file_that_exists_is_no_place_for_predictions_unless_asked(tmp_path, data, models, several) -> None:
    place, existing = tmp_path / "answers.json", tmp_path / ("answers-2.json" if several else "answers.json")
    existing.write_text("precious")
    settings = EvaluateSettings(model=models[: 1 + several], data=[data], predictions=str(place), backend="torch")
    with pytest.raises(UserError, match=r"exists already\. To score it, give it as --from-predictions"):
        print_evaluation(settings)
    assert existing.read_text() == "precious"
    print_evaluation(replace(settings, overwrite=True, resamples=100))
    assert json.loads(existing.read_text())


@pytest.mark.parametrize("criterion", ["f1", "equal-errors"])
def test_a_fitted_threshold_is_stored_if_asked_and_used_by_the_next_load(tmp_path, data, capsys, criterion) -> None:
    model = tiny_reader(tmp_path / "model", seed=2, metadata=metadata())
    settings = EvaluateSettings(model=[str(model)], data=[data], backend="torch", resamples=100)
    run(replace(settings, fit_threshold=criterion))
    assert json.loads((model / "destila.json").read_text(encoding="utf-8")) == metadata(), "nothing was to be written"
    reports = run(replace(settings, fit_threshold=criterion, write=True))
    stored = json.loads((model / "destila.json").read_text(encoding="utf-8"))
    assert {**stored, "no_answer_threshold": None} == metadata()
    fitted = reports[0].details["fitted"]
    assert stored["no_answer_threshold"] == reports[0].details["no_answer_threshold"] == fitted["threshold"]
    assert not [path for path in model.iterdir() if path.name.endswith(".tmp")]
    printed = capsys.readouterr().out
    assert last_line(printed)["reports"][0]["details"]["fitted"]["refused"] == fitted["refused"]
    assert "fitted on these questions" in printed
    again = run(settings)
    assert [report.f1 for report in again] == [report.f1 for report in reports]


def test_an_f1_threshold_is_not_fitted_on_answerable_questions(tmp_path, models) -> None:
    path = tmp_path / "answerable.json"
    save(tiny_examples(unanswerable=False), path)
    before = (Path(models[0]) / "destila.json").read_bytes()
    settings = EvaluateSettings(model=models[:1], data=[str(path)], backend="torch", fit_threshold="f1", write=True)
    with pytest.raises(UserError, match=r"(?s)no question is unanswerable.*equal-errors"):
        run(settings)
    assert (Path(models[0]) / "destila.json").read_bytes() == before
