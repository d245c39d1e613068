"""Every number of a report, computed again from the raw files beside it by code that shares none with ours."""

import collections
import json
import math
import random
import re
import statistics
import struct
import tomllib
from pathlib import Path

import pytest

from destila.reporting.facts import Facts
from report_case import STEPS, Tables
from report_reference import (
    MODELS,
    check_interval,
    ends,
    near,
    normalize,
    number,
    questions,
    raw,
    scored,
)


# ---------------------------------------------------------------------------------------------------- the numbers
@pytest.mark.parametrize("rules", ["squad", "mlqa-es"])
def test_scores_are_those_of_the_raw_predictions(case: Path, tables: Tables, rules: str) -> None:
    rows = {(row[0], row[1]): row for row in tables["By both rules, and apart: questions with an answer, and without"]}
    articles = [question.title for question in questions()]
    for name in MODELS:
        pairs = scored(case, name, rules)
        row = rows[name, rules]
        for column, place in ((2, 0), (3, 1)):
            values = [pair[place] for pair in pairs]
            assert number(row[column]) == near(100 * statistics.mean(values))
            check_interval(row[column], values, articles)
        has = [pair for pair, question in zip(pairs, questions(), strict=True) if question.golds]
        none = [pair for pair, question in zip(pairs, questions(), strict=True) if not question.golds]
        assert number(row[4]) == near(100 * statistics.mean(pair[0] for pair in has))
        assert number(row[5]) == near(100 * statistics.mean(pair[1] for pair in has))
        assert number(row[6]) == near(100 * statistics.mean(pair[0] for pair in none))


def test_sizes_and_ratios_are_those_of_the_files(case: Path, tables: Tables) -> None:
    head, *rows = tables["Scores by the squad rules, and size"]
    assert [row[0] for row in rows] == list(MODELS)  # the reference first
    parameters, sizes, means = [], [], []
    for name in MODELS:
        weights = (case / name / "model.safetensors").read_bytes()
        table = json.loads(weights[8 : 8 + struct.unpack("<Q", weights[:8])[0]])
        shapes = [entry["shape"] for key, entry in table.items() if key != "__metadata__"]
        parameters.append(sum(math.prod(shape) for shape in shapes))
        kept = {"model.safetensors", "config.json", "tokenizer.json", "destila.json"}
        sizes.append(sum(path.stat().st_size for path in (case / name).iterdir() if path.name in kept))
        means.append(statistics.mean(pair[0] for pair in scored(case, name)))
    for place, row in enumerate(rows):
        assert row[1] == "torch fp32"
        assert row[4] == f"{100 * means[place] / means[0]:.1f} %"
        assert row[5] == f"{parameters[place]:,} ({parameters[0] / parameters[place]:.2f} x)"
        assert row[6] == f"{sizes[place] / 1e6:.1f} MB ({sizes[0] / sizes[place]:.2f} x)"
    assert len(head) == 7


def test_speed_is_what_bench_wrote(tables: Tables, text: str) -> None:
    assert tables["Speed, from text to answer"][1:] == [
        ["teacher", "384", "40.0", "80.0", "1.00 x", "22.5"],
        ["teacher", "192", "40.0", "80.0", "1.00 x", "22.5"],
        ["student", "384", "5.0", "10.0", "8.00 x", "180.0"],
        ["student", "192", "5.0", "10.0", "8.00 x", "180.0"],
    ]
    assert "Abacus, 3 threads" in text
    assert "5.0 ms for a question of 384 tokens (median), 8.00 x faster than teacher; 180 questions a second" in text


@pytest.mark.parametrize("rules", ["squad", "mlqa-es"])
def test_differences_are_paired_by_article(case: Path, tables: Tables, rules: str) -> None:
    row = next(row for row in tables["Paired differences to teacher, in points"] if row[:2] == ["student", rules])
    left, right = scored(case, "teacher", rules), scored(case, "student", rules)
    articles = [question.title for question in questions()]
    for column, place in ((2, 0), (4, 1)):
        gaps = [mine[place] - theirs[place] for theirs, mine in zip(left, right, strict=True)]
        assert number(row[column]) == near(100 * statistics.mean(gaps))
        check_interval(row[column], gaps, articles)
        sums: dict[str, float] = collections.defaultdict(float)
        for gap, article in zip(gaps, articles, strict=True):
            sums[article] += gap
        chance, hits = random.Random(5), 0
        for _ in range(2000):
            hits += abs(sum(chance.choice((-1, 1)) * value for value in sums.values())) >= abs(sum(gaps)) - 1e-9
        assert number(row[column + 1]) == pytest.approx((1 + hits) / 2001, abs=0.03)
    texts = [{key: item["answer"]["text"] or "" for key, item in raw(case, name).items()} for name in MODELS]
    same = statistics.mean(normalize(texts[0][key], rules) == normalize(texts[1][key], rules) for key in texts[0])
    assert row[6] == f"{100 * same:.1f} %"
    kept = sum(pair[0] for pair in right) / sum(pair[0] for pair in left)
    assert row[7] == f"{100 * kept:.1f} %"


