"""Which questions are made without a server, and which are kept."""

import json
import re
from pathlib import Path

import pytest

import destila
from destila import Example, UserError
from destila.config import DataGenerateSettings, FilterSettings
from destila.config.loader import resolve
from destila.core.records import Answer
from destila.data.generation.built_in import BuiltInMaker
from destila.data.generation.drafts import Draft, Passage
from destila.data.generation.prompts import drafts_of, messages
from destila.data.squad import read
from destila.training import question_filters as filters
from destila.training.generation import passages_of
from museums import TOWNS, generate, write_folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "folder")
    return tmp_path


# ---------------------------------------------------------------------------------------------------- without a server
def test_the_built_in_maker_asks_about_exact_spans_and_asks_the_same_again(place: Path) -> None:
    found = passages_of(resolve(DataGenerateSettings, {"folder": "folder", "cache": "cache"}))
    assert [passage.title for passage in found] == [f"{town}.txt" for town in sorted(TOWNS)]
    whole = [Passage("todo.txt", passage.text) for passage in found]  # one document: passages have neighbors
    makers = [BuiltInMaker(whole, count=10, seed=seed) for seed in (1, 1, 2)]
    made = [[maker.make(passage).drafts for passage in whole] for maker in makers]
    assert made[0] == made[1] != made[2]
    for passage, drafts in zip(whole, made[0], strict=True):
        answered = [draft for draft in drafts if draft.answer is not None]
        assert len(answered) >= 4
        for draft in answered:
            assert draft.start is not None
            assert passage.text.startswith(draft.answer, draft.start)
            assert draft.answer == draft.answer.strip() != ""
            assert re.match(r"¿.+\?$", draft.question)
    assert any(draft.answer is None for drafts in made[0] for draft in drafts)


def test_the_bundled_model_must_find_the_same_span(place: Path) -> None:
    made = generate(None, output="all.json", filters={"agreement": 0.0, "overlap": 1.0})
    judged = generate(None, output="judged.json", filters={"agreement": 0.6, "overlap": 1.0})
    assert filters.ANOTHER_SPAN in judged.left_out
    assert filters.ANOTHER_SPAN not in made.left_out
    examples, reader = read(Path("judged.json"), repair=False)[0], destila.Reader.load()
    assert 0 < len(examples) < made.questions
    for example in examples:
        answer = reader.answer(example.question, example.context, must_answer=bool(example.answers))
        if not example.answers:
            assert answer.text is None
            continue
        gold = example.answers[0]
        assert max(gold.start, answer.start) < min(gold.end, answer.end)


def test_one_passage_and_no_words_in_common_are_enough(place: Path) -> None:
    alone = [Passage("a", "El faro de Cabo Mayor mide 91 metros. Su luz se ve desde 39 kilómetros.")]
    drafts = BuiltInMaker(alone, count=5, seed=1).make(alone[0]).drafts
    assert {draft.answer for draft in drafts} >= {"91"} or drafts


def test_no_folder_nothing_to_read_and_too_little_text(place: Path) -> None:
    with pytest.raises(UserError, match="cannot be listed"):
        destila.generate("nowhere", "out.json")
    (place / "empty").mkdir()
    (place / "empty" / "a.txt").write_text("Poco.")
    with pytest.raises(UserError, match="holds no passage of 80 characters"):
        destila.generate("empty", "out.json", cache="cache")
    with pytest.raises(UserError, match="no question is left"):
        generate(None, filters={"overlap": 0.0, "unanswerable": 0.0})


# ---------------------------------------------------------------------------------------------------- filters
CONTEXT = "Lima fue fundada en 1535 por Francisco Pizarro. La mina de plata dio trabajo a 300 personas en 1900 y 1535."


