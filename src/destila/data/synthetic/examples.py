"""Raw text for a teacher to label: the rows of pre-training before words are masked, without their answers.

Mental model: a row reads `<s> question </s></s> context </s>`, where the question is a sentence of a passage with a gap
(`destila.data.synthetic.cloze`). What a teacher thinks of it is a lesson whether or not anybody knows the answer. There
are two ways to use it: a stream of such rows without end, in place of questions (the general stage), and a fixed number
of them as examples beside those of the data, which are cut into windows as all examples are and whose answers can be
stored.

Invariant: a row is a pure function of the store, the settings, the seed and its number. This module holds no torch:
worker processes import it in a moment.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from destila.config import PretrainedModelSettings, PretrainSettings, TextSettings, UnlabeledSettings
from destila.core.errors import UserError
from destila.core.records import Example
from destila.data.corpus import TokenStore, load_store, open_store
from destila.data.synthetic.rows import RowMaker
from destila.data.synthetic.token_table import MASK, Ids, Lexicon
from destila.data.windows import Window

NO_OFFSETS = np.zeros((0, 2), np.int32)  # nothing is decoded from rows that are only trained on
SPARE = 8  # tokens: a text that is cut into tokens again may take some more
GAP = "…"  # what stands in a question for the span that is asked for
TRIES = 10  # passages looked at for each question that is wanted; some offer none


def text_store(settings: UnlabeledSettings, tokenizer: Tokenizer, *, reader: str) -> TokenStore:
    """The text in the tokens of a reader; tokenized first if it is not on the disk yet.

    Args:
        reader: its name, for errors.

    Raises:
        UserError: the tokenizer is of another kind; the text is missing or unreadable.
    """
    try:
        Lexicon(tokenizer)
    except UserError as error:
        remedy = "Rows of raw text need a byte-level BPE with RoBERTa's special tokens; leave unlabeled.files empty."
        raise UserError("unlabeled.files", f"the tokenizer of {reader} {error.problem}", remedy) from error
    reading = TextSettings(
        files=settings.files, weights=settings.weights, store=settings.store, workers=settings.workers
    )
    with _named_here():
        return open_store(reading, tokenizer=tokenizer)


@contextlib.contextmanager
def _named_here() -> Iterator[None]:
    """Let errors about the text name the settings that stand here, not those of pre-training."""
    try:
        yield
    except UserError as error:
        table, _, name = error.where.partition(".")
        where = f"unlabeled.{name}" if table == "text" else error.where
        raise UserError(where, error.problem, error.remedy) from error


def row_maker(store: TokenStore, settings: UnlabeledSettings, *, length: int, seed: int) -> RowMaker:
    """Makes rows of `length` tokens of all of a store."""
    pretraining = PretrainSettings(
        text=TextSettings(weights=settings.weights), model=PretrainedModelSettings(length=length), cloze=settings.cloze
    )
    with _named_here():
        return RowMaker(store, store.sources, pretraining, seed=seed)


def text_window(maker: RowMaker, number: int) -> Window:
    """Row `number` as a window that nobody has labeled."""
    row = maker.row(number, np.random.default_rng([maker.seed, number]))
    return Window(
        example=number,
        input_ids=row.ids.astype(np.int32),
        context_start=row.context,
        context_end=len(row.ids) - len(maker.lexicon.template.back),
        offsets=NO_OFFSETS,
        labeled=False,
    )


def windows_by_step(
    path: Path, settings: UnlabeledSettings, length: int, seed: int, batch_size: int
) -> Callable[[int], list[Window]]:
    """The function from steps to windows, for a process that knows the store's path only."""
    maker = row_maker(load_store(path), settings, length=length, seed=seed)
    return lambda step: [text_window(maker, number) for number in range(step * batch_size, (step + 1) * batch_size)]


def text_examples(store: TokenStore, settings: UnlabeledSettings, *, length: int, seed: int) -> list[Example]:
    """`settings.questions` questions about passages that fit into windows of `length` tokens.

    Raises:
        UserError: the text offers too few.
    """
    asking = replace(settings, cloze=replace(settings.cloze, share=1.0))
    maker, wanted = row_maker(store, asking, length=length - SPARE, seed=seed), settings.questions
    front, middle, back = (len(ids) for ids in maker.lexicon.template.parts)
    examples: list[Example] = []
    for number in range(TRIES * wanted):
        if len(examples) == wanted:
            break
        row = maker.row(number, np.random.default_rng([seed, number]))
        if row.starts:  # plain rows ask nothing
            question, context = row.ids[front : row.context - middle], row.ids[row.context : len(row.ids) - back]
            examples.append(
                Example(
                    id=f"text-{number}",
                    question=_question_text(question, maker.lexicon),
                    context=maker.lexicon.text(context).rstrip("\ufffd"),  # a letter cut in two by the row's end
                    source="text",
                    labeled=False,
                )
            )
    if len(examples) < wanted:
        problem = f"is {wanted}, and the text offered {len(examples)}"
        raise UserError("unlabeled.questions", problem, "Give more text, or ask fewer questions.")
    return examples


def _question_text(ids: Ids, lexicon: Lexicon) -> str:
    gaps = np.flatnonzero(ids == MASK)
    parts = np.split(ids, [int(gaps[0]), int(gaps[0]) + 1])[::2] if len(gaps) else [ids]
    return f" {GAP}".join(lexicon.text(part) for part in parts).strip()
