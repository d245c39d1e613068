"""When should a reader say that there is no answer? Where it errs as often with an answer in the text as without one.

    python runs/threshold.py --model models/reader --data dev.json [--write]

A question that has an answer is asked of its own paragraph and of another one of the same article, which hardly ever
answers it (`destila.data.negatives`). The threshold is the one at which the reader refuses as large a share of the
former as it answers of the latter. That is what people meet: a text that treats of something else. Questions that were
written to look answerable (SQuAD 2.0) are shown beside it, and the F1 of answering them all, whatever the threshold. A
threshold that is best for F1 on such data refuses nearly everything while a reader is weak (`destila evaluate
--fit-threshold`). With --write it goes into the reader's destila.json. One line of JSON comes last.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from destila import Reader
from destila.core.errors import UserError
from destila.core.records import Example, Prediction
from destila.core.runs import METADATA_FILE, read_json, write_json
from destila.data.negatives import paired
from destila.data.sources import load_examples
from destila.evaluation.bootstrap import bootstrap_interval
from destila.evaluation.metrics import score

SEED = 1


def equal_errors(answerable: NDArray[np.float64], absent: NDArray[np.float64]) -> float:
    """The threshold at which the share of `answerable` scores above it is nearest to that of `absent` ones below."""
    candidates = np.unique(np.concatenate([answerable, absent]))
    refused = 1 - np.searchsorted(np.sort(answerable), candidates, side="right") / len(answerable)
    answered = np.searchsorted(np.sort(absent), candidates, side="right") / len(absent)
    return float(candidates[np.abs(refused - answered).argmin()])


def area(answerable: NDArray[np.float64], absent: NDArray[np.float64]) -> float:
    """The chance that a random absent question scores above a random answerable one; ties count half."""
    ordered = np.sort(answerable)
    below, upto = (np.searchsorted(ordered, absent, side=side) for side in ("left", "right"))
    return float((below + upto).mean() / 2 / len(answerable))


def f1(examples: Sequence[Example], texts: Mapping[str, str]) -> dict[str, Any]:
    """F1 and exact match in percent by the SQuAD rules, with an interval over articles."""
    scores = score(examples, texts, normalizer="squad")
    interval = bootstrap_interval(scores.f1, scores.clusters, seed=SEED).scaled(100)
    return {"f1": 100 * float(scores.f1.mean()), "f1_ci": interval, "em": 100 * float(scores.em.mean())}


def study(reader: Reader, examples: Sequence[Example]) -> dict[str, Any]:
    """Where the threshold should be, and what follows from it."""
    reader.no_answer_threshold = None
    answerable = [example for example in examples if example.answers]
    if not answerable:
        raise UserError("data", "holds no question that has an answer", "Give other questions.")
    if not (elsewhere := paired(answerable, paragraphs=1, seed=SEED)):
        raise UserError("data", "holds a single paragraph, and no other to ask about", "Give more paragraphs.")
    groups = {
        "answerable": answerable,
        "another paragraph": elsewhere,
        "written to look answerable": [example for example in examples if example.labelled and not example.answers],
    }
    found = {name: reader.predict(group) for name, group in groups.items() if group}
    scores = {name: np.array([one.no_answer_score for one in group.values()]) for name, group in found.items()}
    threshold = round(equal_errors(scores["answerable"], scores["another paragraph"]), 2)
    must = found["answerable"]
    result: dict[str, Any] = {
        "questions": {name: len(group) for name, group in found.items()},
        "threshold": threshold,
        "refused": {name: float((group > threshold).mean()) for name, group in scores.items()},
        "area": {name: area(scores["answerable"], group) for name, group in scores.items() if name != "answerable"},
        "must_answer": f1(answerable, {name: _best(one) for name, one in must.items()}),
        "answerable": f1(
            answerable, {name: _best(one) if one.no_answer_score <= threshold else "" for name, one in must.items()}
        ),
    }
    return result


def _best(prediction: Prediction) -> str:
    return (prediction.best.text or "") if prediction.best else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Study one reader."""
    parser = argparse.ArgumentParser(description="Choose when a reader says that there is no answer.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args(arguments)
    try:
        result = study(Reader.load(chosen.model), load_examples(chosen.data))
    except UserError as error:
        parser.error(str(error))
    for name, share in result["refused"].items():
        area_of = f", area {result['area'][name]:.3f}" if name in result["area"] else ""
        print(f"{name}: {result['questions'][name]} questions, {share:.1%} refused at {result['threshold']}{area_of}")
    for name in ("must_answer", "answerable"):
        line = result[name]
        print(f"F1 with an answer, {name}: {line['f1']:.1f} [{line['f1_ci'][0]:.1f}, {line['f1_ci'][1]:.1f}], "
              f"EM {line['em']:.1f}")  # fmt: skip
    if chosen.write:
        path = Path(chosen.model) / METADATA_FILE
        write_json(path, read_json(path) | {"no_answer_threshold": result["threshold"]})
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
