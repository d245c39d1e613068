"""More questions to train on, made of the labeled ones: other names, other numbers, other words, other neighbors.

Mental model: few labeled questions are soon known by heart. A variation asks the same of a text that was changed so
that nothing but reading helps: names and numbers are others, the same wherever they stood in question and context; some
sentences are gone, moved, or strangers; words of the question are synonyms; and it is typed as people type
(`destila.data.synthetic.typing_habits`). The answer stays where it was.

Invariants: `answer.text == context[answer.start:answer.end]`; a pure function of (examples, settings); where names or
sentences change at most one answer is kept, for the others may lie in sentences that moved.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from destila.config import VariationSettings
from destila.core.records import Answer, Example
from destila.data.sentences import Span, sentences
from destila.data.synthetic.answer_spans import STOP_WORDS
from destila.data.synthetic.thesaurus import Synonyms
from destila.data.synthetic.typing_habits import as_typed, opening_with_answer, with_plain_context

WORD = re.compile(r"\w+")
OPENERS = '.!?…:;¿¡"“«(—-\n'  # a capital letter after these says nothing
SHORTEST_NAME = 4  # letters
NAMED = 2.0  # how much more often a name has a capital letter than not
POOL = 5  # names that must have been seen after a word to take one from them
LEFT_OUT = 0.25  # share of the sentences that are left out, where some are
BEYOND_YEAR = 2  # digits of a year that stay, so that it is one
MIN_DISTRACTOR, MAX_DISTRACTOR = 40, 300  # characters of a sentence of another text
FUNCTION = frozenset(STOP_WORDS.split())


class Augmenter:
    """Makes variations of examples.

    Args:
        examples: labeled ones; their names, sentences and words are what variations are made of.
    """

    def __init__(self, examples: Sequence[Example], settings: VariationSettings) -> None:
        self.settings = settings
        self._changes = any(
            (
                settings.names,
                settings.numbers,
                settings.synonyms,
                settings.moved,
                settings.left_out,
                settings.distractors,
            )
        )
        contexts = list(dict.fromkeys(example.context for example in examples))
        self._names, self._after = _names(contexts)
        self._distractors = [
            context[start:end]
            for context in contexts
            for start, end in sentences(context)
            if MIN_DISTRACTOR <= end - start <= MAX_DISTRACTOR
        ]
        texts = [*contexts, *dict.fromkeys(example.question for example in examples)]
        words = dict.fromkeys(found for text in texts for found in WORD.findall(text) if found.islower())
        self._synonyms = Synonyms((word, word) for word in words)

    def variation(self, example: Example, generator: np.random.Generator) -> Example | None:
        """One more question like this one; None where its answer would not survive."""
        settings = self.settings
        changed = self._changed(example, generator) if self._changes else example
        if changed is None:
            return None
        if generator.random() < settings.opening:
            changed = opening_with_answer(changed) or changed
        if generator.random() < settings.plain:
            changed = with_plain_context(changed, generator)
        if generator.random() < settings.typed:
            changed = replace(changed, question=as_typed(changed.question, generator))
        return changed

    def _changed(self, example: Example, generator: np.random.Generator) -> Example | None:
        """The example with other names, numbers, sentences and words; None where its answer would not survive."""
        kept = example.answers[generator.integers(len(example.answers))] if example.answers else None
        span = None if kept is None or kept.start is None or kept.end is None else (kept.start, kept.end)
        arranged = self._arranged(example.context, span, generator)
        if arranged is None:
            return None
        context, span = arranged
        others = self._others(context, generator)
        context, span = _renamed(context, others, span)
        question, _ = _renamed(example.question, others, None)
        return replace(
            example,
            question=self._reworded(question, generator),
            context=context,
            answers=(Answer.at(context, *span),) if span else (),
        )

    def _arranged(
        self, context: str, span: Span | None, generator: np.random.Generator
    ) -> tuple[str, Span | None] | None:
        """The context with some sentences gone, moved or new, and where the answer is then."""
        settings, found = self.settings, sentences(context)
        held = [place for place, (start, end) in enumerate(found) if span and start < span[1] and span[0] < end]
        order = list(range(len(found)))
        if generator.random() < settings.left_out and (held or span is None):
            order = [place for place in order if place in held or generator.random() >= LEFT_OUT] or order
        if generator.random() < settings.moved and len(held) <= 1:
            if generator.random() < 0.5:
                cut = int(generator.integers(len(order)))
                order = [*order[cut:], *order[:cut]]
            else:
                order = generator.permutation(order).tolist()
        ahead, behind = (self._some(generator) for _ in range(2))
        pieces, place_of, size = list[str](), dict[int, int](), 0
        for place, text in [
            *((-1, text) for text in ahead),
            *((place, context[slice(*found[place])]) for place in order),
            *((-1, text) for text in behind),
        ]:
            place_of[place] = size
            pieces.append(text)
            size += len(text) + 1
        text = " ".join(pieces)
        if span is None:
            return text, None
        if not held:
            return None
        start = place_of[held[0]] + span[0] - found[held[0]][0]
        moved = (start, start + span[1] - span[0])
        # An answer across sentences is lost where the white space between them is not one space.
        return (text, moved) if text[slice(*moved)] == context[slice(*span)] else None

    def _some(self, generator: np.random.Generator) -> list[str]:
        """One or two sentences of other texts, or none."""
        if not self._distractors or generator.random() >= self.settings.distractors:
            return []
        count = int(generator.integers(1, 3))
        return [self._distractors[place] for place in generator.integers(len(self._distractors), size=count)]

    def _others(self, context: str, generator: np.random.Generator) -> dict[str, str]:
        """For the names and numbers of a context, what stands in their place."""
        others: dict[str, str] = {}
        for left, word, opens in _words(context):
            if word in others:
                continue
            if word.isdecimal():
                if generator.random() < self.settings.numbers:
                    others[word] = _number(word, generator)
            elif word.lower() in self._names and word[0].isupper() and not opens:
                if generator.random() < self.settings.names:
                    pool = self._after.get(left, [])
                    pool = pool if len(pool) >= POOL else self._after[""]
                    others[word] = pool[generator.integers(len(pool))]
                else:
                    others[word] = word
        return others

    def _reworded(self, question: str, generator: np.random.Generator) -> str:
        def other(found: re.Match[str]) -> str:
            word = found[0]
            if not word.islower() or word in FUNCTION or generator.random() >= self.settings.synonyms:
                return word
            same = self._synonyms.of(word)
            return same[generator.integers(len(same))] if same else word

        return WORD.sub(other, question)


def variations(examples: Sequence[Example], settings: VariationSettings) -> list[Example]:
    """`settings.copies` variations of every example that has one, shuffled, with ids of their own."""
    augmenter, generator = Augmenter(examples, settings), np.random.default_rng(settings.seed)
    made = []
    for copy in range(settings.copies):
        for example in examples:
            if (other := augmenter.variation(example, generator)) is not None and other.question.strip():
                made.append(replace(other, id=f"{example.id}-{settings.seed}-{copy}"))
    return [made[place] for place in generator.permutation(len(made))]


def _names(contexts: Sequence[str]) -> tuple[set[str], dict[str, list[str]]]:
    """What is written with a capital letter without need, and these words by the word before them; "": all."""
    large, small = Counter[str](), Counter[str]()
    seen = list[tuple[str, str]]()
    for context in contexts:
        for left, word, opens in _words(context):
            if word.islower():
                small[word] += 1
            elif word[0].isupper() and word.isalpha() and not opens:
                large[word.lower()] += 1
                seen.append((left, word))
    names = {word for word in large if len(word) >= SHORTEST_NAME and large[word] > NAMED * small[word]}
    after: dict[str, list[str]] = {"": []}
    for left, word in seen:
        if word.lower() in names:
            after.setdefault(left, []).append(word)
            after[""].append(word)
    return names, after


def _words(text: str) -> Iterator[tuple[str, str, bool]]:
    """Each word, with what stands before it: a small word, NAME for one with a capital letter, and whether it opens."""
    left, end = "", 0
    for found in WORD.finditer(text):
        between = text[end : found.start()].strip()
        opens = not end or (bool(between) and between[-1] in OPENERS)
        yield left if not between else "", found[0], opens
        left, end = "NAME" if found[0][0].isupper() and not opens else found[0].lower(), found.end()


def _number(digits: str, generator: np.random.Generator) -> str:
    kept = BEYOND_YEAR if len(digits) == 4 else 0
    rest = [str(generator.integers(0 if kept or place else 1, 10)) for place in range(len(digits) - kept)]
    return digits[:kept] + "".join(rest)


def _renamed(text: str, others: dict[str, str], span: Span | None) -> tuple[str, Span | None]:
    """A text with other words in place of some, and where a span of it is then."""
    pieces, end, size = list[str](), 0, 0
    start_of, end_of = span or (0, 0)
    for found in WORD.finditer(text):
        cut = span and any(found.start() < border < found.end() for border in span)
        other = found[0] if cut else others.get(found[0], found[0])  # half a word cannot be another
        change = len(other) - len(found[0])
        if span and found.end() <= span[0]:
            start_of += change
        if span and found.start() < span[1]:
            end_of += change
        pieces += [text[end : found.start()], other]
        end, size = found.end(), size + change
    return "".join([*pieces, text[end:]]), (start_of, end_of) if span else None
