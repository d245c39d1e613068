"""The gate of an adaptation: how much of the new weights is taken, and whether the reader has become better by them.

Mental model: weights between the old and the new ones are readers, too, which often know what both know (Wortsman et
al. 2022, "Robust fine-tuning of zero-shot models"). A few shares of the new ones are tried on questions about the
documents that are neither trained on nor judged by; the best goes before the gate. There it is compared with the reader
before on the same questions: it must have gained on the documents beyond chance, and have lost little on general ones.

Invariants: no question that the share was chosen on judges the gain; the general ones do both, as a guard.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from destila.core.formatting import with_interval
from destila.core.records import Example
from destila.core.runs import atomic_directory
from destila.evaluation import bootstrap, metrics
from destila.evaluation.predictions import answer_texts
from destila.inference.reader import Reader
from destila.models.files import LoadedModel, load_reader, save_reader

SHARES = (0.3, 0.5, 1.0)  # of the new weights; of equal ones the first is taken, which is nearest to the old reader
NORMALIZER = "mlqa-es"

MORE_CERTAINTY = "The gain may be chance: judge on more questions, best on reviewed ones (--test), or more documents."
MORE_GAIN = "Let a language model ask (--generator.url), train longer (--seconds), or take a better --teacher."
LESS_LOSS = "Train on general questions, too (--data sqac/train), or less (--learning-rate, --seconds)."


@dataclass(frozen=True)
class Judged:
    """A reader before and after, on the same questions.

    Attributes:
        n: questions.
        before, after: F1 in percent, by the rules of MLQA for Spanish.
        difference, ci: after less before in points, and its 95 % interval (paired, by document).
        p: two-sided p-value of no difference.
    """

    n: int
    before: float
    after: float
    difference: float
    ci: tuple[float, float]
    p: float

    def __str__(self) -> str:
        gained = with_interval(self.difference, self.ci, sign="+")
        return f"F1 {self.before:.2f} -> {self.after:.2f}, {gained}, n = {self.n:,}"


@dataclass(frozen=True)
class Verdict:
    """What the gate found: the reader that it judged, its share of new weights, and what to try if it did not pass."""

    reader: Path
    share: float
    documents: Judged
    general: Judged
    advice: tuple[str, ...]


def judge(
    old: str,
    new: Path,
    *,
    choosing: Sequence[Example],
    held: Sequence[Example],
    general: Sequence[Example],
    max_loss: float,
) -> Verdict:
    """Choose a share of the new weights and compare that reader with the old one.

    Args:
        old: the reader before, a directory or hub id.
        new: the trained one; that which is judged is left beside it, as adapted-SHARE.
        max_loss: most F1, in points, that may be lost on `general`.
    """
    before = Reader.load(old, backend="torch")
    general_before = _scores(before, general)
    first, last, tried = load_reader(old), load_reader(str(new)), []
    target = {name: value.clone() for name, value in last.model.state_dict().items()}
    for share in SHARES:
        path = new.with_name(f"adapted-{share:g}")
        _write_mixed(path, first, last, target, share)
        after = Reader.load(path, backend="torch")
        others = _judged(general_before, _scores(after, general))
        gained = float(_scores(after, choosing).f1.mean())
        tried.append((min(0.0, max_loss + others.difference), gained, path, share, others, after))
    _, _, path, share, others, after = max(tried, key=lambda one: one[:2])
    for other in tried:
        if other[2] != path:
            shutil.rmtree(other[2])
    documents = _judged(_scores(before, held), _scores(after, held))
    return Verdict(path, share, documents, others, advice_of(documents, others, max_loss))


def advice_of(documents: Judged, general: Judged, max_loss: float) -> tuple[str, ...]:
    """What to try; nothing where the reader has passed."""
    advice = []
    if documents.ci[0] <= 0:
        advice.append(MORE_CERTAINTY if documents.difference > 0 else MORE_GAIN)
    if -general.difference > max_loss:
        advice.append(LESS_LOSS)
    return tuple(advice)


def _write_mixed(
    path: Path, old: LoadedModel, new: LoadedModel, target: Mapping[str, torch.Tensor], share: float
) -> None:
    """Write the reader whose weights lie at a share of the way from the old ones to `target`.

    When it refuses stays as it was: nothing of what was trained on says that it should change.

    Args:
        new: the trained reader; its model takes the weights.
    """
    start = old.model.state_dict()
    mixed = {
        name: torch.lerp(start[name], value, share) if value.is_floating_point() else value
        for name, value in target.items()
    }
    new.model.load_state_dict(mixed)
    source = {**new.metadata.source, "share_of_new_weights": share}
    metadata = new.metadata.changed(no_answer_threshold=old.metadata.no_answer_threshold, source=source)
    shutil.rmtree(path, ignore_errors=True)  # of a gate that was cut short
    with atomic_directory(path) as directory:
        save_reader(new.model, new.tokenizer, metadata, directory)


def _scores(reader: Reader, examples: Sequence[Example]) -> metrics.Scores:
    return metrics.score(examples, answer_texts(reader.predict(examples)), normalizer=NORMALIZER)


def _judged(before: metrics.Scores, after: metrics.Scores) -> Judged:
    test = bootstrap.paired_test(before.f1, after.f1, before.clusters, seed=1)
    first, second = (100 * float(scores.f1.mean()) for scores in (before, after))
    return Judged(len(before.ids), first, second, 100 * test.difference, test.interval.scaled(100), test.p)
