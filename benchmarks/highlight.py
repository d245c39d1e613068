"""How much of a text may be cut out before the answer goes with it: a table over `keep`, then one JSON line.

    python benchmarks/highlight.py --data dev.json [--same-article] [--questions 400] [--tokens 2000] [--seed 1]

Each question that has an answer is put to its paragraph, laid at random among paragraphs of other articles until there
are about so many tokens; with --same-article the other paragraphs of its article come first, which are harder to tell
apart. Counted are the share of tokens that `Reader.highlight` cuts out and the share of questions of which all
characters of a gold answer, at its own place, are kept. Beside its scores, the mass of spans, stand those of the
question's words, and both together. Labels are mended, and those that cannot be are left out.
"""

import argparse
import json
import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from destila.core.characters import without_accents, without_hidden
from destila.core.records import Example
from destila.core.runs import environment
from destila.data.sentences import Span
from destila.data.squad import read
from destila.data.windows import WindowBuilder
from destila.evaluation.bootstrap import bootstrap_interval
from destila.evaluation.evaluate import table
from destila.inference.highlight import SentenceScores, kept
from destila.inference.reader import Reader

KEEPS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995)
POINTING, STEM = 0.5, 6  # how much a word counts; letters by which words are compared
WORDS_KEEPS = (0.5, 0.7, 0.8, 0.9, 0.95)  # without the mass, the scores lie closer together
BETWEEN = "\n\n"


@dataclass(frozen=True)
class Case:
    """What the scorings say of the S sentences of one question's text.

    Attributes:
        shares: (S,) by the name of the scoring.
        tokens: (S,) of each sentence.
        needed: the sentences of the reader's answer.
        golds: the sentences that each gold answer touches.
    """

    title: str
    shares: Mapping[str, NDArray[np.float64]]
    tokens: NDArray[np.int64]
    needed: Sequence[int]
    golds: Sequence[Sequence[int]]


def laid(
    example: Example, titles: Mapping[str, str], sizes: Mapping[str, int], *, tokens: int, same: bool, seed: int
) -> tuple[str, int]:
    """A text with the example's paragraph among others, and where that begins.

    Args:
        titles: the article of each paragraph.
        sizes: its tokens.
        tokens: about how many the text may have; a paragraph that would make it 5 % longer is passed over.
        same: whether the other paragraphs of the article come first; otherwise none is taken.
    """
    generator = random.Random(f"{seed} {example.id}")
    others = [context for context, title in titles.items() if title != example.title]
    generator.shuffle(others)
    if same:
        own = [text for text, title in titles.items() if title == example.title and text != example.context]
        generator.shuffle(own)
        others = own + others
    parts, total = [example.context], sizes[example.context]
    for other in others:
        if total < 0.95 * tokens and total + sizes[other] <= 1.05 * tokens:
            parts.append(other)
            total += sizes[other]
    generator.shuffle(parts)
    before = parts[: parts.index(example.context)]
    return BETWEEN.join(parts), sum(len(part) + len(BETWEEN) for part in before)


def ask(reader: Reader, example: Example, text: str, shift: int) -> Case:
    """Read a text that holds the example's paragraph from the character `shift` on."""
    scores = SentenceScores(text)
    ((prediction, _),) = reader.read([Example(example.id, example.question, text)], looks=[scores.look])
    words = POINTING * pointing(example.question, text, scores.spans)
    shares = {"mass": scores.shares(), "mass and words": softmax(scores.log_mass + words), "words": softmax(words)}
    places = [(answer.start or 0, answer.end or 0) for answer in example.answers if answer.start is not None]
    best = prediction.best
    return Case(
        example.title,
        shares,
        scores.tokens,
        scores.touched(best.start or 0, best.end or 0) if best else [],
        [scores.touched(start + shift, end + shift) for start, end in places],
    )


