"""Cloze questions: labeled tokens spell the span, no occurrence is missed, and nothing but the generator decides."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spanish
from destila.config import ClozeSettings
from destila.data.synthetic.answer_spans import SPARE, STOP_WORDS
from destila.data.synthetic.cloze import Row, cloze_row, plain_row
from destila.data.synthetic.questions import MAX_QUESTION
from destila.data.synthetic.token_table import MASK, Lexicon
from destila.data.synthetic.word_variants import WordForms
from destila.data.tokenizers import train_tokenizer

TOKENIZER = train_tokenizer([spanish.text(7)], vocabulary_size=900)
LEXICON = Lexicon(TOKENIZER)
BOS, EOS = 0, 2
GAPS = ClozeSettings(unanswerable=0.0, interrogative=0.0)


def passage(seed: int, length: int) -> np.ndarray:
    ids = TOKENIZER.encode(spanish.text(seed, documents=2), add_special_tokens=False).ids
    return np.array(ids[: length + SPARE], np.int64)


def ask(seed: int, length: int, settings: ClozeSettings) -> Row | None:
    generator = np.random.default_rng(seed)
    return cloze_row(passage(seed % 97, length), length=length, lexicon=LEXICON, settings=settings, generator=generator)


def context_text(row: Row) -> str:
    return LEXICON.text(row.ids[row.context : -1])


def occurrences(span: str, text: str) -> int:
    """How often a span stands in a text as whole words; a number that goes on after a sign is another number."""
    return len(re.findall(rf"(?<![\w])(?<!\d[.,:/]){re.escape(span)}(?![\w])(?![.,:/]\d)", text))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), length=st.integers(64, 384))
def test_a_row_has_the_form_of_question_and_context(seed: int, length: int) -> None:
    row = ask(seed, length, ClozeSettings())
    if row is None:
        return
    ids = row.ids.tolist()
    assert len(ids) == length
    assert ids[0] == BOS
    assert ids[row.context - 2 : row.context] == [EOS, EOS]
    assert ids[-1] == EOS
    assert ids.count(EOS) == 3
    assert row.context - 3 <= MAX_QUESTION + 1
    assert ids.count(MASK) <= 1
    assert MASK not in ids[row.context :]
    again = ask(seed, length, ClozeSettings())
    assert again is not None
    assert (again.ids == row.ids).all()
    assert (again.starts, again.ends) == (row.starts, row.ends)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), length=st.integers(96, 384))
def test_the_labeled_tokens_spell_one_span_and_none_of_its_occurrences_is_missed(seed: int, length: int) -> None:
    row = ask(seed, length, GAPS)
    if row is None:
        return
    spans = {LEXICON.text(row.ids[start : end + 1]).strip() for start, end in zip(row.starts, row.ends, strict=True)}
    assert len(spans) == 1
    span = spans.pop()
    assert span
    assert span.split()[0].lower() not in STOP_WORDS.split()
    assert span.split()[-1].lower() not in STOP_WORDS.split()
    assert all(row.context <= start <= end < length - 1 for start, end in zip(row.starts, row.ends, strict=True))
    # A word that the end of the row cuts may look like the span: it is not counted.
    text = context_text(row)
    assert len(row.starts) - occurrences(span, text) in (0, -1 if text.endswith(span) else 0)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_gap_and_the_span_make_a_sentence_of_the_passage(seed: int) -> None:
    row = ask(seed, 256, ClozeSettings(unanswerable=0.0, interrogative=0.0, neighborhood=0.0))
    if row is None or row.context - 3 >= MAX_QUESTION - 10:
        return
    question = row.ids[1 : row.context - 2].tolist()
    place = question.index(MASK)
    span = LEXICON.text(row.ids[row.starts[0] : row.ends[0] + 1]).strip()
    left, right = LEXICON.text(question[:place]), LEXICON.text(question[place + 1 :])
    joined = re.sub(r"\s+", "", left + span + right)
    assert joined in re.sub(r"\s+", "", LEXICON.text(passage(seed % 97, 256)))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_an_interrogative_replaces_the_gap(seed: int) -> None:
    row = ask(seed, 256, ClozeSettings(unanswerable=0.0, interrogative=1.0))
    if row is None:
        return
    question = LEXICON.text(row.ids[1 : row.context - 2])
    assert MASK not in row.ids
    assert question.startswith("¿")
    assert question.endswith("?")


def test_unanswerable_questions_ask_for_what_the_context_lacks() -> None:
    settings = ClozeSettings(unanswerable=1.0, interrogative=0.0, neighborhood=0.0)
    found = [row for seed in range(60) if (row := ask(seed, 320, settings)) is not None]
    assert len(found) > 20
    for row in found:
        assert (row.starts, row.ends) == ((0,), (0,))


def test_the_shares_of_the_forms_are_those_of_the_settings() -> None:
    rows = [row for seed in range(800) if (row := ask(seed, 320, ClozeSettings())) is not None]
    assert len(rows) > 700
    assert np.mean([row.starts == (0,) for row in rows]) == pytest.approx(0.1, abs=0.04)
    assert np.mean([MASK not in row.ids for row in rows]) == pytest.approx(0.3, abs=0.05)


def test_a_passage_that_repeats_nothing_has_no_question() -> None:
    text = "Ana corre por la playa de noche. Luis duerme en casa hasta tarde. " + "y " * 400
    ids = np.array(TOKENIZER.encode(text, add_special_tokens=False).ids[: 128 + SPARE], np.int64)
    generator = np.random.default_rng(1)
    assert cloze_row(ids, length=128, lexicon=LEXICON, settings=GAPS, generator=generator) is None


def test_a_plain_row_is_the_passage() -> None:
    row = plain_row(passage(3, 100), length=100, lexicon=LEXICON)
    assert len(row.ids) == 100
    assert (row.ids[0], row.ids[-1], row.starts) == (BOS, EOS, ())
    assert LEXICON.text(row.ids) == LEXICON.text(passage(3, 100)[:98])


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), length=st.integers(96, 384))
def test_a_sentence_that_stays_holds_the_answer_and_all_words_of_the_question(seed: int, length: int) -> None:
    row = ask(seed, length, ClozeSettings(unanswerable=0.0, interrogative=0.0, keep_answer_sentence=1.0, dropped=0.6))
    if row is None:
        return
    original = passage(seed % 97, length)
    context = row.ids[row.context : -1]
    assert (context[1:] == original[1 : len(context)]).all()  # nothing is taken out
    assert len(row.starts) == 1
    answer = LEXICON.text(row.ids[row.starts[0] : row.ends[0] + 1]).strip()
    asked = set(LEXICON.without_space[row.ids[1 : row.context - 2]].tolist()) - {MASK, LEXICON.space}
    assert asked <= set(LEXICON.without_space[original].tolist())
    assert set(answer.split()[:1]).isdisjoint(STOP_WORDS.split())


def test_dropping_words_makes_questions_shorter() -> None:
    def mean(dropped: float) -> float:
        settings = ClozeSettings(
            unanswerable=0.0, interrogative=1.0, neighborhood=0.0, keep_answer_sentence=1.0, dropped=dropped
        )
        rows = [row for seed in range(200) if (row := ask(seed, 256, settings))]
        return float(np.mean([row.context for row in rows]))

    assert mean(0.8) < 0.93 * mean(0.0)


FORMS = WordForms(np.array(TOKENIZER.encode(spanish.text(7), add_special_tokens=False).ids), LEXICON)
WHOLE = ClozeSettings(unanswerable=0.0, interrogative=1.0, neighborhood=0.0, keep_answer_sentence=1.0)


def question_of(text: str, answer: str, settings: ClozeSettings) -> str:
    """The question about a sentence whose answer is the one wanted; draws until it is."""
    ids = np.array(TOKENIZER.encode(text + " y " * 400, add_special_tokens=False).ids[: 128 + SPARE], np.int64)
    for seed in range(300):
        generator = np.random.default_rng(seed)
        row = cloze_row(ids, length=128, lexicon=LEXICON, settings=settings, generator=generator, forms=FORMS)
        if row and LEXICON.text(row.ids[row.starts[0] : row.ends[0] + 1]).strip() == answer:
            return LEXICON.text(row.ids[1 : row.context - 2]).strip()
    raise AssertionError(f"nobody asks for {answer!r}")


@pytest.mark.parametrize(
    ("sentence", "answer", "pattern"),
    [
        ("El puente colgante abre sus puertas en 1936.", "1936", r"¿(En qué año|Cuándo) el puente colgante abre sus"),
        (
            "La entrada de la biblioteca tiene 340 habitantes.",
            "340",
            r"¿Cuántos habitantes la entrada de la biblioteca",
        ),
        ("Las obras costaron un 12,5 % más de lo previsto.", "12,5", r"¿Qué porcentaje las obras costaron"),
        (
            "El mercado cerró en Villarreal el año pasado.",
            "Villarreal",
            r"¿(Dónde|En (qué|quién)).* el mercado cerró el",
        ),
        (
            "La estación cerró el 17 de marzo por la noche.",
            "17 de marzo",
            r"¿(Cuándo|En qué|Qué día).* la estación cerró",
        ),
    ],
)
def test_a_question_opens_as_its_answer_asks(sentence: str, answer: str, pattern: str) -> None:
    assert re.match(pattern, question_of(sentence, answer, WHOLE), re.I)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_parts_that_change_places_keep_all_words(seed: int) -> None:
    rows = [ask(seed, 256, ClozeSettings(**{**vars(WHOLE), "reordered": share})) for share in (0.0, 1.0)]
    plain, moved = (LEXICON.text(row.ids[1 : row.context - 2]).strip("¿? ").lower().split() for row in rows if row)
    assert sorted(plain) == sorted(moved) or len(plain) > MAX_QUESTION // 4


def test_a_question_in_other_words_repeats_fewer_of_the_text() -> None:
    def repeated(varied: float) -> float:
        shares = []
        for seed in range(150):
            generator = np.random.default_rng(seed)
            settings = ClozeSettings(**{**vars(WHOLE), "varied": varied})
            ids = passage(seed % 97, 256)
            row = cloze_row(ids, length=256, lexicon=LEXICON, settings=settings, generator=generator, forms=FORMS)
            assert row is not None
            said = set(re.findall(r"\w+", context_text(row).lower()))
            asked = re.findall(r"\w+", LEXICON.text(row.ids[1 : row.context - 2]).lower())
            telling = [word for word in asked if word not in STOP_WORDS.split()]
            shares.append(np.mean([word in said for word in telling]))
        return float(np.mean(shares))

    assert repeated(0.0) > 0.9
    assert repeated(0.8) < repeated(0.0) - 0.05


KNOWING = ClozeSettings(**{**vars(WHOLE), "kinds": 1.0})


@pytest.mark.parametrize(
    ("sentence", "answer", "question"),
    [
        ("El puente colgante abre sus puertas en Sevilla.", "Sevilla", r"¿En qué (ciudad|localidad) el puente"),
        (
            "El puente colgante está en la ciudad de Villarreal.",
            "Villarreal",
            r"¿En qué ciudad el puente colgante está",
        ),
        ("Las obras que costaron mucho son del alcalde Fernández.", "Fernández", r"¿(De quién|De qué|Quién|Qué)"),
    ],
)
def test_a_question_may_name_the_kind_of_its_answer(sentence: str, answer: str, question: str) -> None:
    assert re.match(question, question_of(sentence, answer, KNOWING), re.I)


CLAUSES = ClozeSettings(**{**vars(WHOLE), "clauses": 1.0})


def test_a_question_in_clauses_puts_the_verb_first() -> None:
    sentence = "En la ciudad el nuevo alcalde abrió las puertas del puente por la tarde."
    asked = question_of(sentence, "puertas del puente", CLAUSES)
    assert re.match(r"¿[\w ]+ abrió en la ciudad el nuevo alcalde( por la tarde)?\?$", asked, re.I)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_question_in_clauses_has_the_words_of_its_sentence(seed: int) -> None:
    row, whole = (ask(seed, 256, which) for which in (CLAUSES, WHOLE))
    assert row is not None
    assert whole is not None
    asked, there = (LEXICON.text(one.ids[1 : one.context - 2]).strip("¿? ").lower().split() for one in (row, whole))
    assert len(asked) > 1
    if row.starts == whole.starts and len(there) < MAX_QUESTION // 4:
        assert set(asked[3:]) <= set(there) | set(re.findall(r"\w+", context_text(row).lower()))
