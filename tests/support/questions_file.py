"""A file of questions and the command that answers it: what the tests of answer files share."""

import json

from destila.cli.main import dispatch
from tiny import TEXTS

QUESTION = "¿Quién fundó Lima?"
GOOD = {"question": QUESTION, "context": TEXTS[0]}


def write_questions(path, count):
    records = [{"id": n, "question": f"¿Qué {n}?", "context": TEXTS[n % 6]} for n in range(count)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def arguments(model, places, *more):
    source, target = places
    return ["answer", "--input", str(source), "--output", str(target), "--model", model, *more]


def ask(model, places, *more):
    dispatch(arguments(model, places, *more))
    return [json.loads(line) for line in places[1].read_text(encoding="utf-8").splitlines()]
