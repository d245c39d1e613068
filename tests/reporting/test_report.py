"""Every number of a report, computed again from the raw files beside it by code that shares none with ours."""

import collections
import functools
import json
import math
import random
import re
import statistics
import string
import struct
import tomllib
from pathlib import Path

import pytest

import report_case
from destila.cli.report import run
from destila.config import ReportSettings
from destila.core.errors import UserError
from destila.reporting.facts import Facts
from report_case import DATA, STEPS, THRESHOLD, Tables, markdown_tables

MODELS = ("teacher", "student")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("case")
    report_case.make(directory)
    rows = [
        {"model": str(directory / name), "tokens": tokens, "p50_ms": p50, "p95_ms": 2 * p50, "queries_per_s": 900 / p50}
        for tokens in (384, 192)
        for name, p50 in (("teacher", 40.0), ("student", 5.0))
    ]
    bench = {"rows": rows, "environment": {"processor": "Abacus", "threads": 3}}
    (directory / "bench.json").write_text(f"a table\n\n{json.dumps(bench)}\n")
    return directory


@pytest.fixture(scope="module")
def facts(case: Path) -> Facts:
    return run(
        ReportSettings(
            runs=[str(case / "student")],
            output=str(case / "report"),
            bench=str(case / "bench.json"),
            reuse=True,
            backend="torch",
            layer_windows=3,
            max_errors=60,
        )
    )


