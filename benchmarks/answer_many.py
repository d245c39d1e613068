"""Answer a million lines through three kills: nothing lost or repeated, in order, in flat memory; last line: JSON.

    python benchmarks/answer_many.py [--lines 1000000] [--kills 3] [--model DIRECTORY] [--directory DIRECTORY]

`destila answer --input --output` is started, killed with SIGKILL at a random moment, and started again; the last run
ends by itself. Then every line of the output is held against its line of input. Without --model a tiny random reader is
made and exported to ONNX, because the file, not the network, is what is tested. Every thousandth line is broken.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TEXTS = (
    "La biblioteca de Valdehoz abrió el 14 de mayo de 1987 junto al río Arlo.",
    "Desde 2009 la dirige Carmen Ledesma, que creó el club de lectura nocturna.",
    "Hoy guarda 42 300 libros y 1 150 mapas donados por Tomás Urrutia. La entrada es gratuita.",
)
BROKEN_EVERY = 1_000
WANTED_MEGABYTES = 500


def make_reader(directory: Path) -> Path:
    """A tiny random reader, run by onnxruntime as the one that ships."""
    import torch
    import transformers

    from destila.cli import export
    from destila.config import ExportSettings
    from destila.data.tokenizers import train_tokenizer

    tokenizer = train_tokenizer(TEXTS, vocabulary_size=400)
    config = transformers.RobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=130,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    torch.manual_seed(1)
    transformers.RobertaForQuestionAnswering(config).save_pretrained(directory / "torch")
    tokenizer.save(str(directory / "torch" / "tokenizer.json"))
    window = {"window": {"length": 128, "stride": 32, "max_answer_tokens": 10}}
    (directory / "torch" / "destila.json").write_text(json.dumps(window), encoding="utf-8")
    export.run(ExportSettings(model=str(directory / "torch"), output=str(directory / "onnx")))
    return directory / "onnx"


def write_questions(path: Path, lines: int) -> None:
    """So many lines; every thousandth is no JSON."""
    with open(path, "w", encoding="utf-8") as file:
        for number in range(lines):
            record = {"id": number, "question": f"¿Qué dice {number % 97}?", "context": TEXTS[number % len(TEXTS)]}
            file.write(json.dumps(record, ensure_ascii=False) + "\n" if (number + 1) % BROKEN_EVERY else "{broken\n")


def lines_done(output: Path) -> int:
    """How many lines of input the record of the output counts."""
    try:
        record = json.loads(output.with_name(f"{output.name}.progress").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0
    return int(record["place"].get("lines", 0))


def peak_megabytes(pid: int) -> float:
    """The most memory that a running process ever held."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0  # it has just ended


def run(command: list[str], output: Path, *, kill_at: int | None) -> float:
    """Run until `kill_at` lines are recorded and up to a second more, then kill; None: to the end. Gives the peak."""
    peak, chance = 0.0, random.Random(kill_at)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, peak_megabytes(process.pid))
            if kill_at is not None and lines_done(output) >= kill_at:
                time.sleep(chance.random())
                process.kill()
                break
            time.sleep(0.1)
    if kill_at is None and process.returncode:
        raise SystemExit(f"destila answer ended with {process.returncode}")
    return peak


def wrong_lines(source: Path, output: Path) -> int:
    """Lines of output that do not belong to their line of input; a missing or a repeated one shifts all that follow."""
    wrong = 0
    with open(source, encoding="utf-8") as questions, open(output, encoding="utf-8") as answers:
        for number, (question, answer) in enumerate(zip(questions, answers, strict=True)):
            result = json.loads(answer)
            if (number + 1) % BROKEN_EVERY == 0:
                wrong += "error" not in result
                continue
            text = result["answers"][0]["text"]
            wrong += result["id"] != number or (text is not None and text not in json.loads(question)["context"])
    return wrong


def measure(lines: int, kills: int, model: str | None, directory: Path) -> dict[str, Any]:
    """All runs and the check."""
    source, output = directory / "questions.jsonl", directory / "answers.jsonl"
    reader = model or str(make_reader(directory))
    write_questions(source, lines)
    files = ["--input", str(source), "--output", str(output)]
    command = [sys.executable, "-m", "destila", "answer", "--model", reader, *files]
    moments = sorted(random.Random(lines).sample(range(lines // 20, lines - lines // 20), kills))
    began = time.perf_counter()
    peaks = [run(command, output, kill_at=moment) for moment in [*moments, None]]
    seconds = time.perf_counter() - began
    return {
        "lines": lines,
        "killed_at": moments,
        "wrong": wrong_lines(source, output),
        "seconds": round(seconds, 1),
        "lines_per_second": round(lines / seconds, 1),
        "peak_mb": round(max(peaks), 1),
        "left_behind": sorted(path.name for path in directory.glob("answers.jsonl?*")),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--model", help="directory of a reader; none: a tiny one is made")
    parser.add_argument("--directory", help="where to put the files; none: a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        result = measure(arguments.lines, arguments.kills, arguments.model, Path(directory))
    print(json.dumps(result))
    good = result["wrong"] == 0 and result["peak_mb"] < WANTED_MEGABYTES and not result["left_behind"]
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
