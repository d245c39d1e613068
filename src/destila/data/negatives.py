"""More rows: questions set before other paragraphs, for a teacher to label, or labeled "no answer".

Mental model: what a teacher believes about a question in a paragraph that does not answer it (or does, by another
phrase) is as good a lesson as what it believes about the right one, and needs no gold answer. Without a teacher, a
paragraph in which no gold answer occurs passes for one without the answer. Paragraphs of the same article come first:
they are the hard ones.

Invariant: a pure function of the examples and the seed; no question meets a paragraph that it already stands before.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace

from destila.core.records import Example

TRIES = 50  # paragraphs drawn from everywhere before all are looked at: a question has few that do not fit


def paired(examples: Sequence[Example], *, paragraphs: float, seed: int, labeled: bool = False) -> list[Example]:
    """Each question before `paragraphs` others (or all, if there are fewer).

    Args:
        paragraphs: for each question; of 1.5, half of the questions get two and the others one.
        labeled: say that these have no answer: only of questions with gold answers, and where none of these occurs in
            the paragraph. False: they are left unlabeled.
    """
    generator, pool = random.Random(seed), _Paragraphs(examples)
    asked = [example for example in examples if example.answers] if labeled else list(examples)
    whole = int(paragraphs)
    more = round((paragraphs - whole) * len(asked))
    with_more = set(generator.sample(range(len(asked)), more)) if more else set[int]()
    pairs = []
    for place, example in enumerate(asked):
        for number in range(whole + (place in with_more)):
            context = pool.draw(example, generator, without_answers=labeled)
            if context is None:
                break
            mark = "~" if labeled else "+"
            new_id = f"{example.id}{mark}{number + 1}"
            pairs.append(replace(example, id=new_id, context=context, answers=(), labeled=labeled))
    return pairs


class _Paragraphs:
    """The paragraphs of some examples, by article, and the questions that stand before each."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.everywhere = list(dict.fromkeys(example.context for example in examples))
        self.articles: dict[str, dict[str, None]] = defaultdict(dict)
        self.seen: dict[str, set[str]] = defaultdict(set)  # grows: a question that stands twice gets others each time
        for example in examples:
            self.articles[example.title][example.context] = None
            self.seen[example.question].add(example.context)

    def draw(self, example: Example, generator: random.Random, *, without_answers: bool) -> str | None:
        """A paragraph that the question does not stand before yet, of its article if there is one; None: there is none.

        Args:
            without_answers: in which none of the example's answers occurs, in whatever case.
        """
        seen = self.seen[example.question]
        golds = {str(answer.text).casefold() for answer in example.answers} if without_answers else set[str]()
        near = [context for context in self.articles[example.title] if _fits(context, seen, golds)]
        found = generator.choice(near) if near else next(self._anywhere(generator, seen, golds), None)
        if found is not None:
            seen.add(found)
        return found

    def _anywhere(self, generator: random.Random, seen: Set[str], golds: Set[str]) -> Iterator[str]:
        for _ in range(TRIES):
            context = generator.choice(self.everywhere)
            if _fits(context, seen, golds):
                yield context
        rest = [context for context in self.everywhere if _fits(context, seen, golds)]
        if rest:
            yield generator.choice(rest)


def _fits(context: str, seen: Set[str], golds: Set[str]) -> bool:
    if context in seen:
        return False
    lowered = context.casefold() if golds else ""
    return not any(gold in lowered for gold in golds)
