"""Score readers on your own questions: F1 and exact match with intervals, and a paired comparison.

    python examples/evaluate_your_reader.py --data data/nativa/test.json
    python examples/evaluate_your_reader.py --data my-questions.json --model runs/student --model models/teacher

Files are SQuAD JSON, JSONL or Parquet. Each further model is compared with the first on the same questions; intervals
resample whole articles, because the questions of one article stand or fall together.
"""

import argparse

from destila import Reader
from destila.data.sources import load_gold
from destila.evaluation.evaluate import compare, evaluate_reader, signature
from destila.evaluation.predictions import answer_texts


def main() -> None:
    """Score every model, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--model", action="append", help="directory or hub id; none: the bundled model")
    given = parser.parse_args()

    examples = load_gold(given.data)
    answers = []
    for name in given.model or [None]:
        reader = Reader.load(name)
        reports, predictions = evaluate_reader(reader, examples, model=reader.name, data=", ".join(given.data))
        report = reports[0]  # by the SQuAD rules; the second is by those of MLQA for Spanish
        low, high = report.f1_ci
        print(f"{reader.name}: F1 {report.f1:.1f} [{low:.1f}, {high:.1f}], exact match {report.em:.1f}")
        print(f"  quote it with {signature(report)}")
        answers.append((reader.name, answer_texts(predictions)))

    for other in answers[1:]:
        found = compare(examples, answers[0], other, normalizer="squad")
        low, high = found["f1"]["ci"]
        print(f"{other[0]} against {answers[0][0]}: F1 {found['f1']['difference']:+.1f} [{low:+.1f}, {high:+.1f}], "
              f"p {found['f1']['p']:.3f}, the same answer to {found['agreement']['identical']:.0%}")  # fmt: skip


if __name__ == "__main__":
    main()
