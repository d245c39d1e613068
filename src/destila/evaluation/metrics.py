"""Scores of extractive question answering, by the rules of the official scripts.

Two normalizers exist side by side, because published figures use both: `squad` (evaluate-v1.1.py and evaluate-v2.0.py
of
SQuAD: English articles, ASCII punctuation) and `mlqa-es` (mlqa_evaluation_v1.py of MLQA for Spanish: Spanish articles,
all Unicode punctuation). On Spanish text the second is the fair one; the first is what most Spanish model cards
report.

Everything after normalization follows SQuAD v2.0 for both: gold answers that normalize to nothing are dropped, a
question left without any counts as unanswerable, and there the empty prediction alone is right. (The MLQA and SQuAD
v1.1 scripts differ in one corner: an empty prediction for a gold answer such as "La" has exact match 1 but F1 0 there,
and 1 and 1 here.)

Invariant: scores of one example lie in [0, 1]; percent appears only in reports. Intervals and tests are in
`destila.evaluation.bootstrap`, reports in `destila.evaluation.evaluate`.
"""

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from destila.core.characters import without_accents
from destila.core.errors import SHOWN_PROBLEMS, UserError
from destila.core.records import Example, Prediction

Normalizer = Callable[[str], str]
Floats = NDArray[np.float64]

# Code points from here to the last one are private use, tags and unassigned: none is punctuation in any Unicode
# version.
_END_OF_PUNCTUATION = 0x20000
_ASCII_PUNCTUATION = dict.fromkeys(map(ord, string.punctuation))
_ALL_PUNCTUATION = _ASCII_PUNCTUATION | dict.fromkeys(
    code for code in range(_END_OF_PUNCTUATION) if unicodedata.category(chr(code))[0] == "P"
)
_ENGLISH_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_SPANISH_ARTICLES = re.compile(r"\b(?:un|una|unos|unas|el|la|los|las)\b")


# ---------------------------------------------------------------------------------------------------- one answer
def normalize_squad(text: str) -> str:
    """Normalize an answer as SQuAD does: lower, drop ASCII punctuation, then English articles, then fix white space."""
    return " ".join(_ENGLISH_ARTICLES.sub(" ", text.lower().translate(_ASCII_PUNCTUATION)).split())


def normalize_mlqa(text: str) -> str:
    """Normalize an answer as MLQA does for Spanish: lower, drop all punctuation, then articles, fix white space."""
    return " ".join(_SPANISH_ARTICLES.sub(" ", text.lower().translate(_ALL_PUNCTUATION)).split())


NORMALIZERS: Mapping[str, Normalizer] = {"squad": normalize_squad, "mlqa-es": normalize_mlqa}


def exact_match(prediction: str | None, golds: Sequence[str], *, normalizer: str) -> float:
    """1.0 if the prediction equals a gold answer after normalization, else 0.0; `golds` empty: unanswerable."""
    return _exact_match_and_f1(prediction, golds, NORMALIZERS[normalizer])[0]


def f1(prediction: str | None, golds: Sequence[str], *, normalizer: str) -> float:
    """The best token F1 (overlap of bags of words) with a gold answer, in [0, 1]; `golds` empty: unanswerable."""
    return _exact_match_and_f1(prediction, golds, NORMALIZERS[normalizer])[1]


def _exact_match_and_f1(prediction: str | None, golds: Sequence[str], normalize: Normalizer) -> tuple[float, float]:
    predicted = normalize(prediction or "")
    targets = [target for target in map(normalize, golds) if target] or [""]
    return float(predicted in targets), max(_token_f1(predicted, target) for target in targets)


def _token_f1(predicted: str, target: str) -> float:
    if predicted == target or not predicted or not target:
        return float(predicted == target)
    left, right = predicted.split(), target.split()
    shared = (Counter(left) & Counter(right)).total()
    return 2 * shared / (len(left) + len(right))