@pytest.mark.parametrize(
    ("question", "answer", "start", "result"),
    [
        ("¿Quién creó la ciudad?", "Francisco Pizarro", None, 29),
        ("¿Quién creó la ciudad?", "Pizarro Francisco", None, filters.NOT_THERE),
        ("¿Quién creó la ciudad?", "Francisco Piz", None, filters.NOT_THERE),
        ("¿Quién creó la ciudad?", "Lima", 3, filters.NOT_THERE),
        ("¿En qué año dio empleo la mina?", "1535", None, 102),  # where the question's words are
        ("¿En qué año nació la ciudad de Lima?", "1535", None, 20),
        ("¿Quién fundó la ciudad, si fue Francisco Pizarro?", "Francisco Pizarro", None, filters.GIVEN_AWAY),
        ("¿Por quién fue Lima fundada en 1535?", "Francisco Pizarro", None, filters.TOO_EASY),
        ("¿Qué?", "Lima", None, filters.SAYS_NOTHING),
        ("¿Quién creó la ciudad?", CONTEXT[:-1] + " x" * 30, None, filters.NOT_THERE),
    ],
)
def test_what_is_seen_in_a_draft(question: str, answer: str, start: int | None, result: str | int) -> None:
    made, reason = filters.example_of(Passage("t", CONTEXT), Draft(question, answer, start), "s", FilterSettings())
    if isinstance(result, str):
        assert (made, reason) == (None, result)
    else:
        assert made is not None
        assert made.answers == (Answer.at(CONTEXT, result, result + len(answer)),)


def example(name: int, question: str, answer: str | None) -> Example:
    golds = (Answer(answer, 0, len(answer)),) if answer else ()
    return Example(str(name), question, f"contexto {name}", golds, "t")


def test_balance_bounds_every_share_and_keeps_the_order() -> None:
    asked = [example(n, f"¿Quién hizo la cosa {n}?", "Ana") for n in range(300)]
    asked += [example(1000 + n, f"¿Cuándo pasó {n}?", "el 3 de mayo") for n in range(60)]
    asked += [example(2000 + n, f"¿Dónde está {n}?", "en la casa de al lado") for n in range(60)]
    asked += [example(3000 + n, f"¿Cómo fue {n}?", None) for n in range(200)]
    asked += [example(4000 + n, f"¡¿Cuándo   PASÓ {n}?!", "el 3 de mayo") for n in range(60)]
    kept, out = filters.balanced(asked, FilterSettings())
    assert out[filters.DUPLICATE] == 60
    assert out[filters.TOO_MANY] == 620 - len(kept)
    places = [asked.index(one) for one in kept]
    assert places == sorted(places)
    answered = [one for one in kept if one.answers]
    who = sum("Quién" in one.question for one in answered)
    assert who / len(answered) <= 0.4 + 0.01
    assert len(kept) - len(answered) <= 0.25 * len(kept) + 1
    assert filters.balanced(asked[:300], FilterSettings())[0] == asked[:300], "one kind alone is not cut"
    everything = FilterSettings(question_word=1.0, answer_length=1.0, unanswerable=1.0)
    assert len(filters.balanced(asked, everything)[0]) == 620


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"preguntas": 3}', '{"preguntas": null}', "}{", '{"a":' * 5000, "null", "texto {sin} JSON"],
)
def test_replies_that_hold_no_drafts(content: str) -> None:
    assert drafts_of(content) is None


def test_replies_with_some_sense() -> None:
    good = {"tipo": "qué", "pregunta": " ¿Qué  es? ", "tiene_respuesta": True, "respuesta": " un faro "}
    bad = [3, None, {}, {**good, "pregunta": 7}, {**good, "respuesta": None}, {**good, "tiene_respuesta": "sí"}]
    bad += [{**good, "tiene_respuesta": False}, {**good, "respuesta": ""}, {**good, "pregunta": "\ud800"}]
    bad += [{**good, "pregunta": "¿" + "a" * 400}, {**good, "respuesta": "a\0"}]
    said = f"Aquí están:\n```json\n{json.dumps({'preguntas': [*bad, good]})}\n```"
    assert drafts_of(said) == (Draft("¿Qué es?", "un faro"),)
    none = {**good, "tiene_respuesta": False, "respuesta": ""}
    assert drafts_of(json.dumps({"preguntas": [none]})) == (Draft("¿Qué es?", None),)


def test_a_prompt_asks_for_as_many_as_it_says() -> None:
    for count in (1, 2, 5, 10):
        task = messages(Passage("t", CONTEXT), count)[1]["content"]
        asked = [int(number) for number in re.findall(r"(\d+) (?:preguntas|con respuesta|sin respuesta)", task)]
        assert asked[0] == count == asked[1] + asked[2]
        assert CONTEXT in task
