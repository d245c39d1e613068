"""Which sentences are kept: against sums over single spans, on any text, and on the bundled model."""

import math
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from destila.core.errors import UserError
from destila.core.records import Example
from destila.data.sentences import sentences
from destila.inference.highlight import Highlight
from destila.inference.reader import Reader
from tiny import ARCHITECTURES, TEXTS, tiny_reader

CONTEXT = "\n\n".join(TEXTS)
HOSTILE = '<script>alert("1")</script> & <img src=x onerror=alert(1)>. Lo escribió <b>Ana</b> "& \'co\'.'


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    root = tmp_path_factory.mktemp("readers")
    return {name: Reader.load(tiny_reader(root / name, name, seed=3), window_length=64) for name in ARCHITECTURES}


@pytest.fixture(scope="module")
def bundled():
    return Reader.load()


def spans_of(reader, question, context):
    """(first character, one past the last) -> the sum of exp over its spans of tokens, each by its best window."""
    windows = reader.builder.build([Example("x", question, context)])
    best, offsets = {}, {}
    for window, starts, ends in zip(windows, *reader.logits(windows), strict=True):
        shift = window.context_start - window.first_token
        offsets.update(enumerate(window.offsets.tolist(), window.first_token))
        tokens = range(window.first_token, window.first_token + len(window.offsets))
        for first in tokens:
            for last in tokens:
                if first <= last < first + reader.window.max_answer_tokens:
                    score = float(starts[first + shift]) + float(ends[last + shift])
                    best[first, last] = max(score, best.get((first, last), -math.inf))
    found = {}
    for (first, last), score in best.items():
        solid = [offsets[token] for token in range(first, last + 1) if offsets[token][0] < offsets[token][1]]
        if solid:
            place = solid[0][0], solid[-1][1]
            found[place] = found.get(place, 0.0) + math.exp(score)
    return found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_are_sums_over_the_spans_that_touch_a_sentence(readers, architecture):
    reader = readers[architecture]
    found = reader.highlight("¿Quién?", CONTEXT, keep=1.0)
    spans = spans_of(reader, "¿Quién?", CONTEXT)
    masses = [
        sum(mass for (start, end), mass in spans.items() if start < last and end > first)
        for first, last in sentences(CONTEXT)
    ]
    assert len(found.sentences) == len(masses) > 6
    assert [one.score for one in found.sentences] == pytest.approx([mass / sum(masses) for mass in masses], rel=1e-4)
    assert (found.kept_tokens, found.cut) == (found.tokens, 0.0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(ARCHITECTURES),
    st.lists(st.sampled_from([*TEXTS, "Sí. ", "\n\n", "\u200b", "🧑‍🌾", "a" * 90]), min_size=1, max_size=6).map("".join)
    | st.text(st.characters(codec=None), min_size=1, max_size=150),
    st.floats(0.01, 1.0),
    st.floats(0.01, 1.0),
)
def test_what_is_kept_of_any_text(readers, architecture, context, keep, most):
    if not context.strip():
        return
    reader = readers[architecture]
    found = reader.highlight("¿Qué?", context, keep=keep, most=most)
    assert found.answer == reader.answer("¿Qué?", context)
    whole = reader.highlight("¿Qué?", context, keep=1.0)
    assert set(found.sentences) <= set(whole.sentences)
    assert [(one.start, one.end) for one in found.sentences] == sorted((one.start, one.end) for one in found.sentences)
    for one in found.sentences:
        assert one.text == context[one.start : one.end]
        assert (one.start, one.end) in sentences(context)
        assert one.text in found.text
    if found.answer.text is not None:
        assert found.answer.text in found.text
        needed = [one for one in found.sentences if one.start < found.answer.end and one.end > found.answer.start]
        others = [one for one in found.sentences if one not in needed]
        assert not others or found.kept_tokens <= most * found.tokens
        assert found.kept_tokens / max(1, found.tokens) <= most or not others
        left = [one.score for one in whole.sentences if one not in found.sentences]
        assert not (others and left) or max(left) <= min(one.score for one in others)
        if most == 1.0:
            assert sum(one.score for one in found.sentences) >= keep - 1e-9
    assert 0.0 <= found.cut <= 1.0


