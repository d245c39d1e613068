"""The report of a student and its teacher, made once for all test files."""

import json
from pathlib import Path

import pytest

import report_case
from destila.cli.report import run
from destila.config import ReportSettings
from destila.reporting.facts import Facts
from report_case import Tables, markdown_tables


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("case")
    report_case.make(directory)
    rows = [
        {"model": str(directory / name), "tokens": tokens, "p50_ms": p50, "p95_ms": 2 * p50, "queries_per_s": 900 / p50}
        for tokens in (384, 192)
        for name, p50 in (("teacher", 40.0), ("student", 5.0))
    ]
    bench = {"rows": rows, "environment": {"processor": "Abacus", "threads": 3}}
    (directory / "bench.json").write_text(json.dumps(bench))
    return directory


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def text(case: Path, facts: Facts) -> str:
    return (case / "report" / "report.md").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def tables(text: str) -> Tables:
    return markdown_tables(text)