@pytest.fixture(scope="module")
def text(case: Path, facts: Facts) -> str:
    return (case / "report" / "report.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tables(text: str) -> Tables:
    return markdown_tables(text)


# ---------------------------------------------------------------------------------------------------- the reference
def normalize(text: str, rules: str) -> str:
    articles, drop = {
        "squad": (r"\b(a|an|the)\b", set(string.punctuation)),
        "mlqa-es": (r"\b(un|una|unos|unas|el|la|los|las)\b", set(string.punctuation) | set("¿¡«»“”‘’—–…·ºª")),
    }[rules]
    kept = "".join(letter for letter in text.lower() if letter not in drop)
    return " ".join(re.sub(articles, " ", kept).split())


def token_f1(said: str, gold: str) -> float:
    left, right = said.split(), gold.split()
    if not left or not right:
        return float(left == right)
    same = sum((collections.Counter(left) & collections.Counter(right)).values())
    return 0.0 if not same else 2 / (len(left) / same + len(right) / same)


class Question:
    """A question of the data file, read without our reader of data files."""

    def __init__(self, article: dict, paragraph: dict, question: dict) -> None:
        self.id, self.text = question["id"], question["question"]
        self.context, self.title = paragraph["context"], article["title"]
        self.source, self.country = article["source"], article["country"]
        self.golds = [] if question["is_impossible"] else [answer["text"] for answer in question["answers"]]
        self.spans = [(one["answer_start"], one["answer_start"] + len(one["text"])) for one in question["answers"]]

    def scores(self, said: str | None, rules: str = "squad") -> tuple[float, float]:
        golds = [normalize(gold, rules) for gold in self.golds] or [""]
        plain = normalize(said or "", rules)
        return max(token_f1(plain, gold) for gold in golds), float(plain in golds)


@functools.cache
def questions() -> list[Question]:
    document = json.loads(Path(DATA).read_text(encoding="utf-8"))
    return [
        Question(article, paragraph, question)
        for article in document["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]


@functools.cache
def raw(case: Path, name: str) -> dict[str, dict]:
    lines = (case / "report" / "predictions" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}


@functools.cache
def scored(case: Path, name: str, rules: str = "squad") -> list[tuple[float, float]]:
    rows = raw(case, name)
    return [question.scores(rows[question.id]["answer"]["text"], rules) for question in questions()]


def interval(values: list[float], articles: list[str], *, seed: int = 99, rounds: int = 6000) -> tuple[float, float]:
    """Cluster bootstrap; the level is widened by Student's t for this number of articles."""
    members = collections.defaultdict(list)
    for value, article in zip(values, articles, strict=True):
        members[article].append(value)
    units = [(sum(own), len(own)) for own in members.values()]
    chance, means = random.Random(seed), []
    for _ in range(rounds):
        drawn = chance.choices(units, k=len(units))
        means.append(100 * sum(total for total, _ in drawn) / sum(size for _, size in drawn))
    student_t = {19: 2.0930}[len(units) - 1]
    tail = statistics.NormalDist().cdf(-math.sqrt(len(units) / (len(units) - 1)) * student_t)
    means.sort()
    return means[round(tail * rounds)], means[round((1 - tail) * rounds)]


def check_interval(cell: str, values: list[float], articles: list[str]) -> None:
    """The interval in a cell is the reference's, but for what two bootstraps of some thousand resamples differ by."""
    low, high = interval(values, articles)
    assert ends(cell) == pytest.approx((low, high), abs=0.09 * (high - low))


def number(cell: str) -> float:
    return float(re.match(r"[-+]?[\d.,]+", cell)[0].replace(",", ""))  # type: ignore[index]


def ends(cell: str) -> tuple[float, float]:
    low, high = re.findall(r"\[(.*), (.*)\]", cell)[0]
    return float(low), float(high)


def near(value: float) -> object:
    return pytest.approx(value, abs=0.00501)


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


def length(words: int, bins: tuple[tuple[int, str], ...], rest: str) -> str:
    return next((name for most, name in bins if words <= most), rest)


KINDS = {
    "Words of the first right answer: F1 and EM": lambda one: (
        length(len(one.golds[0].split()), ((1, "1"), (3, "2-3"), (7, "4-7")), "8+") if one.golds else "none"
    ),
    "Words of the context: F1 and EM": lambda one: length(
        len(one.context.split()), ((99, "<100"), (199, "100-199"), (399, "200-399")), "400+"
    ),
    "Source of the article: F1 and EM": lambda one: one.source,
    "Variety of Spanish: F1 and EM": lambda one: one.country,
    "Question word: F1 and EM": lambda one: next(
        word
        for word, pattern in (
            ("por qué", "por qué"),
            ("quién", "quién"),
            ("cuándo", "cuándo"),
            ("dónde", "dónde"),
            ("cuánto", "cuánt"),
            ("cómo", "cómo"),
            ("cuál", "cuál"),
            ("qué", "qué"),
            ("otra", ""),
        )
        if pattern in one.text.lower()
    ),
}


@pytest.mark.parametrize("caption", KINDS)
def test_parts_are_those_of_the_raw_predictions(case: Path, tables: Tables, caption: str) -> None:
    rows = tables[caption][1:]
    groups = collections.defaultdict(list)
    for place, question in enumerate(questions()):
        groups[KINDS[caption](question)].append(place)
    assert sorted(row[0] for row in rows) == sorted(groups)
    titles = [question.title for question in questions()]
    for row in rows:
        places = groups[row[0]]
        assert row[1:3] == [str(len(places)), str(len({titles[place] for place in places}))]
        for column, name in enumerate(MODELS):
            pairs = [scored(case, name)[place] for place in places]
            assert number(row[3 + 2 * column]) == near(100 * statistics.mean(pair[0] for pair in pairs))
            assert number(row[4 + 2 * column]) == near(100 * statistics.mean(pair[1] for pair in pairs))
            low, high = ends(row[3 + 2 * column])
            assert low <= number(row[3 + 2 * column]) <= high
            assert row[3 + 2 * column].endswith("*") == (row[2] == "1")
            if row[2] == "20":
                values, articles = [pair[0] for pair in pairs], [titles[place] for place in places]
                check_interval(row[3 + 2 * column], values, articles)


def test_calibration_is_that_of_the_raw_scores(case: Path, tables: Tables) -> None:
    bins = collections.defaultdict(list)
    for name in MODELS:
        rows = raw(case, name)
        for question, (_, right) in zip(questions(), scored(case, name), strict=True):
            score = rows[question.id]["answer"]["score"]
            bins[name, min(9, math.floor(score * 10))].append((score, right))
    found = {(row[0], row[1]): row for row in tables["Bins of scores"][1:]}
    assert len(found) == len(bins)
    for (name, place), pairs in bins.items():
        row = found[name, f"{place / 10:.1f} to {(place + 1) / 10:.1f}"]
        means = [statistics.mean(pair[side] for pair in pairs) for side in (0, 1)]
        assert row[2] == str(len(pairs))
        assert [number(cell) for cell in row[3:]] == pytest.approx([100 * mean for mean in means], abs=0.0501)
    for row in tables["Calibration of all answers given"][1:]:
        own = {key: pairs for key, pairs in bins.items() if key[0] == row[0]}
        total = sum(map(len, own.values()))
        error = sum(abs(sum(right - score for score, right in pairs)) for pairs in own.values()) / total
        assert number(row[1]) == pytest.approx(error, abs=0.00006)
        everything = [pair for pairs in own.values() for pair in pairs]
        for column in (2, 3):
            mean = statistics.mean(pair[column - 2] for pair in everything)
            assert number(row[column]) == pytest.approx(100 * mean, abs=0.0501)


def at_threshold(case: Path, name: str, cut: float) -> list[float]:
    """Answered share and F1 of all, of those with an answer, and of those without, in percent."""
    rows, answered, parts = raw(case, name), 0, ([], [], [])
    for question in questions():
        given = rows[question.id]["no_answer_score"] <= cut
        answered += given
        f1 = question.scores(rows[question.id]["best"]["text"] if given else None)[0]
        parts[0].append(f1)
        parts[1 if question.golds else 2].append(f1)
    return [100 * answered / len(rows), *(100 * statistics.mean(part) for part in parts)]


def test_the_no_answer_curve_is_that_of_the_raw_scores(case: Path, tables: Tables) -> None:
    rows = {(row[0], row[1].split(":")[0]): row for row in tables["No-answer thresholds"][1:]}
    assert rows["teacher", "its own"][1] == "its own: none: it always answers"
    assert rows["student", "its own"][1] == f"its own: {THRESHOLD:.3f}"
    for name, cut in (("teacher", math.inf), ("student", THRESHOLD)):
        expected = at_threshold(case, name, cut)
        assert [number(cell) for cell in rows[name, "its own"][2:]] == pytest.approx(expected, abs=0.0501)
        cuts = sorted(row["no_answer_score"] for row in raw(case, name).values())
        best = max(at_threshold(case, name, cut)[1] for cut in [cuts[0] - 1, *cuts])
        assert number(rows[name, "best here"][3]) == near(best)
    curve = tables["Every few points of the curve of student"][1:]
    assert len(curve) > 8
    cuts = sorted(row["no_answer_score"] for row in raw(case, "student").values())
    for row in curve:
        cut = min([cuts[0] - 1, *cuts], key=lambda value: abs(value - float(row[0])))
        assert [number(cell) for cell in row[1:]] == pytest.approx(at_threshold(case, "student", cut), abs=0.0501)


def kind_of(question: Question, answer: dict, right: float) -> str:
    if right:
        return "right"
    if answer["text"] is None:
        return "missed"
    if not question.golds:
        return "invented"
    said = set(range(answer["start"], answer["end"]))
    golds = [set(range(*span)) for span in question.spans]
    golds = [gold for gold in golds if gold & said]
    if not golds:
        return "elsewhere"
    if any(said >= gold for gold in golds):
        return "too long"
    return "too short" if any(said <= gold for gold in golds) else "shifted"


def test_errors_are_counted_and_listed_in_the_order_of_the_data(
    case: Path, tables: Tables, facts: Facts, text: str
) -> None:
    rows = {name: raw(case, name) for name in MODELS}
    right = {name: [pair[1] for pair in scored(case, name)] for name in MODELS}
    kinds, versus, listed = collections.Counter(), collections.Counter(), []
    for place, question in enumerate(questions()):
        ours, theirs = right["student"][place], right["teacher"][place]
        if ours and theirs:
            continue
        kinds[kind_of(question, rows["student"][question.id]["answer"], ours)] += 1
        versus[
            "both are wrong"
            if not ours and not theirs
            else "the model alone is wrong"
            if theirs
            else "the reference alone is wrong"
        ] += 1
        listed.append(question.id)
    found = {row[0].split(":")[0]: int(row[1]) for row in tables["Kinds of error"][1:]}
    assert found == dict(kinds)
    assert len(found) == 7  # every kind there is
    for row in tables["Kinds of error"][1:]:
        assert row[2] == f"{100 * int(row[1]) / 171:.1f} %"
    who = {row[0]: int(row[1]) for row in tables["student (the model) and teacher (the reference)"][1:]}
    assert who == dict(versus)
    assert [mistake.id for mistake in facts.mistakes.shown] == listed[:60]
    assert f"{len(listed)} of 171 questions on which student or teacher is not exactly right" in text
    assert f"The first 25 of {len(listed)}" in text
    wrong = sum(number for kind, number in kinds.items() if kind != "right")
    errors = dict(collections.Counter({kind: kinds[kind] for kind in kinds if kind != "right"}).most_common(3))
    names = {"elsewhere": "point to another place", "missed": 'say "no answer" where there is one'}
    assert f"{wrong} of 171 answers are not exactly right: " in text
    for kind, does in names.items():
        assert (f"{kinds[kind]} {does}" in text) == (kind in errors)


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


def test_cost_licences_and_settings_are_those_of_the_runs(case: Path, tables: Tables, text: str) -> None:
    rows = tables["Time, and an estimate of energy"][1:]
    kilowatt_hours = 2 * 12 * 1.5 / 1000
    assert [[row[0], row[1], row[4], row[5], row[6]] for row in rows] == [
        ["teacher", "finetune", str(STEPS), "1 h 30 min", f"{kilowatt_hours:.4g} kWh"],
        ["student", "distill", str(STEPS), "1 h 30 min", f"{kilowatt_hours:.4g} kWh"],
        ["together", "", "", "3 h 00 min", f"{2 * kilowatt_hours:.4g} kWh"],
    ]
    assert "12 W for each of 2 processor cores" in text
    licences = {(row[2], row[1]): row[3] for row in tables["Data"][1:]}
    assert licences["sqac", "train"] == "CC BY-SA 4.0"
    assert licences["mine.json", "train"] == "not stated"
    assert licences["nativa", "judged"] == "CC BY 4.0"
    assert "share-alike" in text
    assert "No licence is stated for mine.json" in text
    assert "To try it, yes; for more, ask first about mine.json (no licence stated)." in text
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
        dispatch(command.split()[1:])
        for report in json.loads(capsys.readouterr().out.splitlines()[-1])["reports"]:
            row = rows[name, report["normalizer"]]
            assert row[2] == f"{report['f1']:.2f} [{report['f1_ci'][0]:.2f}, {report['f1_ci'][1]:.2f}]"


# ---------------------------------------------------------------------------------------------------- the command
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
        ({"bench": "{case}/student/destila.json"}, "is not what destila bench prints"),
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
    from tiny import tiny_reader

    reader = tiny_reader(tmp_path / "reader")
    with pytest.raises(UserError, match="--data: is required"):
        run(ReportSettings(runs=[str(reader)], output=str(tmp_path / "report")))
