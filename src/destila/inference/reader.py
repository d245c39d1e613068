"""Answer questions: texts in, answers out, whatever runs the network.

Mental model: `Example -> windows -> logits -> answers`. `Reader` is a core that takes objects (a model that gives
logits, a tokenizer, window settings, a threshold); `Reader.load` is a thin wrapper around it that takes names. Single
questions, batches, evaluations, folders, pipelines and the server all go through `Reader.read`, so they cannot
disagree; the server hands in `logits` of its own, which mixes the windows of many requests.

Invariants: answers come back in the order of the questions; each is an exact piece of its context; the network sees so
many tokens at once and no more, however long a context is. This module imports no run time by itself and scores
nothing.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
from tokenizers import Tokenizer

from destila.config import WindowSettings
from destila.core.calibration import Calibration
from destila.core.checks import is_finite, whole_number
from destila.core.errors import NotFiniteError, UserError
from destila.core.progress import Progress
from destila.core.records import Answer, Example, Prediction
from destila.data.streaming import ahead, stream
from destila.data.tokenizers import pad_id as find_pad_id
from destila.data.windows import Window, WindowBuilder, collate, inference_batches, longest_window, window_settings
from destila.inference.backends import LoadedBackend, Logits, SpanModel, load_backend
from destila.inference.decoding import Rows, SpanDecoder
from destila.inference.explain import Explanation, TokenScores
from destila.inference.highlight import KEEP, Highlight, SentenceScores, check_shares
from destila.inference.places import name_of, place_of
from destila.inference.questions import Pair, examples_of, refuse_unreadable, shown

LOG = logging.getLogger(__name__)

WORTH_A_THREAD = 20_000  # characters; less is tokenized sooner than a thread has started
TOKENS_PER_BATCH = 2048  # on a CPU; 8192 take 17 % more time for each question: they leave the caches

WindowLogits = tuple[list[Logits], list[Logits]]  # start and end logits, (T,) for each window


class Refusing(TypedDict, total=False):
    """When "no answer" is given.

    Attributes:
        must_answer: never, unless a context has no span; the best span is the answer.
        no_answer_threshold: where its score exceeds the best span's by more than this many logits; None: by more than
            the reader's own threshold.
    """

    must_answer: bool
    no_answer_threshold: float | None


class Reader:
    """Answers questions about texts.

    Args:
        model: gives start and end logits.
        tokenizer: the model's own.
        window: how texts are cut, and the longest answer.
        no_answer_threshold: "no answer" is given where its score exceeds the best span's by more; None: always answer.
        pad_id: the id that fills short rows.
        name: of the model, for messages.
        longest: most tokens that the model can read at once; None: as many as a window has.
        calibration: makes probabilities of scores, where the model was calibrated.

    Attributes:
        least_probability: an answer has at least this probability, else "no answer" is given; None: whatever it has.
    """

    def __init__(
        self,
        model: SpanModel,
        tokenizer: Tokenizer,
        *,
        window: WindowSettings,
        no_answer_threshold: float | None = None,
        pad_id: int,
        name: str = "model",
        longest: int | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.model, self.tokenizer, self.window = model, tokenizer, window
        self.no_answer_threshold, self.name = no_answer_threshold, name
        self.longest = window.length if longest is None else longest
        self.calibration = calibration
        self.least_probability: float | None = None
        self.builder = WindowBuilder(tokenizer, length=window.length, stride=window.stride, pad_id=pad_id)

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        backend: str = "auto",
        revision: str | None = None,
        window_length: int = 0,
        threads: int = 0,
        lean: bool = False,
        max_error: float | None = None,
        **refusing: Unpack[Refusing],
    ) -> "Reader":
        """Load a reader by name.

        Args:
            model: a local directory, a hub id or hub-id@revision; None: the bundled model.
            backend: "auto", "torch", "onnx" or "openvino".
            revision: branch, tag or commit of the hub repository; the commit is then part of the reader's name.
            window_length: tokens of one model input; 0: as the model's destila.json says, else 384, and never more
                than the model has positions for.
            threads: of the run time; 0: one for each core that this process may use.
            lean: less memory and more time for a question, where onnxruntime runs it: for a process that asks few.
            max_error: give only answers of which at most this share is wrong, as the model's destila.json promises
                (docs/calibration.md); "no answer" is given instead of all others.
            refusing: when "no answer" is given, instead of where the model's destila.json says; see `Refusing`.

        Raises:
            UserError: there is no such model, it is broken, its windows would be too long for it, or no such error was
                promised.
        """
        loaded = load_backend(place_of(model), backend, revision=revision, threads=threads, lean=lean)
        name = loaded.location.label if loaded.location.commit else name_of(model)
        return cls.of(loaded, name=name, window_length=window_length, max_error=max_error, **refusing)

    @classmethod
    def of(
        cls,
        loaded: LoadedBackend,
        *,
        name: str,
        window_length: int = 0,
        max_error: float | None = None,
        **refusing: Unpack[Refusing],
    ) -> "Reader":
        """The reader that a loaded model and what lay beside it make; see `load`."""
        longest = longest_window(loaded.config)
        reader = cls(
            loaded.model,
            loaded.tokenizer,
            window=window_settings(name, loaded.metadata, window_length, longest),
            no_answer_threshold=loaded.metadata.no_answer_threshold,
            pad_id=find_pad_id(loaded.tokenizer, loaded.config),
            name=name,
            longest=longest,
            calibration=loaded.metadata.calibration,
        )
        reader.no_answer_threshold = reader.threshold(**refusing)
        if max_error is not None:
            reader.least_probability = _least_probability(reader, max_error, refusing)
            reader.no_answer_threshold = None
        return reader

    # ------------------------------------------------------------------------------------------------ questions
    def answer(self, question: str, context: str, **refusing: Unpack[Refusing]) -> Answer:
        """The best answer, or `Answer.none` where the context holds none.

        Args:
            refusing: when "no answer" is given; see `Refusing`.

        Raises:
            UserError: a text is none or empty, or the question is too long for a window.
        """
        return self.answers(question, context, top_k=1, **refusing)[0]

    def answers(self, question: str, context: str, *, top_k: int = 5, **refusing: Unpack[Refusing]) -> list[Answer]:
        """The best answers, best first, as far as they deserve to be shown (docs/answering.md).

        "No answer" stands first where it wins; what follows then is the best guess behind it.
        """
        return self.rank([(question, context)], top_k=top_k, **refusing)[0]

    def answer_batch(self, pairs: Iterable[Pair], **refusing: Unpack[Refusing]) -> list[Answer]:
        """The best answer of each (question, context), in order."""
        return [answers[0] for answers in self.rank(pairs, top_k=1, **refusing)]

    def rank(self, pairs: Iterable[Pair], *, top_k: int = 5, **refusing: Unpack[Refusing]) -> list[list[Answer]]:
        """The best answers of each (question, context), in order."""
        return [answers for _, answers in self.read(examples_of(pairs), top_k=top_k, **refusing)]

    def predict(self, examples: Sequence[Example]) -> dict[str, Prediction]:
        """What the reader says about each example, by id."""
        refuse_unreadable(examples)
        progress = Progress(len(examples), what=f"Reading with {self.name}", unit="questions")
        try:
            read = self.read(examples, top_k=1, logits=lambda windows: self.logits(windows, progress))
            return {example.id: prediction for example, (prediction, _) in zip(examples, read, strict=True)}
        finally:
            progress.close()

    # ------------------------------------------------------------------------------------------------ what it saw
    def highlight(
        self, question: str, context: str, *, keep: float = KEEP, most: float = 1.0, **refusing: Unpack[Refusing]
    ) -> Highlight:
        """Find the sentences of a text that the answer needs, and the answer: one run of the network gives both.

        >>> text = "Lima fue fundada por Francisco Pizarro en 1535. Llueve poco. La rodea un desierto."
        >>> found = destila.Reader.load().highlight("¿Quién fundó Lima?", text, keep=0.9)
        >>> found.text, found.answer.text
        ('Lima fue fundada por Francisco Pizarro en 1535.', 'Francisco Pizarro')

        Args:
            keep: share in (0, 1] of all sentences' scores that those which are kept have together.
            most: share in (0, 1] of the text's tokens that they may have; the sentences of the answer, or of the best
                guess behind a refusal, are kept in any case.

        Raises:
            UserError: as `read`; `keep` or `most` is no such share.
        """
        check_shares(keep=keep, most=most)
        examples = examples_of([(question, context)])
        refuse_unreadable(examples)
        scores = SentenceScores(context)
        ((prediction, _),) = self.read(examples, looks=[scores.look], **refusing)
        return scores.highlight(question, prediction, keep=keep, most=most)

    def explain(self, question: str, context: str, **refusing: Unpack[Refusing]) -> Explanation:
        """How probably the answer starts and ends at each token of a text; a notebook shows it over the text.

        >>> found = destila.Reader.load().explain("¿Quién fundó Lima?", "Lima fue fundada por Francisco Pizarro.")
        >>> max(found.tokens, key=lambda token: token.starts).text
        'Francisco'

        Raises:
            UserError: as `read`.
        """
        scores = TokenScores()
        ((prediction, _),) = self.read(examples_of([(question, context)]), looks=[scores.look], **refusing)
        return scores.explanation(question, context, prediction)

    # ------------------------------------------------------------------------------------------------ the path
    def read(
        self,
        examples: Sequence[Example],
        *,
        top_k: int = 1,
        logits: Callable[[Sequence[Window]], WindowLogits] | None = None,
        looks: Sequence[Callable[[Rows], None]] = (),
        **refusing: Unpack[Refusing],
    ) -> Iterator[tuple[Prediction, list[Answer]]]:
        """Prediction and best answers of each example, in order: the one way from texts to answers.

        Memory depends neither on the length of a context nor on how many examples there are: so much is in work at
        once, and no more.

        Args:
            top_k: most answers of each.
            logits: runs windows instead of `self.logits`, a part of the texts at a time.
            looks: one for each example, if any: is shown the scores of all its spans, a part at a time (`SpanDecoder`).
            refusing: when "no answer" is given; see `Refusing`.

        Raises:
            UserError: a text is none or empty, or a question is too long for a window; `top_k` or `refusing` make no
                sense; the model gives numbers that are not finite.
        """
        whole_number("top_k", top_k, least=1)
        refuse_unreadable(examples)
        threshold, least = self.threshold(**refusing), None if overrides(refusing) else self.least_probability

        def decoder(window: Window) -> SpanDecoder:
            return SpanDecoder(
                examples[window.example].context,
                max_answer_tokens=min(self.window.max_answer_tokens, self.window.length),
                top_k=top_k,
                no_answer_threshold=threshold,
                calibration=self.calibration,
                least_probability=least,
                look=looks[window.example] if looks else None,
            )

        return self._read(examples, decoder, logits or self.logits)

    def threshold(self, *, must_answer: bool = False, no_answer_threshold: float | None = None) -> float | None:
        """The no-answer threshold in use; None: always answer. See `Refusing`.

        Raises:
            UserError: both are given, or one is not what it should be.
        """
        if not isinstance(must_answer, bool):
            raise UserError("must_answer", f"is {must_answer!r}", "Make it True or False.")
        if no_answer_threshold is None:
            return None if must_answer else self.no_answer_threshold
        if must_answer:
            raise UserError("must_answer", "leaves nothing to a no_answer_threshold", "Give one of the two.")
        if not is_finite(no_answer_threshold):
            remedy = "Make it a number, or None for the reader's own."
            raise UserError("no_answer_threshold", f"is {shown(no_answer_threshold)}", remedy)
        return float(no_answer_threshold)

    def _read(
        self,
        examples: Sequence[Example],
        decoder_of: Callable[[Window], SpanDecoder],
        logits: Callable[[Sequence[Window]], WindowLogits],
    ) -> Iterator[tuple[Prediction, list[Answer]]]:
        parts, decoder = stream(self.builder, examples), None
        if sum(len(example.context) for example in examples) > WORTH_A_THREAD:
            parts = ahead(parts)
        for windows in parts:
            for window, start, end in zip(windows, *logits(windows), strict=True):
                if window.first_token == 0:
                    if decoder:
                        yield decoder.finish()
                    decoder = decoder_of(window)
                assert decoder is not None  # every example has a first window
                decoder.add(window, start, end)
        if decoder:
            yield decoder.finish()

    def logits(self, windows: Sequence[Window], progress: Progress | None = None) -> WindowLogits:
        """Start and end logits of windows, in their order.

        Raises:
            UserError: the model gives numbers that are not finite.
        """
        starts, ends = ([np.empty(0, np.float32)] * len(windows) for _ in range(2))
        budget = getattr(self.model, "tokens_per_batch", TOKENS_PER_BATCH)
        for indices in inference_batches(windows, token_budget=budget):
            batch = collate([windows[index] for index in indices], pad_id=self.builder.pad_id)
            start, end = self.model.logits(batch.input_ids, batch.attention_mask)  # (B, T)
            for row, index in enumerate(indices):
                tokens = len(windows[index].input_ids)
                # Copies: a view would keep the whole padded batch alive.
                starts[index], ends[index] = start[row, :tokens].copy(), end[row, :tokens].copy()
                if not (np.isfinite(starts[index]).all() and np.isfinite(ends[index]).all()):
                    remedy = "Its weights are broken, or its arithmetic overflows; try another --backend."
                    raise NotFiniteError(self.name, "gave scores that are not finite numbers", remedy)
            if progress:
                progress.advance(sum(windows[index].first_token == 0 for index in indices))
        return starts, ends


def overrides(refusing: Refusing) -> bool:
    """Whether something else than the reader's own rule says when "no answer" is given."""
    return bool(refusing.get("must_answer")) or refusing.get("no_answer_threshold") is not None


# ---------------------------------------------------------------------------------------------------- destila.json
def _least_probability(reader: Reader, max_error: float, refusing: Refusing) -> float:
    if overrides(refusing):
        remedy = "Give one of max_error, must_answer and no_answer_threshold."
        raise UserError("max_error", "says when to refuse, and so does another setting", remedy)
    if reader.calibration is None:
        remedy = f"Run destila calibrate --max-error {max_error:g} --write."
        raise UserError(reader.name, "is not calibrated, so it can promise no error", remedy)
    return reader.calibration.least_probability(max_error, where=reader.name)
