"""The skill for agents and the page about them: each of their commands runs, or starts as its settings say."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from destila.cli.main import dispatch
from destila.cli.verbs import VERBS, settings_class
from destila.config.flags import parse_arguments

ROOT = Path(__file__).parents[1]
SKILL = ROOT / "skills" / "destila" / "SKILL.md"
PAGE = ROOT / "docs" / "agents.md"
TEXT = "La biblioteca abrió en 1987. La dirige Carmen Ledesma desde entonces."
SERVERS = {"mcp", "serve"}  # they go on until a signal comes


def blocks(path: Path, language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.S | re.M)
    assert found
    return found


def commands(path: Path) -> list[list[str]]:
    lines = "".join(blocks(path, "sh")).splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("destila ")]


def test_the_skill_says_what_it_is_as_agents_read_it() -> None:
    _, head, body = SKILL.read_text(encoding="utf-8").split("---\n", 2)
    said = yaml.safe_load(head)
    assert said["name"] == SKILL.parent.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", said["name"])
    assert 0 < len(said["description"]) <= 1024
    assert len(said["compatibility"]) <= 500
    assert len(body.splitlines()) < 500


def test_the_commands_of_the_skill_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("bm25s", "lxml", "pypdfium2", "Stemmer"):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DESTILA_CACHE", str(tmp_path / "cache"))
    (tmp_path / "carpeta").mkdir()
    for name in ("memoria.txt", "carpeta/memoria.md"):
        (tmp_path / name).write_text(TEXT, encoding="utf-8")
    line = json.dumps({"question": "¿Quién dirige la biblioteca?", "context": TEXT})
    (tmp_path / "preguntas.jsonl").write_text(f"{line}\n", encoding="utf-8")
    ran = 0
    for verb, *arguments in commands(SKILL):
        assert verb in VERBS
        parse_arguments(settings_class(verb), arguments, command=f"destila {verb}")
        if verb in SERVERS:
            continue
        dispatch([verb, *arguments])
        ran += 1
        if "--json" in arguments:
            (answer, *_) = json.loads(capsys.readouterr().out.splitlines()[-1])["answers"]
            assert TEXT[answer["start"] : answer["end"]] == answer["text"]
    assert ran >= 3
    assert (tmp_path / "respuestas.jsonl").read_text(encoding="utf-8").count("\n") == 1


def test_the_page_starts_the_server_with_settings_that_there_are() -> None:
    given = commands(PAGE)
    for block in blocks(PAGE, "json"):
        for servers in (value for key, value in json.loads(block).items() if key.lower().endswith("servers")):
            given += [server["args"] for server in servers.values() if server["command"] == "destila"]
    assert len(given) == 3
    for verb, *arguments in given:
        assert verb == "mcp"
        assert parse_arguments(settings_class(verb), arguments, command="destila mcp").root


def test_the_page_names_the_tools_and_their_fields() -> None:
    pytest.importorskip("mcp")
    from destila.integrations.mcp import TOOLS
    from destila.integrations.mcp_schema import AnswerResult

    page = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.M) == list(TOOLS)
    example = next(block for block in blocks(PAGE, "json") if '"citation"' in block)
    result = AnswerResult.model_validate_json(example)
    assert result.model_dump(mode="json") == json.loads(example), "no field too many, none missing"
