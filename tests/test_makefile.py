"""What `make serve` and `make audit` do, as far as it can be seen without a network and a browser."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def dry_run(*arguments):
    return subprocess.run(
        ["make", "-n", "--no-print-directory", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def test_make_serve_opens_the_page_with_the_model_that_is_named():
    (line,) = [line for line in dry_run("serve", "MODEL=runs/mine").splitlines() if "destila serve" in line]
    assert line.endswith("destila serve --open --model runs/mine")
    (line,) = [line for line in dry_run("serve", "MODEL=").splitlines() if "destila serve" in line]
    assert line.split()[-2:] == ["serve", "--open"]


def test_make_report_says_last_where_the_page_is():
    lines = dry_run("report", "TEACHER=models/mine").splitlines()
    bench, report = [line for line in lines if "destila bench" in line or "destila report" in line]
    assert "--model models/mine --model src/destila/inference/shipped" in bench
    assert "--reference models/mine" in report
    lengths = [int(length) for length in re.findall(r"--lengths (\d+)", bench)]
    windows = [json.loads(path.read_text())["window"]["length"] for path in ROOT.glob("models/*/destila.json")]
    assert windows
    assert max(lengths) <= min(windows), "bench refuses a question that is longer than a window"
    assert bench.split()[-1] == "build/bench.json"
    assert "--bench build/bench.json" in report
    assert lines[-1].startswith(f'echo "the report: file://{ROOT}/build/report/report.html')
    without = [line for line in dry_run("report", "TEACHER=").splitlines() if "destila" in line]
    assert not any("--reference" in line or "--model" in line for line in without)


def test_the_audit_is_no_part_of_the_tests():
    assert "audit" in dry_run("audit")
    assert "audit" not in (ROOT / ".ci" / "run").read_text()
    assert ".ci/audit" not in dry_run("test")


FLAW = {"id": "PYSEC-1", "fix_versions": ["2.0"]}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found"}
ANSWERS = {
    "vulnerable": ({"pypi": [{"name": "a", "version": "1.0", "vulns": [FLAW]}, SKIPPED]}, 1, "a 1.0: PYSEC-1"),
    "clean": ({"pypi": [{"name": "a", "version": "1.0", "vulns": []}, SKIPPED]}, 0, "1 of 2 packages audited, 0 vuln"),
    "the second knows": (
        {"pypi": [SKIPPED], "osv": [{"name": "a", "version": "1", "vulns": [FLAW]}]},
        1,
        "osv: 1 of 1",
    ),
    "unknown": ({"pypi": [SKIPPED], "osv": [SKIPPED]}, 0, "NOT AUDITED"),
    "unreachable": ({}, 0, "NOT AUDITED"),
    "misused": (None, 1, ""),
}


@pytest.mark.parametrize(("answers", "code", "said"), ANSWERS.values(), ids=ANSWERS)
def test_the_audit_says_what_is_known_and_what_is_not(tmp_path, answers, code, said):
    """A stand-in for pip-audit answers as its services do; one that has no answer dies like it without a network."""
    (tmp_path / "pip_audit.py").write_text(
        "import json, sys\n"
        f"answers = json.loads({json.dumps(json.dumps(answers))})\n"
        "if answers is None: sys.exit(2)\n"
        "assert '--local' in sys.argv\n"
        "print(json.dumps({'dependencies': answers[sys.argv[-1]]}))\n"
    )
    environment = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, ".ci/audit"], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == code, done.stderr
    assert said in done.stdout
