"""More rows for a teacher to label: questions set before other paragraphs.

Mental model: what a teacher believes about a question in a paragraph that does not answer it (or does, by another
phrase) is as good a lesson as what it believes about the right one, and needs no gold answer. Paragraphs of the same
article come first: they are the hard ones.

Invariant: a pure function of the examples and the seed; no question meets a paragraph that it already stands before.
"""

import random
from collections import defaultdict
from collections.abc import Sequence

from destila.core.records import Example


def paired(examples: Sequence[Example], *, paragraphs: int, seed: int) -> list[Example]:
    """Each question before `paragraphs` others (or all, if there are fewer), unlabelled."""
    generator = random.Random(seed)
    everywhere = list(dict.fromkeys(example.context for example in examples))
    articles: dict[str, list[str]] = defaultdict(list)
    known: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        if example.context not in articles[example.title]:
            articles[example.title].append(example.context)
        known[example.question].add(example.context)
    pairs = []
    for example in examples:
        seen = known[example.question]  # grows: a question that stands twice gets other paragraphs each time
        for number in range(paragraphs):
            near = [context for context in articles[example.title] if context not in seen]
            far = [context for context in everywhere if context not in seen] if not near else []
            if not near + far:
                break
            context = generator.choice(near or far)
            seen.add(context)
            pairs.append(
                Example(
                    id=f"{example.id}+{number + 1}",
                    question=example.question,
                    context=context,
                    title=example.title,
                    source=example.source,
                    labelled=False,
                )
            )
    return pairs