# ---------------------------------------------------------------------------------------------------- a data set
@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of the N labeled examples of a data set, in their order."""

    ids: tuple[str, ...]  # of the examples
    f1: Floats  # (N,) token F1 in [0, 1]
    em: Floats  # (N,) exact match, 0 or 1
    has_answer: NDArray[np.bool_]  # (N,) False where the question is unanswerable
    # (N,) number of the article that the context comes from: the title, else the context itself
    clusters: NDArray[np.int64]
    normalizer: str  # "squad" or "mlqa-es"
    unlabeled: int  # how many examples were left out because nobody has said what their answer is


def score(
    examples: Sequence[Example], predictions: Mapping[str, str | None], *, normalizer: str, where: str = "predictions"
) -> Scores:
    """Score predicted texts (None or "": no answer) against the gold answers of the labeled examples.

    Args:
        where: names the predictions in errors, for instance their file.

    Raises:
        UserError: a labeled example has no prediction (the official scripts count it as wrong in silence), a
            prediction belongs to no example, two examples share an id, or no example is labeled.
    """
    labeled = [example for example in examples if example.labeled]
    _check_ids(examples, labeled, predictions, where)
    normalize = NORMALIZERS[normalizer]
    pairs = [_exact_match_and_f1(predictions[example.id], gold_texts(example), normalize) for example in labeled]
    table = np.array(pairs, dtype=np.float64)
    articles: dict[str, int] = {}
    clusters = [articles.setdefault(example.title or example.context, len(articles)) for example in labeled]
    return Scores(
        ids=tuple(example.id for example in labeled),
        f1=table[:, 1],
        em=table[:, 0],
        has_answer=np.array([bool(example.answers) for example in labeled]),
        clusters=np.array(clusters, dtype=np.int64),
        normalizer=normalizer,
        unlabeled=len(examples) - len(labeled),
    )


def gold_texts(example: Example) -> list[str]:
    """The texts of the gold answers; empty for an unanswerable question."""
    return [answer.text for answer in example.answers if answer.text]


def _check_ids(
    examples: Sequence[Example], labeled: Sequence[Example], predictions: Mapping[str, str | None], where: str
) -> None:
    if not labeled:
        raise UserError("data", f"none of the {len(examples)} examples is labeled", "Give data with gold answers.")
    known = Counter(example.id for example in examples)
    if twice := [name for name, times in known.items() if times > 1]:
        raise UserError("data", f"{_ids(twice)} appear more than once", "Evaluate on one of the data sets at a time.")
    if strange := [name for name in predictions if name not in known]:
        raise UserError(where, f"{_ids(strange)} are not in the data", "Were these predictions made for other data?")
    if missing := [example.id for example in labeled if example.id not in predictions]:
        remedy = 'Predict every question; "" or null says that there is no answer.'
        raise UserError(where, f"no prediction for {_ids(missing)} of {len(labeled)}", remedy)


def _ids(ids: Sequence[str]) -> str:
    more = ", ..." if len(ids) > SHOWN_PROBLEMS else ""
    return f"{len(ids)} ids ({', '.join(map(repr, ids[:SHOWN_PROBLEMS]))}{more})"


# ---------------------------------------------------------------------------------------------------- no answer
def with_threshold(predictions: Mapping[str, Prediction], threshold: float | None) -> dict[str, Prediction]:
    """The same predictions under another no-answer threshold; None: always answer where a legal span exists."""
    return {name: item.under(threshold) for name, item in predictions.items()}


# ---------------------------------------------------------------------------------------------------- parts
def summary(scores: Scores, chosen: NDArray[np.bool_] | None = None) -> dict[str, float | int | None]:
    """{"n", "f1", "em"} of the chosen examples, in percent; None where there is none."""
    f1s, ems = (scores.f1, scores.em) if chosen is None else (scores.f1[chosen], scores.em[chosen])
    if not f1s.size:
        return {"n": 0, "f1": None, "em": None}
    return {"n": int(f1s.size), "f1": 100 * float(f1s.mean()), "em": 100 * float(ems.mean())}


_QUESTION_WORDS = {
    "por qué": r"por ?qué",
    "quién": r"quién(?:es)?",
    "cuándo": r"cuándo",
    "dónde": r"a?dónde",
    "cuánto": r"cuánt[oa]s?",
    "cómo": r"cómo",
    "cuál": r"cuál(?:es)?",
    "qué": r"qué",
}
OTHER_QUESTION = "otra"
ANSWER_WORDS = ((1, "1"), (3, "2-3"), (7, "4-7"), (math.inf, "8+"))
CONTEXT_WORDS = ((99, "<100"), (199, "100-199"), (399, "200-399"), (math.inf, "400+"))
_WITH_ACCENTS = re.compile(r"\b(?:" + "|".join(f"({word})" for word in _QUESTION_WORDS.values()) + r")\b")
_WITHOUT_ACCENTS = re.compile(without_accents(_WITH_ACCENTS.pattern))


def question_word(question: str) -> str:
    """The Spanish question word that a question turns on: "quién", "por qué", ..., or "otra".

    An accented word wins over one without accent (which may be a relative, as in "el rey que..."), what follows the
    last "¿" wins over what precedes it, and the first such word wins over later ones.
    """
    whole = " ".join(unicodedata.normalize("NFC", question).lower().split())
    core = whole.rpartition("¿")[2]
    for text, pattern in (
        (core, _WITH_ACCENTS),
        (whole, _WITH_ACCENTS),
        (without_accents(core), _WITHOUT_ACCENTS),
        (without_accents(whole), _WITHOUT_ACCENTS),
    ):
        if found := pattern.search(text):
            return list(_QUESTION_WORDS)[(found.lastindex or 1) - 1]
    return OTHER_QUESTION


def _bin(text: str, bins: Sequence[tuple[float, str]]) -> str:
    words = len(text.split())
    return next(name for largest, name in bins if words <= largest)


def groups(ids: Sequence[str], examples: Sequence[Example]) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Which of the examples named by `ids` (N) belong to which group.

    Returns:
        {"question_word" | "answer_words" | "context_words" | "source": {group: (N,)}} without empty groups: question
        word, words of the first gold answer, words of the context, and source. Unanswerable questions form the answer
        length "none"; "source" is "" where the data do not say.
    """
    by_id = {example.id: example for example in examples}
    chosen = [by_id[name] for name in ids]
    lengths = [_bin(gold_texts(item)[0], ANSWER_WORDS) if gold_texts(item) else "none" for item in chosen]
    labels = {
        "question_word": ([question_word(item.question) for item in chosen], [*_QUESTION_WORDS, OTHER_QUESTION]),
        "answer_words": (lengths, [name for _, name in ANSWER_WORDS] + ["none"]),
        "context_words": ([_bin(item.context, CONTEXT_WORDS) for item in chosen], [name for _, name in CONTEXT_WORDS]),
        "source": ([item.source for item in chosen], sorted({item.source for item in chosen})),
    }
    return {
        kind: {name: np.array([label == name for label in given]) for name in order if name in given}
        for kind, (given, order) in labels.items()
    }


def breakdown(scores: Scores, examples: Sequence[Example]) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """Scores of every group: {kind: {group: {"n", "f1", "em"}}}, in percent; see `groups`."""
    return {
        kind: {name: summary(scores, chosen) for name, chosen in members.items()}
        for kind, members in groups(scores.ids, examples).items()
    }


def agreement(left: Mapping[str, str | None], right: Mapping[str, str | None], *, normalizer: str) -> dict[str, float]:
    """How alike two models answer the same questions, gold answers aside.

    Returns:
        {"identical": share of answers equal after normalization, "f1": mean token F1 between them}, both in [0, 1].
    """
    normalize = NORMALIZERS[normalizer]
    pairs = [_exact_match_and_f1(text, [right[name] or ""], normalize) for name, text in left.items()]
    identical, overlap = np.array(pairs, dtype=np.float64).mean(axis=0)
    return {"identical": float(identical), "f1": float(overlap)}
