"""Model cards: facts of the run and nothing else, metadata that the hub's library reads, programs that run."""

import json
import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from destila.cli.main import dispatch
from destila.core.errors import UserError
from destila.data import squad
from destila.data.licenses import DataSet, DataSource
from destila.reporting.card import card_text, write_card
from destila.reporting.card_metadata import card_problems, license_of, unsettled
from few_questions import few_questions
from finished_run import METADATA, run_directory
from tiny import tiny_examples, tiny_reader

pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]


def data_file(path: Path, *sources: str) -> str:
    """A SQuAD file whose articles come from these data sets."""
    path.write_text(json.dumps({"data": [{"title": name, "source": name, "paragraphs": []} for name in sources]}))
    return str(path)


def metadata_of(text: str) -> dict[str, object]:
    return yaml.safe_load(text.split("---\n")[1])


def test_training_leaves_a_card_with_scores_data_and_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    few_questions(tmp_path, test=20)
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "my-reader"
    dispatch(["finetune", "--config", "configs/tiny/finetune.toml", "--training.steps", "2", "--output", str(run)])
    text = (run / "README.md").read_text(encoding="utf-8")
    assert card_problems(text) == []
    dev = json.loads((run / "destila.json").read_text())["dev"]
    result = ModelCard(text).data.eval_results[0]
    assert result.metric_value == pytest.approx(dev["f1"], abs=0.005)
    assert result.metric_args["interval_95"] == pytest.approx(dev["f1_ci"], abs=0.005)
    low, high = dev["f1_ci"]
    assert f"| {dev['f1']:.2f} [{low:.2f}, {high:.2f}] |" in text
    assert dev["signature"].replace("|", "\\|") in text
    assert metadata_of(text)["license"] == "cc-by-4.0", "that of nativa"
    assert "nativa, the Destila authors" in text
    assert re.search(r"kWh, not measured: 12 W for each of \d+ processor cores", text)
    assert str(tmp_path) not in text
    assert "data/nativa" not in text

    dispatch(["card", str(run), "--data", "data/nativa/test.json"])
    after = (run / "README.md").read_text(encoding="utf-8")
    assert card_problems(after) == []
    measured = {score["normalizer"]: score for score in json.loads((run / "scores.json").read_text())}
    assert set(measured) == {"squad", "mlqa-es"}
    for score in measured.values():
        assert f"| {score['f1']:.2f} [" in after
        assert score["signature"].replace("|", "\\|") in after
    assert "flatters it" in text
    assert "flatters it" not in after
    assert "No score on questions that played no part" in text
    assert "No score on questions that played no part" not in after


def test_every_data_has_scores_of_its_own(tmp_path: Path) -> None:
    run = run_directory(tmp_path / "run", train=[])
    squad.save(tiny_examples(), tmp_path / "a.json")
    second = tmp_path / "b" / "a.json"
    second.parent.mkdir()
    squad.save(tiny_examples()[:3], second)
    few_questions(tmp_path, test=10)
    names = [str(tmp_path / "a.json"), str(second), str(tmp_path / "data/nativa/test.json")]
    dispatch(["card", str(run), *(part for name in names for part in ("--data", name))])
    text = (run / "README.md").read_text(encoding="utf-8")
    assert card_problems(text) == []
    kept = {(score["data"], score["normalizer"]): score for score in json.loads((run / "scores.json").read_text())}
    assert set(kept) == {(name, rules) for name in names for rules in ("squad", "mlqa-es")}
    assert [kept[name, "squad"]["n"] for name in names] == [7, 3, 10]
    shown = ["a.json", "a.json #2", "test.json (nativa)"]
    results = ModelCard(text).data.eval_results
    assert [result.dataset_name for result in results] == [name for name in shown for _ in range(4)]
    assert len({result.dataset_type for result in results}) == len(names)
    for name, one in zip(names, shown, strict=True):
        score = kept[name, "mlqa-es"]
        assert f"| {one} | mlqa-es | {score['n']:,} | {score['f1']:.2f} [" in text
        values = [result.metric_value for result in results if result.dataset_name == one]
        assert values[2:] == pytest.approx([score["f1"], score["em"]], abs=0.005)
    dispatch(["card", str(run), "--data", names[1]])
    assert len(json.loads((run / "scores.json").read_text())) == 6, "measured again, not twice there"


@pytest.mark.parametrize(
    ("sources", "license"),
    [
        (["nativa"], "cc-by-4.0"),
        (["nativa", "sqac"], "cc-by-sa-4.0"),
        (["mlqa-es"], "cc-by-sa-4.0"),
        (["squad-es-dist"], "cc-by-4.0"),
        (["squad-es-dist", "sqac"], "cc-by-sa-4.0"),
        (["nativa", "my-own-file"], "other"),
    ],
)
def test_the_license_is_the_strictest_of_the_data_or_none(tmp_path: Path, sources: list[str], license: str) -> None:
    run = run_directory(tmp_path / "run", train=[data_file(tmp_path / "train.json", *sources)])
    text = write_card(run).read_text(encoding="utf-8")
    found = metadata_of(text)
    assert found["license"] == license
    assert ("license_name" in found) == (license == "other")
    assert card_problems(text) == []
    ids = {"sqac": "PlanTL-GOB-ES/SQAC", "mlqa-es": "facebook/mlqa"}
    assert found.get("datasets", []) == [ids[source] for source in sources if source in ids]
    for source in sources:
        assert f"| {source} |" in text
    assert ("not stated" in text) == ("my-own-file" in sources)


