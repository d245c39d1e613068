"""The demo: the project's teacher, a student that it teaches here and now, the same student without it, and what ships.

    python scripts/demo.py                                      make demo
    python scripts/demo.py "¿Quién...?" my-text.txt              make demo QUESTION="¿Quién...?" TEXT=my-text.txt

Distills a student on two cores in minutes, from a few hundred questions, scores all four on held-out questions, prints
the paper's table for them and answers a question.
"""

import sys
import time
from pathlib import Path
from statistics import median

from destila import Example, Reader, distill
from destila.config import DistillSettings
from destila.config.flags import parse_arguments
from destila.core.progress import on_stderr
from destila.core.records import Report
from destila.data.sources import load_examples
from destila.evaluation.benchmark import load_candidate
from destila.evaluation.evaluate import evaluate_reader
from destila.inference.reader import SHIPPED

OUTPUT = Path("runs/demo")
TEACHER = Path("models/teacher")
TEST = "data/nativa/test.json"
QUESTION = "¿Cuándo se inauguró la biblioteca?"
TEXT = """La biblioteca del barrio abrió sus puertas el 14 de mayo de 1987, después de dos años de obras. La dirige
desde entonces Carmen Ledesma, que empezó como voluntaria. En 2011 se amplió con una sala infantil y hoy guarda unos
42.000 libros."""


def train_all() -> dict[str, Path]:
    """Distill the student, and fine-tune the same one alone; returns the directories of all readers."""
    files = {
        "student": ["reader/quickstart"],
        "baseline": ["reader/quickstart", "baselines/student-alone"],
    }
    for name, configs in files.items():
        print(f"\n== {name}: {' + '.join(configs)}", file=sys.stderr)
        arguments = [part for file in configs for part in ("--config", file)]
        if name == "baseline":
            arguments += ["--student.initial", "random"]  # nothing of the teacher's, but its tokenizer
        arguments += ["--output", str(OUTPUT / name), "--overwrite"]
        with on_stderr():
            distill(parse_arguments(DistillSettings, arguments, command="destila distill"))
    return {"teacher": TEACHER, "baseline": OUTPUT / "baseline", "student": OUTPUT / "student", "shipped": SHIPPED}


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


def table(paths: dict[str, Path], counts: dict[str, int], reports: dict[str, Report], speed: dict[str, float]) -> str:
    """The paper's table: scores with intervals, size, time, each beside its ratio to the teacher."""
    columns = (("model", -10), ("F1 [95 %]", 20), ("EM [95 %]", 20), ("kept", 6), ("parameters", 16), ("bytes", 16))
    header = " ".join(f"{name:{'<' if width < 0 else '>'}{abs(width)}}" for name, width in (*columns, ("ms/query", 14)))
    lines = [header, "-" * len(header)]
    sizes = {name: weight_bytes(path) for name, path in paths.items()}
    for name, report in reports.items():
        first = reports["teacher"]
        kept = f"{100 * report.f1 / first.f1:.0f} %" if first.f1 else "-"
        f1 = f"{report.f1:.1f} [{report.f1_ci[0]:.1f}, {report.f1_ci[1]:.1f}]"
        em = f"{report.em:.1f} [{report.em_ci[0]:.1f}, {report.em_ci[1]:.1f}]"
        count = f"{counts[name]:,} ({counts['teacher'] / counts[name]:.1f}x)"
        size = f"{sizes[name] / 1e6:.1f} MB ({sizes['teacher'] / sizes[name]:.1f}x)"
        pace = f"{speed[name]:.1f} ({speed['teacher'] / speed[name]:.1f}x)"
        lines.append(f"{name:10} {f1:>20} {em:>20} {kept:>6} {count:>16} {size:>16} {pace:>14}")
    return "\n".join(lines)


def weight_bytes(path: Path) -> int:
    """Bytes of the files with weights in a model directory."""
    return sum(file.stat().st_size for file in path.iterdir() if file.suffix in (".safetensors", ".onnx", ".data"))


def main() -> None:
    """Train, score, compare, answer."""
    started = time.perf_counter()
    question = sys.argv[1] if len(sys.argv) > 1 else QUESTION
    context = Path(sys.argv[2]).read_text(encoding="utf-8") if len(sys.argv) > 2 else TEXT
    paths = train_all()
    examples = load_examples([TEST])
    candidates = {name: load_candidate(str(path), backend="auto", threads=0) for name, path in paths.items()}
    readers = {name: candidate.reader for name, candidate in candidates.items()}
    counts = {name: candidate.parameters for name, candidate in candidates.items()}
    reports = {name: evaluate_reader(reader, examples, model=name, data=TEST)[0][0] for name, reader in readers.items()}
    short = [example for example in examples if len(example.context) < 1500][:20]
    speed = milliseconds_per_query(readers, short)
    print(f"\n{len(examples)} held-out questions of {TEST}, SQuAD rules, intervals by article\n")
    print(table(paths, counts, reports, speed))
    print(f"\nTexto: {context[:400]}\nPregunta: {question}")
    for name, reader in readers.items():
        answer = reader.answer(question, context)
        print(f"  {name:10} {answer.text if answer.text is not None else '(no answer)'}   [{answer.score:.3f}]")
    print(f"\nDone in {time.perf_counter() - started:.0f} s. Ask your own:")
    print(f"  .venv/bin/destila answer '¿...?' --context FILE --model {paths['student']}")


if __name__ == "__main__":
    main()