def pointing(question: str, text: str, spans: Sequence[Span]) -> NDArray[np.float64]:
    """(S,) the sum of log(sentences / sentences with the word) over the question's words in each sentence."""
    asked = stems(question)
    found = [asked & stems(text[start:end]) for start, end in spans]
    count = Counter(stem for each in found for stem in each)
    return np.array([math.fsum(math.log(len(spans) / count[stem]) for stem in each) for each in found], np.float64)


def stems(text: str) -> set[str]:
    """The beginnings of the words of a text, without accents and capitals."""
    return {word[:STEM] for word in re.findall(r"\w+", without_accents(without_hidden(text).lower()))}


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits (S,) as shares of their sum."""
    shares = np.exp(logits - logits.max())
    return np.asarray(shares / shares.sum())


def row(cases: Sequence[Case], scoring: str, keep: float, *, seed: int) -> dict[str, Any]:
    """What is cut out, and how many gold answers stay, with 95 % intervals over articles, all in percent."""
    cut, stays = list[float](), list[float]()
    for case in cases:
        needed = [] if scoring == "words" else case.needed
        chosen = kept(case.shares[scoring], case.tokens, needed=needed, keep=keep, most=1.0)
        cut.append(100 * (1 - float(case.tokens[chosen].sum() / case.tokens.sum())))
        stays.append(100.0 * any(set(gold) <= set(chosen) for gold in case.golds))
    titles = [case.title for case in cases]
    found: dict[str, Any] = {"scoring": scoring, "keep": keep, "n": len(cases)}
    for name, values in (("cut", cut), ("stays", stays)):
        interval = bootstrap_interval(values, titles, seed=seed)
        found |= {name: float(np.mean(values)), f"{name}_ci": [interval.low, interval.high]}
    return found


def tokens_of(builder: WindowBuilder, texts: Sequence[str]) -> dict[str, int]:
    """How many tokens each text has."""
    return {text: len(tokenized.ids) for text, tokenized in builder.tokenize(texts, clean=False).items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="SQuAD JSON, JSONL or Parquet")
    parser.add_argument("--model", help="a reader; none: the bundled one")
    parser.add_argument("--questions", type=int, default=400, help="so many, drawn at random")
    parser.add_argument("--skip", type=int, default=0, help="leave out the first so many of those that are drawn")
    parser.add_argument("--tokens", type=int, default=2000, help="of a text, about")
    parser.add_argument("--same-article", action="store_true", help="fill up with paragraphs of the same article first")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    reader = Reader.load(arguments.model, threads=arguments.threads)
    examples = read(Path(arguments.data), repair=True)[0]
    titles = {example.context: example.title for example in examples}
    sizes = tokens_of(reader.builder, list(titles))
    asked = [example for example in examples if example.answers]
    random.Random(arguments.seed).shuffle(asked)
    asked = asked[arguments.skip : arguments.skip + arguments.questions]
    how = {"tokens": arguments.tokens, "same": arguments.same_article, "seed": arguments.seed}
    cases = [ask(reader, example, *laid(example, titles, sizes, **how)) for example in asked]
    scorings = {"mass": KEEPS, "mass and words": KEEPS, "words": WORDS_KEEPS}
    rows = [row(cases, name, keep, seed=arguments.seed) for name, keeps in scorings.items() for keep in keeps]
    mean = float(np.mean([case.tokens.sum() for case in cases]))
    print(f"{len(cases)} questions, {len({case.title for case in cases})} articles, {mean:,.0f} tokens a text")
    cells = [
        [one["scoring"], f"{one['keep']:g}"]
        + [f"{one[name]:.1f} [{one[f'{name}_ci'][0]:.1f}, {one[f'{name}_ci'][1]:.1f}]" for name in ("cut", "stays")]
        for one in rows
    ]
    print(table(["scoring", "keep", "tokens cut, %", "answers that stay, %"], cells))
    print(json.dumps({**vars(arguments), "tokens_of_a_text": mean, "rows": rows, "environment": environment()}))


if __name__ == "__main__":
    main()
