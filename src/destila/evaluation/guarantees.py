"""What is guaranteed of every reader, each guarantee as a check that real questions and texts can fail.

Mental model: a check runs a reader (or looks at what it said) and gives a `Check`: how many things it looked at,
whether all of them held, and either what was measured or the first that did not hold. A check relies as little as can
be on what it checks: which characters were read is counted in the text, and words are compared with what their tokens
spell.

Invariant: nothing here judges twice: what is tolerated is written beside the check. This module writes nothing.
"""

import json
import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from destila.core.characters import is_hidden
from destila.core.records import Answer, Example, Prediction
from destila.core.strict_json import dumps
from destila.data.streaming import LONG_TEXT
from destila.data.tokenizers import USUAL_NAMES
from destila.data.windows import Window, collate
from destila.evaluation.metrics import agreement, score
from destila.evaluation.predictions import answer_texts
from destila.inference.backends import Logits
from destila.inference.jsonl import answer_fields
from destila.inference.reader import Reader, WindowLogits

TOLERANCE = 1e-4  # of logits of an fp32 export, relative to the largest where that is above 1
RULES = "mlqa-es"
TOP_K = 3
QUESTION = "¿Qué dice el texto?"
# Words without end, pictures of several characters, marks beside their letters, capitals alone, other scripts.
ODD_TEXTS = (
    "anticonstitucional" * 300,
    "👩‍👩‍👧 🇪🇸 👍🏽 😀 " * 60,
    "La cancio\u0301n del nin\u0303o e\u0301\u0328. " * 60,
    "EL CAPITÁN NÚÑEZ LLEGO\u0301 A MÉXICO. " * 40,
    "日本語 ไทย नमस्ते العربية ½ ﬁn x² \u00a0 bi\xadblio\u200bteca\t1.234,56\r\n" * 30,
)

Said = Mapping[str, tuple[Prediction, list[Answer]]]  # prediction and best answers by the id of the example


@dataclass(frozen=True)
class Check:
    """Whether one guarantee held.

    Attributes:
        name: what is guaranteed.
        n: how many things were looked at; `of`: what they are.
        passed: whether it held for all; None: it was not checked.
        detail: what was measured, the first thing for which it did not hold, or why it was not checked.
    """

    name: str
    n: int
    of: str
    passed: bool | None
    detail: str = ""


