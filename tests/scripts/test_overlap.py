"""The overlap script: shared word sequences are found in questions and in raw text, and nothing else is."""

import json
import random
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "overlap.py"


def made(seed: int, count: int = 60) -> str:
    generator = random.Random(seed)
    return " ".join("".join(generator.choices("aeiolnrst", k=6)) for _ in range(count))


def questions(path: Path, *contexts: str) -> Path:
    answer = {"answer_start": 0}
    paragraphs = [
        {
            "context": context,
            "qas": [{"id": f"{path.stem}{number}", "question": "¿Qué?", "answers": [answer | {"text": context[:6]}]}],
        }
        for number, context in enumerate(contexts)
    ]  # fmt: skip
    data = {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_what_is_shared_is_counted(tmp_path: Path) -> None:
    copied, half, own = made(1), made(2), made(3)
    test = questions(tmp_path / "test.json", copied, half, own)
    train = questions(tmp_path / "train.json", copied.upper().replace(" ", ", "), made(4))
    words = half.split()
    text = tmp_path / "libros-00.txt"
    text.write_text(made(5) + "\n" + made(6) + " " + " ".join(words[:20]) + " " + made(7) + "\n", encoding="utf-8")
    command = [sys.executable, str(SCRIPT), "--test", str(test), "--questions", str(train), "--text", str(text)]
    command += ["--clean", str(tmp_path / "clean.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "questions": {"paragraphs": 3, "sharing": 1, "sharing_half": 1},
        "text": {"paragraphs": 3, "sharing": 1, "sharing_half": 0},
    }
    clean = json.loads((tmp_path / "clean.json").read_text(encoding="utf-8"))
    assert [paragraph["context"] for article in clean["data"] for paragraph in article["paragraphs"]] == [made(4)]
