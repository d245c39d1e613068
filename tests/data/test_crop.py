"""Contexts that are cut for training: at sentences, around the answer, which is where it was."""

from hypothesis import given
from hypothesis import strategies as st

from destila.core.records import Answer, Example
from destila.data.crop import cropped
from destila.data.sentences import sentences

WORDS = st.lists(st.sampled_from(["Lima", "fue", "la", "capital", "del", "Perú", "en", "1535"]), min_size=1, max_size=9)
TEXTS = st.lists(WORDS, min_size=1, max_size=12).map(
    lambda made: " ".join(" ".join(words).capitalize() + "." for words in made)
)


@given(text=TEXTS, place=st.floats(0, 0.99), most=st.integers(1, 200), id=st.text(max_size=5))
def test_what_is_left_is_whole_sentences_around_the_answer(text: str, place: float, most: int, id: str) -> None:
    words = text.split(" ")
    chosen = int(place * len(words))
    start = len(" ".join(words[:chosen])) + (chosen > 0)
    answer = Answer.at(text, start, start + len(words[chosen]))
    other = Answer.at(text, 0, len(words[0]))
    whole = Example(id, "¿Qué?", text, (answer, other), title="Lima")
    cut = cropped(whole, most)
    assert cut == cropped(whole, most)
    assert (cut.id, cut.question, cut.title, cut.labeled) == (whole.id, whole.question, whole.title, whole.labeled)
    assert cut.context in text
    assert cut.answers[0].text == answer.text
    assert all(each.text == cut.context[each.start : each.end] for each in cut.answers)
    if len(text) <= most:
        assert cut == whole
        return
    spans = sentences(text)
    starts, ends = {text[left:] for left, _ in spans}, {text[:right] for _, right in spans}
    assert any(rest.startswith(cut.context) for rest in starts)
    assert any(part.endswith(cut.context) for part in ends)
    own = next(right - left for left, right in spans if left <= start < right)
    assert len(cut.context) <= max(most, own)


def test_as_much_is_kept_as_fits_and_the_answer_is_not_always_in_the_middle() -> None:
    text = " ".join(f"La frase número {number:02} es de Lima." for number in range(40))
    start = text.index("20")
    places = []
    for number in range(60):
        cut = cropped(Example(f"q{number}", "¿Cuál?", text, (Answer.at(text, start, start + 2),)), 320)
        assert 320 - 35 < len(cut.context) <= 320
        places.append(cut.context.index("20") / len(cut.context))
    assert min(places) < 0.2 < 0.8 < max(places)


def test_a_question_without_an_answer_keeps_some_part() -> None:
    text = " ".join(f"La frase número {number:02} es de Lima." for number in range(40))
    parts = {cropped(Example(f"q{number}", "¿Cuál?", text), 100).context for number in range(60)}
    assert len(parts) > 10
    assert all(part in text and 0 < len(part) <= 100 for part in parts)
    assert cropped(Example("q", "¿Cuál?", text), 0).context == text
