"""Ask a text: an answer with its place, other candidates, and "no answer" where the text has none.

    python examples/answer.py
    python examples/answer.py --model runs/student "¿Quién...?" my-text.txt

The base install is enough: the bundled model runs without torch.
"""

import argparse
from pathlib import Path

from destila import Reader

QUESTION = "¿Quién dirige la biblioteca?"
TEXT = "La biblioteca abrió el 14 de mayo de 1987. La dirige Carmen Ledesma desde entonces."


def main() -> None:
    """Load a reader once, and ask it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", nargs="?", default=QUESTION)
    parser.add_argument("text", nargs="?", help="file with the text")
    parser.add_argument("--model", help="directory or hub id; none: the bundled model")
    given = parser.parse_args()
    text = Path(given.text).read_text(encoding="utf-8") if given.text else TEXT

    reader = Reader.load(given.model)
    answer = reader.answer(given.question, text)
    if answer.text is None:
        print(f"no answer (score {answer.score:.3f})")
    else:
        assert text[answer.start : answer.end] == answer.text  # always: offsets are exact
        print(f"{answer.text} (score {answer.score:.3f}, characters {answer.start}-{answer.end})")

    print("\nThe best three, of which one may be 'no answer':")
    for other in reader.answers(given.question, text, top_k=3):
        print(f"  {other.score:.3f}  {'(no answer)' if other.text is None else other.text}")


if __name__ == "__main__":
    main()
