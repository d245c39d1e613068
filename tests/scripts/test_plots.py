"""The plots of docs/results.md show what its tables say."""

import re
import xml.etree.ElementTree
from pathlib import Path

import pytest

from destila.core.errors import UserError
from scripts import load_script

ROOT = Path(__file__).parents[2]
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
plots = load_script("scripts/plots.py")

TABLES = """# Results

## One claim

| | cost | F1 |
|---|---|---|
| **first** (long ago) | 1,200 ms | 40.5 [38.0, 43.2] / 20 |
| second | | 50 |
| third | 3 ms | |

### More

| | F1 |
|---|---|
| other | 1 |

## Another claim

No table.
"""


@pytest.mark.parametrize("plot", plots.PLOTS, ids=lambda plot: plot.name)
def test_each_is_what_its_table_says_now(plot):
    assert (ROOT / "docs" / "plots" / f"{plot.name}.svg").read_text(encoding="utf-8") == plots.drawn(plot, RESULTS)
    section = RESULTS[RESULTS.index(f" {plot.section}\n") :].split("\n## ")[0]
    assert f"](plots/{plot.name}.svg)" in section


def test_none_is_left_over():
    assert {path.stem for path in (ROOT / "docs" / "plots").iterdir()} == {plot.name for plot in plots.PLOTS}
    assert len(re.findall(r"\]\(plots/", RESULTS)) == len(plots.PLOTS)


def test_bars_are_the_rows_that_have_a_number():
    svg = xml.etree.ElementTree.fromstring(plots.drawn(plots.Plot("x", "One claim", "F1", "t", "F1"), TABLES))
    texts = [node.text for node in svg.iter() if node.tag.endswith("text")]
    assert [text for text in texts if text in {"first (long ago)", "second", "third", "other"}] == [
        "first (long ago)",
        "second",
    ]
    assert "40.5 [38.0, 43.2] / 20" in texts
    whiskers = [node for node in svg.iter() if node.tag.endswith("line") and node.get("stroke") == "#222"]
    lengths = [float(node.get("x2")) - float(node.get("x1")) for node in whiskers]
    assert lengths[0] > 0
    assert lengths[1] == 0


def test_a_curve_has_a_point_for_each_row_that_has_both_numbers():
    svg = plots.drawn(plots.Plot("x", "One claim", "F1", "t", "ms", across="cost"), TABLES)
    assert svg.count("<circle") == 1


@pytest.mark.parametrize(("section", "column"), [("No claim", "F1"), ("Another claim", "F1"), ("One claim", "EM")])
def test_what_is_not_there_is_named(section, column):
    with pytest.raises(UserError, match="PLOTS"):
        plots.drawn(plots.Plot("x", section, column, "t", "F1"), TABLES)
