"""Start and end probabilities of tokens: against sums over single spans, and on any text."""

import math
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from destila.core.errors import UserError
from destila.core.records import Example
from destila.inference import decoding
from destila.inference.reader import Reader
from tiny import ARCHITECTURES, TEXTS, tiny_reader

CONTEXT = " ".join(TEXTS)


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    root = tmp_path_factory.mktemp("readers")
    return {name: Reader.load(tiny_reader(root / name, name, seed=3), window_length=64) for name in ARCHITECTURES}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_short_text_gives_the_softmax_over_its_spans(readers, architecture):
    """One window: each legal span adds to the first and to the last of its tokens that show something."""
    reader, context = readers[architecture], TEXTS[1][:40]
    (window,) = reader.builder.build([Example("x", "¿Dónde?", context)])
    ((starts,), (ends,)) = reader.logits([window])
    places, shift = [tuple(place) for place in window.offsets.tolist()], window.context_start
    solid = [number for number, (start, end) in enumerate(places) if start < end]
    sums = {"starts": dict.fromkeys(solid, 0.0), "ends": dict.fromkeys(solid, 0.0)}
    total = math.exp(float(starts[0]) + float(ends[0]))
    for first in range(len(places)):
        for last in range(first, min(len(places), first + reader.window.max_answer_tokens)):
            if inside := [number for number in solid if first <= number <= last]:
                mass = math.exp(float(starts[first + shift]) + float(ends[last + shift]))
                total += mass
                sums["starts"][inside[0]] += mass
                sums["ends"][inside[-1]] += mass
    found = reader.explain("¿Dónde?", context)
    assert [(token.start, token.end) for token in found.tokens] == [places[number] for number in solid]
    for side, masses in sums.items():
        expected = [mass / total for mass in masses.values()]
        assert [getattr(token, side) for token in found.tokens] == pytest.approx(expected, rel=1e-4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(ARCHITECTURES),
    st.lists(st.sampled_from([*TEXTS, "\u200b", "🧑‍🌾", "\xad", "  ", "a" * 90]), min_size=1, max_size=6).map("".join)
    | st.text(st.characters(codec=None), min_size=1, max_size=150),
)
def test_probabilities_of_any_text_add_up_to_one(readers, architecture, context):
    if not context.strip():
        return
    reader = readers[architecture]
    found = reader.explain("¿Qué?", context)
    assert found.answer == reader.answer("¿Qué?", context)
    for side in ("starts", "ends"):
        assert sum(getattr(token, side) for token in found.tokens) + found.no_answer == pytest.approx(1.0, abs=1e-4)
    places = [(token.start, token.end) for token in found.tokens]
    assert places == sorted(places)
    assert all(token.text == context[token.start : token.end] != "" for token in found.tokens)


def test_a_text_that_is_settled_in_parts_says_the_same(readers, monkeypatch):
    reader = readers["bert"]
    whole = reader.explain("¿Qué?", CONTEXT * 3)
    monkeypatch.setattr(decoding, "ROWS_AT_ONCE", 16)
    parts = reader.explain("¿Qué?", CONTEXT * 3)
    assert [token.text for token in parts.tokens] == [token.text for token in whole.tokens]
    for side in ("starts", "ends"):
        expected = [getattr(token, side) for token in whole.tokens]
        assert [getattr(token, side) for token in parts.tokens] == pytest.approx(expected, rel=1e-5)
    monkeypatch.undo()
    whole_marks = reader.highlight("¿Qué?", CONTEXT * 3, keep=1.0).sentences
    monkeypatch.setattr(decoding, "ROWS_AT_ONCE", 16)
    parts_marks = reader.highlight("¿Qué?", CONTEXT * 3, keep=1.0).sentences
    assert [one.score for one in parts_marks] == pytest.approx([one.score for one in whole_marks], rel=1e-5)


def test_the_bundled_model_starts_and_ends_at_the_name():
    reader = Reader.load()
    found = reader.explain("¿Quién fundó Lima?", TEXTS[0])
    first, last = (max(found.tokens, key=lambda token: getattr(token, side)) for side in ("starts", "ends"))
    assert TEXTS[0][first.start : last.end] == found.answer.text == "Francisco Pizarro"
    html = found._repr_html_()
    assert f"start {first.starts:.3f}" in html
    assert f"end {last.ends:.3f}" in html
    colors = re.findall(r"linear-gradient\((.*?)\)\"", html)
    color = r"rgba\(\d+,\d+,\d+,[01]\.\d\d\)"
    assert colors
    assert all(re.fullmatch(f"{color},{color}", each) for each in colors)
    assert html.count("text-decoration:underline") == sum(
        found.answer.start <= token.start < found.answer.end for token in found.tokens
    )


def test_what_is_no_text_is_refused(readers):
    with pytest.raises(UserError, match="the context is None, which is no text"):
        readers["bert"].explain("¿Qué?", None)