def test_more_is_kept_of_more(readers):
    reader = readers["bert"]
    found = [reader.highlight("¿Dónde nace el Amazonas?", CONTEXT, keep=keep) for keep in (0.2, 0.5, 0.8, 0.95)]
    found += [reader.highlight("¿Dónde nace el Amazonas?", CONTEXT, keep=1.0)]
    sizes = [len(one.sentences) for one in found]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    assert all(set(less.sentences) <= set(more.sentences) for less, more in pairwise(found))
    capped = reader.highlight("¿Dónde nace el Amazonas?", CONTEXT, keep=1.0, most=0.5)
    assert capped.cut >= 0.5


def test_the_bundled_model_keeps_the_sentence_of_the_answer(bundled):
    found = bundled.highlight("¿Quién escribió «Don Quijote»?", CONTEXT, keep=0.9)
    assert [one.text for one in found.sentences] == [TEXTS[2]]
    assert found.text == TEXTS[2]
    assert found.cut > 0.7
    assert found.answer == bundled.answer("¿Quién escribió «Don Quijote»?", CONTEXT)


def test_a_refusal_keeps_the_best_guess(bundled):
    found = bundled.highlight("¿Quién fundó Lima?", CONTEXT, keep=0.01, no_answer_threshold=-1e9)
    assert found.answer.text is None
    assert "Francisco Pizarro" in found.text


def test_a_gap_is_marked_and_neighbors_are_not_changed(bundled):
    context = "Lima fue fundada por Pizarro.  Llueve poco.\nNada más. Pizarro fundó Lima en 1535."
    parts = [bundled.highlight("¿?", context, keep=1.0).sentences[number] for number in (0, 1, 3)]
    found = Highlight("¿?", context, bundled.answer("¿Quién?", context), tuple(parts), 20, 15)
    assert found.text == "Lima fue fundada por Pizarro.  Llueve poco. […] Pizarro fundó Lima en 1535."
    assert found.cut == 0.25


def test_a_text_without_anything_to_read_keeps_nothing(bundled):
    found = bundled.highlight("¿Quién?", "\u200b")
    assert (found.sentences, found.text, found.cut, found.answer.text) == ((), "", 0.0, None)


@pytest.mark.parametrize("name", ["keep", "most"])
@pytest.mark.parametrize("value", [0, -0.1, 1.01, math.nan, math.inf, True, "0.5", None])
def test_shares_that_make_no_sense_are_refused(readers, name, value):
    with pytest.raises(UserError, match=rf"{name}: is .*\. Make it a number above 0 and at most 1"):
        readers["bert"].highlight("¿Qué?", "Nada.", **{name: value})


@pytest.mark.parametrize(("question", "context"), [("", "a"), ("a", " "), (None, "a"), ("a", None)])
def test_what_is_no_text_is_refused(readers, question, context):
    with pytest.raises(UserError, match=r"is empty|is no text"):
        readers["bert"].highlight(question, context)


class Shown(HTMLParser):
    """The tags of a piece of HTML, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.attributes = [], "", []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("way", ["highlight", "explain"])
def test_a_notebook_shows_texts_and_runs_none(bundled, way):
    found = getattr(bundled, way)("¿Quién lo escribió <script>?", HOSTILE)
    shown = Shown(found._repr_html_())
    assert set(shown.tags) <= {"p", "div", "span"}
    assert set(shown.attributes) <= {"style", "title"}
    assert HOSTILE in shown.text, "every character of the text is there, in its place"
    assert "<script>?" in shown.text
    assert found.answer.text is not None
