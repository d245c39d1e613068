"""The maker of questions without a network: sentences of the passage with a span asked for, one after the other.

Mental model: a byte-level vocabulary is learned from the documents, in which `destila.data.synthetic` sees words,
sentences and phrases; its question generation does the rest. An unanswerable question is one about another passage of
the same document, whose answer does not stand here.

Invariant: drafts are a pure function of (documents, passage, count, seed), and their answers are exact spans.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from destila.config import ClozeSettings
from destila.data.generation.drafts import Draft, Drafts, Passage
from destila.data.synthetic.answer_spans import Gap, Words, phrases_of, sentences, weight_of, words_of
from destila.data.synthetic.questions import Asker, question_of
from destila.data.synthetic.token_table import Lexicon
from destila.data.synthetic.word_variants import WordForms
from destila.data.tokenizers import train_tokenizer

VOCABULARY = 8000
# Phrases near the gap, the verb first; some words of the same meaning, or of none: without these all questions would
# repeat their sentence. As configs/reader/raw-text/pretrain-cpu-asking.toml, but for people's eyes, too.
ASKING = ClozeSettings(interrogative=1.0, neighborhood=0.0, varied=0.15, synonyms=0.9, kinds=0.7, clauses=1.0)
UNANSWERABLE = 5  # one in so many drafts
NEXT_SENTENCE = "\nFin."  # so that the last sentence of a passage ends like the others


class BuiltInMaker:
    """Makes questions of the words of a passage.

    Args:
        passages: all of the documents.
        count: of questions about each passage.
        seed: of everything that is drawn.
    """

    def __init__(self, passages: Sequence[Passage], *, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._tokenizer = train_tokenizer((passage.text for passage in passages), vocabulary_size=VOCABULARY)
        self._lexicon = Lexicon(self._tokenizer)
        ids = [number for passage in passages for number in self._ids(passage.text)]
        forms = WordForms(np.array(ids, np.int64), self._lexicon)
        self._forms = forms if len(forms) else None
        self._settings = ASKING if self._forms else replace(ASKING, varied=0.0)
        self._number = {passage: number for number, passage in enumerate(passages)}
        self._next = _next_in_document(passages)

    def make(self, passage: Passage) -> Drafts:
        """Questions about a passage, and one or more about another that stand before this one."""
        generator = np.random.default_rng([self._seed, self._number[passage]])
        missing = self._count // UNANSWERABLE
        drafts = self._about(passage, self._count - missing, generator)
        for draft in self._about(self._next[passage], 2 * missing, generator) if passage in self._next else []:
            if missing and str(draft.answer).casefold() not in passage.text.casefold():
                drafts.append(Draft(draft.question, None))
                missing -= 1
        return Drafts(tuple(drafts))

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _about(self, passage: Passage, count: int, generator: np.random.Generator) -> list[Draft]:
        text = passage.text + NEXT_SENTENCE
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        ids = np.array(encoding.ids, np.int64)
        words = words_of(ids, self._lexicon)
        asker = Asker(ids, words, self._lexicon, self._settings, self._forms, generator)
        drafts = []
        for sentence, gap in _chosen(words, count, generator):
            first, last = words.starts[gap.first], words.starts[gap.last + 1] - 1
            start, end = encoding.offsets[first][0], encoding.offsets[last][1]
            start += len(text[start:end]) - len(text[start:end].lstrip())
            question = self._lexicon.text(question_of(asker, sentence, gap)).strip()
            drafts.append(Draft(" ".join(question.split()), text[start:end].rstrip(), start))
        return drafts


def _next_in_document(passages: Sequence[Passage]) -> dict[Passage, Passage]:
    """The passage after each in its document, the first after the last; none where it stands alone."""
    documents: dict[str, list[Passage]] = defaultdict(list)
    for passage in passages:
        documents[passage.title].append(passage)
    found = dict[Passage, Passage]()
    for members in documents.values():
        if len(members) > 1:
            found |= dict(zip(members, [*members[1:], members[0]], strict=True))
    return found


def _chosen(words: Words, count: int, generator: np.random.Generator) -> list[tuple[tuple[int, int], Gap]]:
    """Spans to ask for, in sentences as different as there are, likely ones first."""
    queues = []
    for first, end in sentences(words, len(words.texts)):
        if gaps := phrases_of(words, first, end):
            weights = np.array([weight_of(words, gap, first, stays=True) for gap in gaps])
            drawn = generator.choice(len(gaps), size=len(gaps), replace=False, p=weights / weights.sum())
            queues.append([((first, end), gaps[place]) for place in drawn.tolist()])
    order = generator.permutation(len(queues)).tolist()
    depth = max(map(len, queues), default=0)
    ranked = [queues[place][level] for level in range(depth) for place in order if level < len(queues[place])]
    return ranked[:count]
