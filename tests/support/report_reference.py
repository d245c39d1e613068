"""The numbers of a report, computed from the raw files beside it by code that shares none with ours."""

import collections
import functools
import json
import math
import random
import re
import statistics
import string
from pathlib import Path

import pytest

from report_case import DATA

MODELS = ("teacher", "student")


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
