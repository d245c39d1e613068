"""Questions before other paragraphs: unlabeled, never twice the same, neighbors first."""

from hypothesis import given
from hypothesis import strategies as st

from destila.core.records import Example
from destila.data.negatives import paired
from tiny import example


def examples(layout: list[tuple[int, int]]) -> list[Example]:
    """One example for each (article, paragraph); questions repeat every fourth example."""
    return [
        example(f"q{number}", f"¿Pregunta {number % 4}?", f"Párrafo {place} de {article}.", title=f"artículo {article}")
        for number, (article, place) in enumerate(layout)
    ]


layouts = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=12)


@given(layout=layouts, paragraphs=st.integers(0, 4), seed=st.integers(0, 3))
def test_pairs_are_new_unlabeled_and_a_function_of_the_seed(
    layout: list[tuple[int, int]], paragraphs: int, seed: int
) -> None:
    originals = examples(layout)
    pairs = paired(originals, paragraphs=paragraphs, seed=seed)
    assert pairs == paired(originals, paragraphs=paragraphs, seed=seed)
    assert all(not pair.labeled and not pair.answers for pair in pairs)
    together = {(each.question, each.context) for each in originals}
    assert len({(pair.question, pair.context) for pair in pairs} | together) == len(pairs) + len(together)
    assert {pair.context for pair in pairs} <= {each.context for each in originals}
    assert len({pair.id for pair in pairs} | {each.id for each in originals}) == len(pairs) + len(originals)
    if len({each.question for each in originals}) == len(originals):
        others = len({each.context for each in originals}) - 1
        assert len(pairs) == len(originals) * min(paragraphs, others)


def test_paragraphs_of_the_same_article_come_first() -> None:
    originals = examples([(0, 0), (0, 1), (0, 2), (1, 0)])
    pairs = paired(originals, paragraphs=2, seed=1)
    of_first = {pair.context for pair in pairs if pair.question == "¿Pregunta 0?"}
    assert of_first == {"Párrafo 1 de 0.", "Párrafo 2 de 0."}
    assert len([pair for pair in pairs if pair.question == "¿Pregunta 3?"]) == 2  # its article has no other


@given(layout=layouts, paragraphs=st.sampled_from([0.5, 1.0, 1.5, 3.0]), seed=st.integers(0, 3))
def test_what_is_labeled_unanswerable_holds_no_gold_answer(
    layout: list[tuple[int, int]], paragraphs: float, seed: int
) -> None:
    originals = [
        example(f"q{number}", f"¿Pregunta {number}?", f"Párrafo {place} de {article}.", f"{place}", title=f"{article}")
        for number, (article, place) in enumerate(layout)
    ] + [example("nada", "¿Nada?", "Párrafo 9 de 9.", title="9")]
    answers = {each.question: {str(answer.text) for answer in each.answers} for each in originals}
    contexts = {each.context for each in originals}
    pairs = paired(originals, paragraphs=paragraphs, seed=seed, labeled=True)
    assert pairs == paired(originals, paragraphs=paragraphs, seed=seed, labeled=True)
    assert len({pair.id for pair in pairs} | {each.id for each in originals}) == len(pairs) + len(originals)
    for pair in pairs:
        assert pair.labeled
        assert not pair.answers
        assert answers[pair.question], "who has no answer anywhere teaches nothing by another paragraph"
        assert not any(text in pair.context for text in answers[pair.question])
    for each in originals:
        found = [pair for pair in pairs if pair.question == each.question]
        fitting = {context for context in contexts if not any(text in context for text in answers[each.question])}
        at_least = min(int(paragraphs), len(fitting)) if each.answers else 0
        assert at_least <= len(found) <= at_least + 1
        near = {context for context in fitting if context.endswith(f"de {each.title}.")}
        if found and near:
            assert found[0].context in near


def test_case_does_not_hide_an_answer() -> None:
    originals = [
        example("a", "¿Quién?", "Lo dijo el rey.", "rey", title="a"),
        example("b", "¿Cuándo?", "El REY calló en 1535.", "1535", title="a"),
        example("c", "¿Dónde?", "Fue en Lima.", "Lima", title="b"),
    ]
    (pair,) = (pair for pair in paired(originals, paragraphs=1, seed=1, labeled=True) if pair.question == "¿Quién?")
    assert pair.context == "Fue en Lima."
