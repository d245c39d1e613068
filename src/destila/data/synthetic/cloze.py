"""Questions without labels: a sentence of a passage whose gap is filled by a span that the rest of the passage repeats.

Mental model: one sentence becomes the question, with a span taken out; the other sentences are the context, and every
place where the span stands in it is a right answer. That is extractive question answering to the letter, as in
`destila.data.windows`: the same special tokens around both, and the same head. The question is the sentence, the words
around the gap, or either with an interrogative at its head in place of the gap. Some questions ask for a span that the
context lacks: their answer is position 0, none.

Invariants: a pure function of (tokens, generator); a row has the length asked for and no padding; the labeled tokens
spell the span, and every occurrence of it in the context as whole words is labeled. After Ram et al. 2021 (recurring
spans) and Lewis et al. 2019 (interrogatives instead of gaps).
"""

from dataclasses import dataclass

import numpy as np

from destila.config import ClozeSettings
from destila.data.synthetic.answer_spans import (
    SPARE,
    Gap,
    Words,
    gaps_of,
    last_word_before,
    phrases_of,
    sentences,
    weight_of,
    words_of,
)
from destila.data.synthetic.questions import MAX_QUESTION, Asker, question_of
from destila.data.synthetic.token_table import Ids, Lexicon
from destila.data.synthetic.word_variants import WordForms


@dataclass(frozen=True, slots=True)
class Row:
    """One row of pre-training before words are masked. T tokens, M answers."""

    ids: Ids  # (T,) of exactly the length asked for
    # starts, ends: first and last token of every right answer; (0,) where there is none; empty without a question
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    context: int  # where the context begins


def plain_row(passage: Ids, *, length: int, lexicon: Lexicon) -> Row:
    """`<s> passage </s>`, without a question."""
    front, back = lexicon.template.front, lexicon.template.back
    body = passage[: length - len(front) - len(back)].copy()
    body[0] = lexicon.without_space[body[0]]
    return Row(np.concatenate([front, body, back]), (), (), len(front))


def cloze_row(
    passage: Ids,
    *,
    length: int,
    lexicon: Lexicon,
    settings: ClozeSettings,
    generator: np.random.Generator,
    forms: WordForms | None = None,
) -> Row | None:
    """A question about a passage, or None where nothing can be asked.

    Args:
        passage: at least length + SPARE tokens that begin a sentence.
        length: T of the row.
        forms: of the text's words; needed where `settings.varied` is above 0.
    """
    words = words_of(passage[: length + SPARE], lexicon)
    answerable = generator.random() >= settings.unanswerable
    stays = answerable and generator.random() < settings.keep_answer_sentence
    # Answers must lie where the context surely reaches, even after the longest question.
    ahead = lexicon.template.size - len(lexicon.template.back) + MAX_QUESTION
    reach = last_word_before(words, length - (ahead if stays else 16))
    found = sentences(words, reach)
    for place in generator.permutation(len(found))[:4]:
        first, end = found[place]
        gaps = phrases_of(words, first, end) if stays else gaps_of(words, first, end, reach, recurring=bool(answerable))
        if gaps:
            weights = np.array([weight_of(words, gap, first, stays=stays) for gap in gaps])
            gap = gaps[generator.choice(len(gaps), p=weights / weights.sum())]
            asker = Asker(passage, words, lexicon, settings, forms, generator)
            question = question_of(asker, (first, end), gap)
            taken = (end, end) if stays else (first, end)
            return _assemble(passage, words, taken, gap, question, length, lexicon)
    return None


def _assemble(
    passage: Ids, words: Words, sentence: tuple[int, int], gap: Gap, question: list[int], length: int, lexicon: Lexicon
) -> Row:
    """Question and context side by side, and the tokens of the answers."""
    cut, resume = words.starts[sentence[0]], words.starts[sentence[1]]
    room = length - lexicon.template.size - len(question)
    context = np.concatenate([passage[:cut], passage[resume:]])[:room]
    context[0] = lexicon.without_space[context[0]]
    ids, context_start = lexicon.template.join(np.array(question), context)
    starts, ends = [], []
    for word in gap.others:
        shift = context_start - (resume - cut if word >= sentence[1] else 0)
        start, end = words.starts[word] + shift, words.starts[word + 1 + gap.last - gap.first] - 1 + shift
        if end < length - 1:
            starts.append(start)
            ends.append(end)
    return Row(ids, tuple(starts) or (0,), tuple(ends) or (0,), context_start)