@pytest.mark.parametrize(
    ("stated", "license", "open_cases"),
    [
        (["public domain"], "cc0-1.0", []),
        (["public domain", "PSF and CC0; MIT; CC BY 4.0"], "cc-by-4.0", []),
        (["CC BY-SA 4.0", "CC BY-NC 4.0"], "other", ["1"]),
        (["CC BY 4.0", ""], "other", ["1"]),
        ([], "other", []),
    ],
)
def test_a_license_is_claimed_only_where_all_are_known(stated: list[str], license: str, open_cases: list[str]) -> None:
    sources = tuple(DataSource(str(number), text, "") for number, text in enumerate(stated))
    data = [DataSet("x", "train", sources), DataSet("y", "dev", (DataSource("y", "secret", ""),))]
    assert license_of(data)[0] == license
    assert [source.name for source in unsettled(data)] == open_cases


def test_facts_of_the_run_are_told_and_the_unknown_is_called_unknown(tmp_path: Path) -> None:
    known = card_text(run_directory(tmp_path / "known", train=[]))
    assert "| time | 2 h 0 min |" in known
    assert "0.048 kWh, not measured: 12 W for each of 2 processor cores" in known, "2 cores x 12 W x 2 h"
    assert "| training | steps 12, seed 1 |" in known, "epochs played no part"
    assert "Some CPU" in known
    assert "It always answers" in known
    assert "Nothing is known of what it was trained on." in known
    assert "None measured yet" in known
    unknown = run_directory(tmp_path / "unknown", train=[], device="Some GPU")
    record = json.loads((unknown / "run.json").read_text())
    del record["seconds"]
    (unknown / "run.json").write_text(json.dumps(record))
    text = card_text(unknown)
    assert "| time | unknown |" in text
    assert "| energy (estimate) | unknown |" in text
    bare = tiny_reader(tmp_path / "bare", metadata=METADATA)
    assert "The run that trained it is not at hand." in card_text(bare)


def test_models_of_the_hub_are_named_with_their_commits_and_local_ones_without_their_place(tmp_path: Path) -> None:
    run = run_directory(tmp_path / "student", train=[])
    source = {"command": "distill", "teacher": "acme/teacher@main", "data": [], "commits": {"acme/teacher": 40 * "a"}}
    (run / "destila.json").write_text(json.dumps({**METADATA, "source": source}))
    text = card_text(run)
    assert f"teacher `acme/teacher@{40 * 'a'}`" in text
    assert metadata_of(text)["base_model"] == ["acme/teacher"]
    source |= {"teacher": "/home/ana/secret/teacher"}
    del source["commits"]
    (run / "destila.json").write_text(json.dumps({**METADATA, "source": source}))
    text = card_text(run)
    assert "teacher `teacher`" in text
    assert "ana" not in text
    assert "base_model" not in metadata_of(text)


def test_a_card_changed_by_hand_is_kept(tmp_path: Path) -> None:
    run = run_directory(tmp_path / "run", train=[])
    path = write_card(run)
    write_card(run)
    edited = path.read_text(encoding="utf-8").replace("## Limits", "## Limits\n\n- Our own.")
    path.write_text(edited, encoding="utf-8")
    with pytest.raises(UserError, match="changed by hand"):
        dispatch(["card", str(run)])
    assert path.read_text(encoding="utf-8") == edited
    dispatch(["card", str(run), "--overwrite"])
    assert "Our own" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("license: cc-by-4.0\n", ""), "lacks license"),
        (("license: cc-by-4.0", "license: other"), "without a license_name"),
        (("language: es", "language: [es"), "cannot be read"),
        (("  results:", "  outcomes:"), "cannot be read"),
        (("value: 50.0", "value: high"), "'high', not a percentage"),
        (("---\n", ""), "lacks language"),
    ],
)
def test_a_card_that_the_hub_would_refuse_is_refused_here(
    tmp_path: Path, change: tuple[str, str], problem: str
) -> None:
    run = run_directory(tmp_path / "run", train=[data_file(tmp_path / "train.json", "nativa")])
    score = {
        "data": "x",
        "normalizer": "squad",
        "n": 2000,
        "f1": 50.0,
        "em": 50.0,
        "f1_ci": [40, 60],
        "em_ci": [40, 60],
    }
    (run / "scores.json").write_text(json.dumps([score | {"signature": "n:2000"}]))
    text = card_text(run)
    assert card_problems(text) == []
    broken = text.replace(*change)
    assert broken != text
    assert any(problem in found for found in card_problems(broken)), card_problems(broken)


def test_a_directory_without_a_model_has_no_card(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no destila\.json"):
        dispatch(["card", str(tmp_path)])
