"""One question from the shell: `destila answer` against a plain transformers script, from a standing start.

Both are given the same question and text and the same weights, ours as an int8 ONNX export, theirs as they lie in the
model's directory. Every run is a fresh process; the two take turns, after one run of each that warms the disk's cache.
Wall time is from starting the interpreter to its end; memory is the most that the process held (VmHWM).

    python benchmarks/cold_answer.py --reader STUDENT --export ONNX_INT8 --rounds 7

The last line of stdout is one JSON object.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from destila.core.runs import environment
from destila.evaluation import benchmark
from destila.evaluation.evaluate import table
from destila.inference.backends import load_backend
from destila.inference.reader import Reader

# What one would write after reading the model's page: the best span inside of the context, decoded.
TRANSFORMERS = """
import sys
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

directory, question, path = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(directory)
model = AutoModelForQuestionAnswering.from_pretrained(directory)
context = open(path, encoding="utf-8").read()
inputs = tokenizer(question, context, return_tensors="pt", truncation="only_second", max_length=384)
with torch.inference_mode():
    output = model(**inputs)
start = int(output.start_logits[0].argmax())
end = start + int(output.end_logits[0, start : start + 30].argmax())
print(tokenizer.decode(inputs["input_ids"][0, start : end + 1]).strip())
"""
DESTILA = "from destila.cli.main import main; main()"
# Runs a program and appends what the process held at most; Linux only.
WRAPPER = """
import atexit, sys
def peak():
    lines = open("/proc/self/status", encoding="ascii").read().splitlines()
    print(next(line.split()[1] for line in lines if line.startswith("VmHWM")), file=sys.stderr)
atexit.register(peak)
"""


def once(program: str, arguments: list[str]) -> tuple[float, float, str]:
    """Seconds, MiB and the answer of a fresh process."""
    command = [sys.executable, "-c", WRAPPER + program, *arguments]
    started = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if result.returncode:
        raise SystemExit(result.stderr)
    return seconds, int(result.stderr.split()[-1]) / 1024, result.stdout.strip()


def main() -> None:
    """Measure, and print a table and the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reader", required=True, help="a reader that transformers loads")
    parser.add_argument("--export", required=True, help="what destila export made of it")
    parser.add_argument("--tokens", type=int, default=384, help="length of the query")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    reader = Reader.of(load_backend(arguments.export), name=arguments.export)
    question, context = benchmark.query(reader, tokens=arguments.tokens)
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory, "texto.txt"))
        Path(path).write_text(context, encoding="utf-8")
        runs = {
            "transformers": (TRANSFORMERS, [arguments.reader, question, path]),
            "destila answer": (DESTILA, ["answer", question, "--context", path, "--model", arguments.export]),
        }
        found = {name: [once(*run)] for name, run in runs.items()}
        for _ in range(arguments.rounds):
            for name, run in runs.items():
                found[name].append(once(*run))
    rows = []
    for name, measured in found.items():
        seconds, memory, _ = zip(*measured[1:], strict=True)
        rows.append({"program": name, "seconds": median(seconds), "fastest": min(seconds), "peak_mb": median(memory)})
    for row in rows:
        row["times_faster"] = rows[0]["seconds"] / row["seconds"]
        row["times_less_memory"] = rows[0]["peak_mb"] / row["peak_mb"]
    head = ["program", "seconds", "fastest", "peak MB", "times faster", "times less memory"]
    forms = ["{}", "{:.2f}", "{:.2f}", "{:.0f}", "{:.1f}", "{:.1f}"]
    cells = [[form.format(value) for form, value in zip(forms, row.values(), strict=True)] for row in rows]
    print(f"{arguments.rounds} rounds, {arguments.tokens} tokens\n\n{table(head, cells)}\n")
    print(json.dumps({"rows": rows, "environment": environment()}))


if __name__ == "__main__":
    main()
