"""A small language model against a reader: the same questions, the same rules, each in turn, on the same machine.

The model is asked through any OpenAI-compatible address (llama.cpp, Ollama, vLLM), after four solved questions, for a
piece of the text, word for word. It runs where you started it: give it the threads that the reader gets, and nothing
else to do. Its reply is scored as it comes; "literal" is the share of replies that stand in the text, as an answer with
a place must.

    llama-server -m MODEL.gguf --threads 2 --port 8080
    python benchmarks/language_model.py --url http://127.0.0.1:8080/v1 --model MODEL --data dev.json --shots train.json

The last line of stdout is one JSON object.
"""

import argparse
import json
import os
import random
import time
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np

from destila.core.errors import UserError
from destila.core.records import Example
from destila.core.runs import environment
from destila.data.generation.endpoint import api_key
from destila.data.sources import load_gold, spread
from destila.evaluation.bootstrap import bootstrap_interval
from destila.evaluation.evaluate import table
from destila.evaluation.metrics import score
from destila.inference.reader import Reader

TASK = "Responde a la pregunta con un fragmento del texto, copiado palabra por palabra y lo más corto posible."
MOST_TOKENS = 64  # of a reply; the longest gold answers of a person have about 40
SECONDS = 300.0  # for a reply on a slow machine


class LanguageModel:
    """Answers by asking a server.

    Args:
        shots: solved questions that stand before each one.
    """

    def __init__(self, url: str, model: str, shots: Sequence[Example]) -> None:
        key = api_key(os.environ) or "none"
        self.client = httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=SECONDS)
        self.url, self.model = f"{url.rstrip('/')}/chat/completions", model
        self.before = [{"role": "system", "content": TASK}]
        for shot in shots:
            said = (("user", _asked(shot.question, shot.context)), ("assistant", shot.answers[0].text))
            self.before += [{"role": role, "content": str(content)} for role, content in said]

    def answer(self, question: str, context: str) -> str:
        """The first line of the reply, without quotation marks around it.

        Raises:
            UserError: the server cannot be reached, refuses, or sends no chat completion.
        """
        messages = [*self.before, {"role": "user", "content": _asked(question, context)}]
        body = {"model": self.model, "messages": messages, "temperature": 0.0, "max_tokens": MOST_TOKENS}
        try:
            response = self.client.post(self.url, json=body).raise_for_status()
            reply = response.json()["choices"][0]["message"]["content"]
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            raise UserError(self.url, f"gives no answer ({type(error).__name__})", "Is the server there?") from error
        lines = str(reply or "").strip().splitlines()
        return lines[0].strip(" \"'«»“”") if lines else ""


def _asked(question: str, context: str) -> str:
    return f"Texto: {context}\nPregunta: {question}"


def race(peers: dict[str, Any], examples: Sequence[Example]) -> tuple[dict[str, list[float]], dict[str, list[str]]]:
    """Seconds and answers of each peer, question by question: all answer one before the next is asked."""
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    answers: dict[str, list[str]] = {name: [] for name in peers}
    for example in examples:
        for name, answer in peers.items():
            started = time.perf_counter()
            found = answer(example.question, example.context)
            seconds[name].append(time.perf_counter() - started)
            answers[name].append(found)
    return seconds, answers


def measured(
    name: str, examples: Sequence[Example], answers: Sequence[str], seconds: Sequence[float]
) -> dict[str, Any]:
    """One row: scores under both rules, and what a question takes."""
    row: dict[str, Any] = {"peer": name, "n": len(examples), "median_ms": 1000 * float(np.median(seconds))}
    row["literal"] = float(
        np.mean([reply in example.context for reply, example in zip(answers, examples, strict=True)])
    )
    said = {example.id: reply for example, reply in zip(examples, answers, strict=True)}
    for rules in ("squad", "mlqa-es"):
        scores = score(examples, said, normalizer=rules)
        interval = bootstrap_interval(scores.f1, scores.clusters, seed=1)
        row[rules] = {"f1": 100 * float(scores.f1.mean()), "f1_ci": [100 * interval.low, 100 * interval.high]}
        row[rules]["em"] = 100 * float(scores.em.mean())
    return row


def main() -> None:
    """Ask both and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="of the server, such as http://127.0.0.1:8080/v1")
    parser.add_argument("--model", required=True, help="what the server calls its model")
    parser.add_argument("--reader", help="a reader; the bundled one unless given")
    parser.add_argument("--data", required=True, action="append", help="question files")
    parser.add_argument("--shots", required=True, help="a question file to take the solved questions from")
    parser.add_argument("--shot-count", type=int, default=4)
    parser.add_argument("--questions", type=int, default=200, help="that have an answer, evenly spread over the data")
    parser.add_argument("--threads", type=int, default=0, help="of the reader")
    arguments = parser.parse_args()

    solved = [example for example in load_gold([arguments.shots]) if example.answers]
    shots = random.Random(1).sample(solved, min(arguments.shot_count, len(solved)))
    examples = spread([example for example in load_gold(arguments.data) if example.answers], arguments.questions)
    model = LanguageModel(arguments.url, arguments.model, shots)
    reader = Reader.load(arguments.reader, threads=arguments.threads)

    def read(question: str, context: str) -> str:
        return reader.answer(question, context, must_answer=True).text or ""

    peers = {arguments.model: model.answer, f"Destila, {reader.name}": read}
    seconds, answers = race(peers, examples)
    rows = [measured(name, examples, answers[name], seconds[name]) for name in peers]
    head = ["", "F1 (mlqa-es)", "95 %", "EM", "F1 (squad)", "literal", "median ms"]
    print(table(head, [_cells(row) for row in rows]))
    print(json.dumps({"rows": rows, "shots": len(shots), "environment": environment()}, ensure_ascii=False))


def _cells(row: dict[str, Any]) -> list[str]:
    low, high = row["mlqa-es"]["f1_ci"]
    scores = [f"{row['mlqa-es']['f1']:.1f}", f"{low:.1f} to {high:.1f}", f"{row['mlqa-es']['em']:.1f}"]
    rest = [f"{row['squad']['f1']:.1f}", f"{100 * row['literal']:.0f} %", f"{row['median_ms']:.1f}"]
    return [row["peer"], *scores, *rest]


if __name__ == "__main__":
    main()