# ---------------------------------------------------------------------------------------------------- reading
def texts_of(examples: Sequence[Example]) -> list[str]:
    """The texts to read: those of the data, odd ones, and one so long that it is read in pieces."""
    contexts = list(dict.fromkeys(example.context for example in examples))
    whole = "\n".join(contexts) + "\n"
    return [*contexts, *ODD_TEXTS, whole * (LONG_TEXT // len(whole) + 1)]


def every_token_read(reader: Reader, texts: Sequence[str]) -> Check:
    """Every token of every text stands in a window, and every character that shows stands for one of them."""
    tokens, wrong = 0, ""
    for text in texts:
        whole = reader.builder.tokenize([text], clean=False)[text].ids
        found, covered = np.full(len(whole), -1, np.int64), np.zeros(len(text) + 1, np.int64)
        for window in _windows(reader, text):
            last = window.first_token + window.context_end - window.context_start
            found[window.first_token : last] = window.input_ids[window.context_start : window.context_end]
            np.add.at(covered, window.offsets[:, 0], 1)
            np.add.at(covered, window.offsets[:, 1], -1)
        tokens += len(whole)
        unseen = (place for place in np.flatnonzero(covered.cumsum()[:-1] == 0) if _shows(text[place]))
        if not wrong and (lost := int((found != whole).sum())):
            wrong = f"{lost} of {len(whole)} tokens of the text that begins {text[:20]!r} are in no window"
        if not wrong and (place := next(unseen, None)) is not None:
            wrong = f"character {place} of the text that begins {text[:20]!r}, {text[place]!r}, is in no token"
    return Check("every token of every text is read", tokens, "tokens", not wrong, wrong)


def _shows(letter: str) -> bool:
    return not (letter.isspace() or is_hidden(letter))


def _windows(reader: Reader, text: str) -> list[Window]:
    """The windows that a model is given of a text."""
    windows = list[Window]()

    def logits(given: Sequence[Window]) -> WindowLogits:
        windows.extend(given)
        zeros = [np.zeros(len(window.input_ids), np.float32) for window in given]
        return zeros, zeros

    list(reader.read([Example("text", QUESTION, text)], logits=logits))
    return windows


# ---------------------------------------------------------------------------------------------------- offsets
def exact_offsets(reader: Reader, examples: Sequence[Example], said: Said, texts: Sequence[str]) -> Check:
    """Every answer is the piece of its text that its offsets name, and the tokens of a word spell that word."""
    answers, words, wrong = 0, 0, ""
    for example in examples:
        for answer in (one for one in said[example.id][1] if one.text is not None):
            answers += 1
            start, end = answer.start, answer.end
            inside = start is not None and end is not None and 0 <= start < end <= len(example.context)
            if not wrong and not (inside and answer.text == example.context[start:end]):
                wrong = f"question {example.id!r}: {answer.text!r} does not stand at {start} to {end}"
    for text in texts:
        for word, spelled in _words(reader, text):
            words += 1
            if not wrong and _letters(word) != _letters(spelled):
                wrong = f"the tokens of {word[:40]!r} spell {spelled[:40]!r}"
    return Check("offsets are exact", answers + words, "answers and words", not wrong, wrong)


def _words(reader: Reader, text: str) -> Iterator[tuple[str, str]]:
    """Each word of a text, as far as the reader knows its pieces, and what the tokens at its place spell."""
    found = reader.builder.tokenize([text], clean=True)[text]
    unknown = {reader.tokenizer.token_to_id(name) for name in USUAL_NAMES["unk"]}
    starts, ends = found.offsets.T
    start = 0
    for word in text.split():
        start = text.index(word, start)
        end = start + len(word)
        first, last = np.searchsorted(starts, start), np.searchsorted(starts, end)
        ids = found.ids[first:last][ends[first:last] > starts[first:last]].tolist()
        if ids and ends[first:last].max() <= end and not unknown & set(ids):
            yield word, reader.tokenizer.decode(ids, skip_special_tokens=False)
        start = end


def _letters(text: str) -> str:
    """The letters and digits of a text as every tokenizer leaves them: composed or not, small or capital."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", text.casefold()))).casefold()


# ---------------------------------------------------------------------------------------------------- the same answer
def said_of(reader: Reader, examples: Sequence[Example], **options: Any) -> Said:
    """What a reader says of each example, asked together; `options` as in `Reader.read`."""
    read = reader.read(examples, top_k=TOP_K, **options)
    return {example.id: found for example, found in zip(examples, read, strict=True)}


def same_in_company(reader: Reader, examples: Sequence[Example], said: Said) -> Check:
    """Alone, among others in any order, and with padding, every answer is the same to the last bit of its score.

    Args:
        said: what the reader says of all examples together.
    """
    alone = {name: found for one in examples for name, found in said_of(reader, [one]).items()}
    longest = reader.window.length
    ways = {
        "together": said,
        "in batches of 5 of any lengths": said_of(reader, examples, logits=_in_batches(reader, 5)),
        f"alone, padded to {longest} tokens": said_of(reader, examples, logits=_in_batches(reader, 1, longest)),
    }
    return _equal("the same answer alone, in any batch and with any padding", alone, ways)


def _in_batches(reader: Reader, size: int, length: int | None = None) -> Callable[[Sequence[Window]], WindowLogits]:
    """Runs windows in random batches, padded to their longest or to `length` tokens."""

    def logits(windows: Sequence[Window]) -> WindowLogits:
        order = np.random.default_rng(0).permutation(len(windows)).tolist()
        starts, ends = ([np.empty(0, np.float32)] * len(windows) for _ in range(2))
        for first in range(0, len(order), size):
            places = order[first : first + size]
            batch = collate([windows[place] for place in places], pad_id=reader.builder.pad_id, length=length)
            start, end = reader.model.logits(batch.input_ids, batch.attention_mask)  # (B, T)
            for row, place in enumerate(places):
                tokens = len(windows[place].input_ids)
                starts[place], ends[place] = start[row, :tokens].copy(), end[row, :tokens].copy()
        return starts, ends

    return logits


def same_with_threads(load: Callable[[int], Reader], threads: Sequence[int], examples: Sequence[Example]) -> Check:
    """With any number of threads every answer is the same to the last bit of its score.

    Args:
        load: the reader with so many threads.
    """
    said = {f"threads {count}": said_of(load(count), examples) for count in threads}
    first, *_ = said.values()
    name = "the same answer with any number of threads"
    if len(said) == 1:
        return Check(name, 0, "answers", None, "this process may use a single core")
    return _equal(name, first, said)


def _equal(name: str, wanted: Said, ways: Mapping[str, Said]) -> Check:
    compared = [(way, key, found[key] == wanted[key]) for way, found in ways.items() for key in wanted]
    wrong = [(way, key) for way, key, same in compared if not same]
    detail = ", ".join(ways)
    if wrong:
        way, key = wrong[0]
        far = max(abs(ways[way][key][0].best_logit - wanted[key][0].best_logit) for way, key in wrong)
        detail = f"{len(wrong)} differ; first: question {key!r}, {way}; a logit by up to {far:.1e}"
    return Check(name, len(compared), "answers", not wrong, detail)


# ---------------------------------------------------------------------------------------------------- outputs
def strict_outputs(said: Said) -> Check:
    """What is written of every question is JSON of one shape, with finite scores; "no answer" is null, never a text."""
    wrong = ((name, problem) for name, found in said.items() if (problem := _fault(*found)))
    name, problem = next(wrong, ("", ""))
    return Check("strict outputs", len(said), "questions", not problem, f"question {name!r}: {problem}" * bool(problem))


def _fault(prediction: Prediction, answers: Sequence[Answer]) -> str:
    fields = answer_fields(prediction, answers)
    try:
        same = json.loads(dumps(fields)) == fields
    except ValueError as error:
        return f"is no JSON ({error})"
    if not same:
        return "is read otherwise than it was written"
    if set(fields) != {"answers"} | ({"guess"} if prediction.answer.text is None else set()) or not answers:
        return f"has the fields {', '.join(fields)}"
    for answer in answers:
        if not (math.isfinite(answer.score) and 0 <= answer.score <= 1):
            return f"has the score {answer.score}"
        if len({value is None for value in (answer.text, answer.start, answer.end)}) != 1 or answer.text == "":
            return f"has {answer.text!r} at {answer.start} to {answer.end}"
    return ""


# ---------------------------------------------------------------------------------------------------- exports
def equals_reference(reader: Reader, reference: Reader, examples: Sequence[Example], said: Said) -> Check:
    """The logits of an fp32 export are torch's within TOLERANCE, and so are the answers."""
    windows = reader.builder.build(examples)
    ours, theirs = (np.concatenate([*starts, *ends]) for starts, ends in map(_logits(windows), (reader, reference)))
    far = difference(ours, theirs)
    others = [
        name for name, (found, _) in said_of(reference, examples).items() if _place(found) != _place(said[name][0])
    ]
    detail = f"logits within {far:.1e}" + (f"; {len(others)} answers differ, first {others[0]!r}" if others else "")
    return Check("an fp32 export equals torch", len(windows), "windows", far <= TOLERANCE and not others, detail)


def difference(found: Logits, wanted: Logits) -> float:
    """The largest difference of two arrays of logits, relative to the largest wanted one where that is above 1."""
    return float(np.abs(found - wanted).max() / max(1.0, float(np.abs(wanted).max())))


def _logits(windows: Sequence[Window]) -> Callable[[Reader], WindowLogits]:
    return lambda reader: reader.logits(windows)


def _place(prediction: Prediction) -> tuple[object, ...]:
    return prediction.answer.text, prediction.answer.start, prediction.answer.end


def agrees(
    reference: Said, said: Said, examples: Sequence[Example], *, precision: str, min_agreement: float, max_loss: float
) -> list[Check]:
    """So many answers of a lower precision say the same as the reference's, and no more F1 is lost than allowed."""
    theirs, ours = (answer_texts({name: found for name, (found, _) in one.items()}) for one in (reference, said))
    same = agreement(theirs, ours, normalizer=RULES)["identical"]
    detail = f"{same:.1%} say the same, at least {min_agreement:.1%} must"
    checks = [Check(f"{precision} agrees with torch", len(ours), "answers", same >= min_agreement, detail)]
    judged = [example for example in examples if example.labeled]
    name = f"{precision} keeps F1"
    if not judged:
        return [*checks, Check(name, 0, "questions", None, "no question of the data is labeled")]
    before, after = (100 * float(score(judged, texts, normalizer=RULES).f1.mean()) for texts in (theirs, ours))
    detail = f"F1 {before:.2f} -> {after:.2f}, at most {max_loss:g} may be lost"
    return [*checks, Check(name, len(judged), "questions", before - after <= max_loss, detail)]