def test_curves_are_those_of_the_metrics(case: Path, tables: Tables, facts: Facts) -> None:
    for name, terms in (("teacher", ["loss", "task"]), ("student", ["loss", "task", "soft", "hidden", "attention"])):
        lines = [json.loads(line) for line in (case / name / "metrics.jsonl").read_text().splitlines()]
        rows = tables[f"{name}: the loss and its terms before their weights"][1:]
        assert [row[0] for row in rows] == terms
        rows += tables[f"{name}: on dev"][1:] + tables[f"{name}: learning rate, gradient and speed"][1:]
        assert [row[0] for row in rows[len(terms) :]] == ["dev_f1", "learning_rate"]
        for row in rows:
            points = [(line[row[0]], line["step"]) for line in lines if row[0] in line]
            low, high = min(points), max(points)
            assert row[1] == str(len(points))
            assert [float(row[column]) for column in (2, 5)] == pytest.approx([points[0][0], points[-1][0]], rel=5e-4)
            assert row[3] == f"{low[0]:.4g} (step {low[1]})"
            assert row[4] == f"{high[0]:.4g} (step {high[1]})"
    drawn = next(curve for curve in facts.runs[1].curves if curve.name == "soft")
    steps = [step for step, _ in drawn.points]
    assert (steps[0], steps[-1], len(steps)) == (1, STEPS, 240)


def test_layers_agree_as_computed_by_hand(case: Path, tables: Tables, facts: Facts) -> None:
    rows = tables["Agreement with the teacher, layer by layer"][1:]
    assert [row[:2] for row in rows] == [["0", "0"], ["1", "1"], ["2", "4"]]  # the layer map of the run
    found = facts.agreement
    for layer, row in enumerate(rows):
        mapped = int(row[1])
        assert number(row[2]) == pytest.approx(found.hidden[layer][mapped], abs=0.00051)  # type: ignore[union-attr]
        assert int(row[4]) == max(range(5), key=lambda other: found.hidden[layer][other])  # type: ignore[union-attr]
    assert rows[0][3] == "–"
    assert number(rows[2][3]) == pytest.approx(found.attention[1][3], abs=0.00051)  # type: ignore[union-attr]


def test_cost_licenses_and_settings_are_those_of_the_runs(case: Path, tables: Tables, text: str) -> None:
    rows = tables["Time, and an estimate of energy"][1:]
    kilowatt_hours = 2 * 12 * 1.5 / 1000
    assert [[row[0], row[1], row[4], row[5], row[6]] for row in rows] == [
        ["teacher", "finetune", str(STEPS), "1 h 30 min", f"{kilowatt_hours:.4g} kWh"],
        ["student", "distill", str(STEPS), "1 h 30 min", f"{kilowatt_hours:.4g} kWh"],
        ["together", "", "", "3 h 00 min", f"{2 * kilowatt_hours:.4g} kWh"],
    ]
    assert "12 W for each of 2 processor cores" in text
    licenses = {(row[2], row[1]): row[3] for row in tables["Data"][1:]}
    assert licenses["sqac", "train"] == "CC BY-SA 4.0"
    assert licenses["mine.json", "train"] == "not stated"
    assert licenses["nativa", "judged"] == "CC BY 4.0"
    assert "share-alike" in text
    assert "No license is stated for mine.json" in text
    assert "To try it, yes; for more, ask first about mine.json (no license stated)." in text
    assert "Commands and settings make teacher and student again (training took 3 h 00 min)" in text
    assert "Needed for that, and not here: mine.json." in text
    for name in MODELS:
        quoted = re.search(rf"^{name}: settings:\n\n```toml\n(.*?)```", text, re.M | re.S)
        assert quoted is not None
        assert tomllib.loads(quoted[1]) == tomllib.loads((case / name / "settings.toml").read_text())
    commands = re.search(r"^Make student again.*?```sh\n(.*?)```", text, re.M | re.S)
    assert commands is not None
    assert [line.split()[1] for line in commands[1].splitlines()] == ["finetune", "distill"]


def test_the_minute_says_what_the_tables_say(tables: Tables, text: str) -> None:
    minute = text[text.index("## In a minute") : text.index("## Scores and size")].replace("\\", "")
    assert minute.count("\n- **") + minute.startswith("- **") == 10
    main = tables["Scores by the squad rules, and size"][2]
    difference = tables["Paired differences to teacher, in points"][1]
    f1, em = number(main[2]), number(main[3])
    assert f"F1 {f1:.2f} and exact match {em:.2f} of 100" in minute
    assert f"{main[4]} of it is kept" in minute
    apart = next(
        row for row in tables["By both rules, and apart: questions with an answer, and without"] if row[0] == "student"
    )
    assert f"(F1 {apart[4]} where there is an answer, {apart[6]} where there is none)" in minute
    low, high = ends(main[2])
    assert f"[{low:.2f}, {high:.2f}]" in minute
    assert f"{difference[2].split()[0]} points" in minute
    assert f"p = {difference[3]}" in minute
    assert ("chance alone" in minute) == (ends(difference[2])[0] <= 0 <= ends(difference[2])[1])
    assert main[5].split()[0] in minute
    assert "171 questions about 20 articles" in minute


def test_the_commands_score_the_raw_predictions_again(
    text: str, tables: Tables, capsys: pytest.CaptureFixture[str]
) -> None:
    from destila.cli.main import dispatch

    commands = re.search(r"^Score the predictions.*?```sh\n(.*?)```", text, re.M | re.S)
    assert commands is not None
    rows = {(row[0], row[1]): row for row in tables["By both rules, and apart: questions with an answer, and without"]}
    for name, command in zip(MODELS, commands[1].splitlines(), strict=True):
        dispatch([*command.split()[1:], "--json"])
        for report in json.loads(capsys.readouterr().out)["reports"]:
            row = rows[name, report["normalizer"]]
            assert row[2] == f"{report['f1']:.2f} [{report['f1_ci'][0]:.2f}, {report['f1_ci'][1]:.2f}]"
