"""Records as a notebook shows them: all that they say, and nothing that runs."""

from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from destila.core.notebook import marked
from destila.core.records import Answer, Report

PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"))


def text_of(html: str) -> str:
    """The text of a piece of HTML, which an XML parser must understand: nothing in it is left open."""
    return "".join(fromstring(f"<x>{html}</x>").itertext())


@given(PRINTABLE, st.lists(st.integers(0, 30), max_size=6).map(sorted), PRINTABLE)
def test_a_marked_text_is_the_text(text: str, edges: list[int], title: str) -> None:
    edges = [min(edge, len(text)) for edge in edges]
    marks = [(start, end, "color:red", title) for start, end in zip(edges[::2], edges[1::2], strict=False)]
    html = marked(text, marks)
    assert text_of(html) == text
    spans = fromstring(html).findall("span")
    assert [span.text for span in spans] == [text[start:end] for start, end, *_ in marks if start < end]
    assert all(span.get("title", "") == title for span in spans)


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (Answer("<b>Ana</b> & co", 3, 18, 0.25), "<b>Ana</b> & co"),
        (Answer.none(0.75), "no answer (score 0.750)"),
        (Answer("Ana", None, None), "Ana"),
    ],
)
def test_an_answer_shows_itself(answer: Answer, shown: str) -> None:
    assert text_of(answer._repr_html_()) == shown


def test_a_report_is_a_table_of_its_figures() -> None:
    report = Report("<m>", "dev & test", 1942, 57.52, 37.61, (54.6, 61.0), (35.0, 40.2), "squad", 1, "0.1", "destila")
    head, row = fromstring(report._repr_html_()).findall("tr")
    assert [cell.text for cell in head] == ["model", "data", "n", "F1 [95 %]", "EM [95 %]", "normalizer"]
    assert [cell.text for cell in row] == [
        "<m>",
        "dev & test",
        "1,942",
        "57.5 [54.6, 61.0]",
        "37.6 [35.0, 40.2]",
        "squad",
    ]
