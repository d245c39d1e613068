"""The documentation site: its pages, its links, and that it is no part of the tests' installation."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))


def pages_of(nav: object) -> list[str]:
    """The files that the navigation names, nested sections included."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in pages_of(part)]  # type: ignore[attr-defined]


def test_the_navigation_names_every_page_and_no_other() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    found = pages_of(site["nav"])
    assert sorted(found) == sorted(path.name for path in PAGES)
    assert len(set(found)) == len(found)
    assert site["strict"]
    assert site["site_dir"].startswith("build/")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_of_every_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        linked = page.parent / file if file else page
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target


def test_what_builds_the_site_is_pinned_and_not_installed_for_tests() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    names = {re.split(r"[\[><=]", requirement)[0] for requirement in project["optional-dependencies"]["docs"]}
    assert names == {"mkdocs-material", "mkdocstrings"}
    assert {*names, "mkdocs", "mkdocstrings-python", "griffelib"} <= pinned
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "docs" not in re.findall(r'-e "\.\[(.*?)\]"', makefile)[0].split(",")


def test_the_workflow_runs_what_ci_runs() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    commands = {job: [step["run"] for step in it["steps"] if "run" in step] for job, it in workflow["jobs"].items()}
    assert commands == {"test": [".ci/run"], "docs": ["make docs"]}
