"""The demo: an answer from the bundled model, then a student distilled here and now, then the paper's table.

    make demo
    make demo QUESTION='¿Quién...?' TEXT=my-text.txt

The teacher is the project's own (models/teacher). The student begins as the bundled model and learns the teacher's
answers to a few hundred questions; the baseline begins there, too, and learns the gold answers without a teacher. All
are scored on questions that none has seen. QUESTION and TEXT come through the environment, so that quotes in them
survive.
"""

import os
import sys
import time
from pathlib import Path
from statistics import median

from destila import Example, Reader, distill
from destila.config import DistillSettings
from destila.config.flags import parse_arguments
from destila.core.errors import UserError
from destila.core.progress import on_stderr
from destila.core.records import Report
from destila.data.sources import load_gold
from destila.evaluation.benchmark import load_candidate
from destila.evaluation.evaluate import evaluate_reader, table
from destila.inference.places import SHIPPED

OUTPUT = Path("runs/demo")
TEACHER = Path("models/teacher")
TEST = "data/nativa/test.json"
QUESTION = "¿Cuándo se inauguró la biblioteca?"
TEXT = """La biblioteca del barrio abrió sus puertas el 14 de mayo de 1987, después de dos años de obras. La dirige
desde entonces Carmen Ledesma, que empezó como voluntaria. En 2011 se amplió con una sala infantil y hoy guarda unos
42.000 libros."""
TIMED = 20  # questions


def asked() -> tuple[str, str]:
    """The question and the text of the environment, or the demo's own.

    Raises:
        UserError: the text cannot be read.
    """
    question, file = os.environ.get("QUESTION") or QUESTION, os.environ.get("TEXT")
    if not file:
        return question, TEXT
    try:
        return question, Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not in UTF-8"
        raise UserError(f"TEXT={file}", f"cannot be read ({reason})", "Name a text file.") from error


def say(name: str, reader: Reader, question: str, context: str) -> None:
    """Print what a reader answers."""
    answer = reader.answer(question, context)
    print(f"  {name:10} {answer.text if answer.text is not None else '(no answer)'}   [{answer.score:.3f}]")


def train_all() -> dict[str, Path]:
    """Distill the student, and train the same shape without a teacher; returns the directories of all readers."""
    files = {
        "student": ["reader/quickstart"],
        "baseline": ["reader/quickstart", "baselines/student-alone"],
    }
    for number, (name, configs) in enumerate(files.items(), start=2):
        print(f"\n== {number} of 4: the {name} ({' + '.join(configs)})", file=sys.stderr)
        arguments = [part for file in configs for part in ("--config", file)]
        arguments += ["--output", str(OUTPUT / name), "--overwrite"]
        distill(parse_arguments(DistillSettings, arguments, command="destila distill"))
    return {"teacher": TEACHER, "baseline": OUTPUT / "baseline", "student": OUTPUT / "student", "bundled": SHIPPED}


def milliseconds_per_query(readers: dict[str, Reader], examples: list[Example], rounds: int = 3) -> dict[str, float]:
    """Median time of one question at a time, in interleaved rounds, so that drift of the machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(rounds):
        for example in examples:
            for name, reader in readers.items():
                start = time.perf_counter()
                reader.answer(example.question, example.context)
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: median(values) for name, values in times.items()}


def paper_table(
    paths: dict[str, Path], counts: dict[str, int], reports: dict[str, Report], speed: dict[str, float]
) -> str:
    """Scores with intervals, size and time, each beside its ratio to the teacher."""
    head = ["model", "F1 [95 %]", "EM [95 %]", "% of teacher F1", "parameters", "bytes", "ms/query"]
    sizes = {name: weight_bytes(path) for name, path in paths.items()}
    first, rows = reports["teacher"], list[list[str]]()
    for name, report in reports.items():
        rows.append(
            [
                name,
                f"{report.f1:.1f} [{report.f1_ci[0]:.1f}, {report.f1_ci[1]:.1f}]",
                f"{report.em:.1f} [{report.em_ci[0]:.1f}, {report.em_ci[1]:.1f}]",
                f"{100 * report.f1 / first.f1:.0f}" if first.f1 else "-",
                f"{counts[name]:,} ({counts['teacher'] / counts[name]:.1f}x)",
                f"{sizes[name] / 1e6:.1f} MB ({sizes['teacher'] / sizes[name]:.1f}x)",
                f"{speed[name]:.1f} ({speed['teacher'] / speed[name]:.1f}x)",
            ]
        )
    return table(head, rows)


def weight_bytes(path: Path) -> int:
    """Bytes of the files with weights in a model directory."""
    return sum(file.stat().st_size for file in path.iterdir() if file.suffix in (".safetensors", ".onnx", ".data"))


def main() -> None:
    """Answer, train, score, compare."""
    started = time.perf_counter()
    question, context = asked()
    print(f"Texto: {context[:400]}\nPregunta: {question}", flush=True)
    say("bundled", Reader.load(), question, context)
    print(f"  (1 of 4 done after {time.perf_counter() - started:.1f} s)", flush=True)
    with on_stderr():
        paths = train_all()
        print("\n== 4 of 4: scores of all on questions that none has seen", file=sys.stderr)
        examples = load_gold([TEST])
        candidates = {name: load_candidate(str(path), backend="auto", threads=0) for name, path in paths.items()}
        readers = {name: candidate.reader for name, candidate in candidates.items()}
        reports = {name: evaluate_reader(one, examples, model=name, data=TEST)[0][0] for name, one in readers.items()}
    counts = {name: candidate.parameters for name, candidate in candidates.items()}
    speed = milliseconds_per_query(readers, [one for one in examples if len(one.context) < 1500][:TIMED])
    print(f"\n{len(examples)} held-out questions of {TEST}, SQuAD rules, intervals by article\n")
    print(paper_table(paths, counts, reports, speed))
    print(f"\nPregunta: {question}")
    for name, reader in readers.items():
        say(name, reader, question, context)
    print(f"\nDone in {time.perf_counter() - started:.0f} s. Ask your own:")
    print(f"  .venv/bin/destila answer '¿...?' --context FILE --model {paths['student']}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"demo: {error}")
