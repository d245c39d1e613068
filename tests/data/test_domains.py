"""The questions about domains are what their card says; the script turns references into questions and documents."""

import hashlib
import json
import lzma
import re
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from data_card import check_counts
from destila.core.errors import UserError
from destila.data.squad import read
from scripts import load_script

DIRECTORY = Path(__file__).parents[2] / "data" / "domains"
NAMES = ("clinical", "technical", "parliament")
# A made-up text: cases of three lines, a blank line between them.
TEXT = "".join(f"Caso número {n}.\nAñosa señora con tos.\nVino el día {n} de mayo.\n\n" for n in range(100))
FIRST = 4 * 95 + 1  # the line, from 1, where the case 95 starts


@pytest.fixture
def domains() -> ModuleType:
    return load_script("scripts/domains.py")


def passages(name: str) -> list[dict[str, Any]]:
    return json.loads((DIRECTORY / f"{name}.json").read_text(encoding="utf-8"))["passages"]


def counts(name: str) -> list[int]:
    questions = [question for passage in passages(name) for question in passage["questions"]]
    return [
        len(passages(name)),
        len(questions),
        sum(not question["answers"] for question in questions),
        sum(len(question["answers"]) == 2 for question in questions),
        sum(not question["question"].endswith("?") for question in questions),
    ]


def test_the_card_states_the_counts() -> None:
    card = (DIRECTORY / "README.md").read_text(encoding="utf-8")
    total = check_counts(card, {name: counts(name) for name in NAMES})
    assert f"{total[2]} ({total[2] / total[1]:.1%}".replace("%", " %") in card


def test_every_file_of_the_directory_is_counted() -> None:
    assert {path.stem for path in DIRECTORY.glob("*.json")} == set(NAMES)


def test_ids_are_unique_and_passages_share_no_line() -> None:
    everything = [passage for name in NAMES for passage in passages(name)]
    ids = [question["id"] for passage in everything for question in passage["questions"]]
    assert len(set(ids)) == len(ids)
    assert len({passage["id"] for passage in everything}) == len(everything)
    for name in NAMES:
        found = passages(name)
        for before, after in pairwise(found):
            assert before["first_line"] + before["lines"] <= after["first_line"]


@pytest.mark.parametrize("name", NAMES)
def test_answers_lie_within_passages_and_no_text_is_stored(name: str) -> None:
    for passage in passages(name):
        assert set(passage) == {"id", "first_line", "lines", "sha256", "questions"}
        assert re.fullmatch("[0-9a-f]{64}", passage["sha256"])
        for question in passage["questions"]:
            assert set(question) == {"id", "question", "answers"}
            assert len(question["answers"]) <= 2
            for answer in question["answers"]:
                assert set(answer) == {"answer_start", "length"}
                assert answer["answer_start"] >= 0
                assert answer["length"] > 0
                assert answer["answer_start"] + answer["length"] <= 2000


def made(directory: Path) -> tuple[Path, Path]:
    """Directories of a text file and of a domain file about it."""
    texts, references = directory / "texts", directory / "references"
    texts.mkdir()
    references.mkdir()
    (texts / "casos.txt.xz").write_bytes(lzma.compress(TEXT.encode("utf-8")))
    passage = "Caso número 95.\nAñosa señora con tos.\nVino el día 95 de mayo."
    asked = [
        {
            "id": "c-1-1",
            "question": "¿Qué le pasaba?",
            "answers": [{"answer_start": passage.index("tos"), "length": 3}],
        },
        {"id": "c-1-2", "question": "¿Qué fiebre tenía?", "answers": []},
    ]
    digest = hashlib.sha256(passage.encode("utf-8")).hexdigest()
    found = {"id": "c-1", "first_line": FIRST, "lines": 3, "sha256": digest, "questions": asked}
    domain = {
        "file": "casos.txt.xz",
        "sha256": hashlib.sha256(TEXT.encode("utf-8")).hexdigest(),
        "license": "CC0",
        "passages": [found],
    }
    (references / "casos.json").write_text(json.dumps(domain), encoding="utf-8")
    return texts, references


def call(domains: ModuleType, monkeypatch: pytest.MonkeyPatch, texts: Path, references: Path, output: Path) -> None:
    command = ["domains.py", str(texts), str(output), "--documents", "4", "--domains", str(references)]
    monkeypatch.setattr(sys, "argv", command)
    domains.main()


@pytest.mark.parametrize("packed", [True, False])
def test_references_become_questions_and_documents(
    domains: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, packed: bool
) -> None:
    texts, references = made(tmp_path)
    if not packed:
        (texts / "casos.txt.xz").unlink()
        (texts / "casos.txt").write_bytes(TEXT.encode("utf-8"))
    monkeypatch.setattr(domains, "SIZE", 200)
    call(domains, monkeypatch, texts, references, tmp_path / "out")
    examples, _ = read(tmp_path / "out/casos/questions.json", repair=False)
    assert [[answer.text for answer in example.answers] for example in examples] == [["tos"], []]
    assert all(example.context.startswith("Caso número 95.\n") for example in examples)
    files = sorted((tmp_path / "out/casos/documents").iterdir())
    written = [path.read_text(encoding="utf-8") for path in files]
    assert len(written) == 4
    assert all(200 <= len(text) < 260 and text.strip() in TEXT for text in written)
    starts = [int(re.search(r"número (\d+)", text).group(1)) for text in written]  # type: ignore[union-attr]
    assert starts == sorted(set(starts))
    assert starts[-1] < 50


def test_documents_of_a_short_text_share_no_line(domains: ModuleType) -> None:
    lines = [str(number) for number in range(20)]
    assert domains.documents(lines, 3) == ["0\n1\n2", "3\n4\n5", "6\n7\n8\n9"]


def test_a_missing_text_and_another_text_are_refused(
    domains: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    texts, references = made(tmp_path)
    (texts / "casos.txt.xz").write_bytes(lzma.compress((TEXT + "más\n").encode("utf-8")))
    with pytest.raises(UserError, match=r"casos\.txt\.xz: is another text"):
        call(domains, monkeypatch, texts, references, tmp_path / "out")
    (texts / "casos.txt.xz").unlink()
    with pytest.raises(UserError, match="is not there"):
        call(domains, monkeypatch, texts, references, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_that_exists_is_kept(domains: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts, references = made(tmp_path)
    with pytest.raises(SystemExit):
        call(domains, monkeypatch, texts, references, texts)
    assert [path.name for path in texts.iterdir()] == ["casos.txt.xz"]
