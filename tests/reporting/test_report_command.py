"""`destila report`: what it does not replace, and the mistakes that it names before it writes."""

import json
from pathlib import Path

import pytest

from destila.cli.report import run
from destila.config import ReportSettings
from destila.core.errors import UserError
from destila.reporting.facts import Facts
from report_case import DATA
from tiny import tiny_reader


def test_what_is_there_is_not_replaced_unasked(case: Path, facts: Facts, tmp_path: Path) -> None:
    settings = ReportSettings(runs=[str(case / "student")], output=str(case / "report"))
    with pytest.raises(UserError, match="holds a report already"):
        run(settings)
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(UserError, match="is not empty and holds no report"):
        run(ReportSettings(runs=[str(case / "student")], output=str(tmp_path)))
    assert (tmp_path / "mine.txt").read_text() == "keep me"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runs": ["{case}/nowhere"], "data": [DATA]}, "nowhere"),
        ({"bench": "{case}/student/destila.json"}, "is not what destila bench --json prints"),
        ({"data": ["{case}/none.json"]}, "none.json"),
    ],
)
def test_mistakes_are_named_before_a_page_is_written(case: Path, tmp_path: Path, change: dict, message: str) -> None:
    values = {"runs": ["{case}/student"], "data": [DATA], **change}
    filled = json.loads(json.dumps(values).replace("{case}", str(case)))
    with pytest.raises(UserError, match=message):
        run(ReportSettings(**filled, output=str(tmp_path / "report"), backend="torch"))
    assert not (tmp_path / "report" / "report.html").exists()


def test_without_runs_something_must_say_what_to_judge_on(case: Path, tmp_path: Path) -> None:
    reader = tiny_reader(tmp_path / "reader")
    with pytest.raises(UserError, match="--data: is required"):
        run(ReportSettings(runs=[str(reader)], output=str(tmp_path / "report")))
