"""What ships and has no run: models made by hand and data without a license, known by notes."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from destila.config import (
    CALL_SETTINGS,
    DataSettings,
    DistillSettings,
    FinetuneSettings,
    ModelSettings,
    StudentSettings,
    TeacherSettings,
)
from destila.config.loader import to_toml
from destila.core.errors import UserError
from destila.core.runs import Run
from destila.reporting.card_metadata import license_of
from destila.reporting.lineage_file import write_lineage
from destila.reporting.provenance import all_data, all_licenses, lineage, trace
from scripts import load_script

WEIGHTS = {"name": "e5", "role": "weights", "license": "MIT", "origin": "owner/e5, its authors"}
CUT = {"name": "cut", "role": "weights", "license": "", "origin": "every second layer of it", "made_of": ["teacher"]}
LABELS = [
    {"name": "mixed.json", "role": "train", "license": "CC BY 4.0", "origin": "questions of one"},
    {"name": "mixed.json", "role": "train", "license": "CC BY-SA 4.0", "origin": "questions of another"},
]


@pytest.fixture(scope="module")
def ship() -> ModuleType:
    return load_script("scripts/ship.py")


def write_run(path: Path, settings: object) -> None:
    Run.create(path, settings_text=to_toml(settings, without=CALL_SETTINGS), seed=3).update(status="finished")


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """e5, without a run -> teacher -> cut by hand -> student; mixed.json states no license."""
    articles = [{"title": "a", "source": "sqac"}, {"title": "b", "source": "mine"}]
    (tmp_path / "mixed.json").write_text(json.dumps({"data": articles}), encoding="utf-8")
    for name in ("e5", "cut"):
        (tmp_path / name).mkdir()
    data = DataSettings(train=[str(tmp_path / "mixed.json")])
    write_run(tmp_path / "teacher", FinetuneSettings(model=ModelSettings(name=str(tmp_path / "e5")), data=data))
    student = DistillSettings(
        teacher=TeacherSettings(name=str(tmp_path / "teacher")), student=StudentSettings(name=str(tmp_path / "cut"))
    )
    write_run(tmp_path / "student", student)
    return tmp_path


def notes(ship: ModuleType, *items: dict[str, Any]) -> Any:
    return ship.Notes([ship.Note(**{**item, "made_of": tuple(item.get("made_of", ()))}) for item in items])


def test_steps_by_hand_and_their_licenses_stand_in_the_lineage(ship: ModuleType, family: Path) -> None:
    records = ship.records_behind(trace(str(family / "student")), notes(ship, WEIGHTS, CUT, *LABELS))
    names = ship.new_names(family / "teacher", family / "student", records)
    places = ship.Places(family, names)
    kept = family / "project" / "models" / "reader"
    kept.mkdir(parents=True)
    write_lineage(kept, [places.record(one) for one in records])
    assert str(family) not in (kept / "lineage.json").read_text(encoding="utf-8")
    found = lineage(trace(str(kept)))
    assert [Path(one.name).name for one in found] == ["e5", "teacher", "cut", "reader"]
    assert [[Path(parent.name).name for parent in one.parents] for one in found] == [
        [],
        ["e5"],
        ["teacher"],
        ["cut", "teacher"],
    ]
    assert found[2].metadata["source"] == {"stated": "every second layer of it"}
    licenses = {license: [one.attribution for one in sources] for license, sources in all_licenses(found[-1]).items()}
    assert licenses == {
        "CC BY 4.0": ["questions of one"],
        "CC BY-SA 4.0": ["questions of another"],
        "MIT": ["owner/e5, its authors"],
    }
    assert license_of(all_data(found[-1])) == ("cc-by-sa-4.0", None)
    again = ship.records_behind(trace(str(kept)), notes(ship))
    assert [one.name for one in again[:-1]] == ["e5", "teacher", "cut"], "what was shipped can be shipped again"


def test_a_note_on_a_source_leaves_the_others(ship: ModuleType, family: Path) -> None:
    note = {"name": "mine", "role": "train", "license": "CC0", "origin": "me"}
    records = ship.records_behind(trace(str(family / "teacher")), notes(ship, WEIGHTS, note))
    (data,) = records[-1].data
    assert [(one.name, one.license) for one in data.sources] == [("sqac", "CC BY-SA 4.0"), ("mine", "CC0")]


def test_what_nobody_knows_is_refused(ship: ModuleType, family: Path) -> None:
    for given, name in (([], "cut"), ([CUT], "e5")):
        with pytest.raises(UserError, match=f"{name}: is part of what ships.*--notes"):
            ship.records_behind(trace(str(family / "student")), notes(ship, *given))


@pytest.mark.parametrize("content", ['{"name": "x"}', '["x"]', '[{"name": "x"}]', '[{"name": "x", "license": "MIT"}]'])
def test_a_file_that_holds_no_notes_is_named(ship: ModuleType, tmp_path: Path, content: str) -> None:
    (tmp_path / "notes.json").write_text(content)
    with pytest.raises(UserError, match=r"notes\.json: is not a list of notes"):
        ship.read_notes(tmp_path / "notes.json")
