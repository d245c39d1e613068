"""The tools of `destila mcp` as agents meet them: the SDK's own client, over pipes and over sockets."""

import asyncio
import functools
import os
import signal
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="the SDK is not installed (pip install 'destila[mcp]')")

from mcp import StdioServerParameters

from agents import QUESTIONS, SECONDS, TEXTS, Agent, command, environment, write_documents
from destila.config import McpSettings
from destila.inference.documents import read_document
from destila.inference.questions import examples_of as pairs_as_examples
from destila.inference.reader import Reader
from destila.integrations.mcp import TOOLS
from serving import hear_interrupts


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    write_documents(place)
    return place


@pytest.fixture(scope="module", params=["stdio", "http"])
def agent(request, place):
    if request.param == "stdio":
        program, *arguments = command(place)
        agent = Agent(StdioServerParameters(command=program, args=arguments, env=environment(place)))
        yield agent
        agent.leave()
        return
    started = command(place, "--transport", "http", "--port", "0")
    pipes = {"stdout": subprocess.PIPE, "text": True, "preexec_fn": hear_interrupts}
    with subprocess.Popen(started, env=environment(place), **pipes) as server:
        agent = Agent(server.stdout.readline().strip())
        yield agent
        agent.leave()
        server.send_signal(signal.SIGINT)
        assert server.wait(SECONDS) == 130


read = functools.cache(read_document)  # the files that are asked about do not change


def check(cited, folder):
    """A citation is what stands in its file, where it says."""
    place = cited["citation"]
    document = read(place["file"])
    start, end = place["start_char_index"], place["end_char_index"]
    assert document.text[start:end] == place["cited_text"] == cited["text"]
    assert cited["text"] in cited["sentence"]
    assert cited["sentence"] in document.text
    assert 0 < cited["score"] <= 1
    name = Path(place["file"])
    assert place["document_title"] == name.name
    assert name.parent == Path(os.path.realpath(folder))
    if name.suffix == ".pdf":
        assert place["type"] == "page_location"
        pages = [number for number, line in enumerate(TEXTS[name.name], 1) if cited["sentence"].strip() in line]
        assert pages == [place["start_page_number"]]
        assert place["end_page_number"] == pages[0] + 1
    else:
        assert place["type"] == "char_location"
        assert "start_page_number" not in place


# ------------------------------------------------------------------------------------------ answers
def test_an_agent_learns_what_there_is(agent, place):
    tools = {tool.name: tool for tool in agent.do(agent.client.list_tools()).tools}
    assert tools.keys() == TOOLS.keys()
    for tool in tools.values():
        assert tool.annotations.read_only_hint
        assert tool.description
        assert not tool.input_schema["additionalProperties"]
    most = McpSettings().limits.question_characters
    assert tools["answer"].input_schema["properties"]["question"]["maxLength"] == most
    citation = tools["answer"].output_schema["$defs"]["PageLocation"]
    assert {"cited_text", "document_index", "start_char_index", "start_page_number"} <= set(citation["required"])
    assert str(place / "docs") in agent.client.instructions


def test_ten_questions_to_a_folder_are_answered_with_exact_citations(agent, place):
    right = 0
    for question, name in QUESTIONS.items():
        result = agent.call("search_folder", question=question, folder=".")
        assert result["question"] == question
        assert result["searched"]["files"] == len(TEXTS)
        assert result["searched"]["others"] == 1
        unread = {Path(each["file"]).name: each["problem"] for each in result["searched"]["refused_files"]}
        assert unread.keys() == {"carpeta", "enlace.txt", "roto.pdf"}
        assert "leads out" in unread["enlace.txt"]
        shown = [*result["answers"], *filter(None, [result["best_guess"]])]
        for cited in shown:
            check(cited, place / "docs")
        assert result["no_answer"] == (not result["answers"])
        files = [each["citation"]["file"] for each in shown]
        indices = [each["citation"]["document_index"] for each in shown]
        assert [list(dict.fromkeys(files)).index(file) for file in files] == indices
        right += Path(files[0]).name == name
    assert right >= 9


def test_a_text_or_a_file_answers_with_characters(agent, place):
    text = TEXTS["museo.md"][2]  # with a character outside of the basic plane
    expected = Reader.load().answer("¿Quién es la directora?", text)
    result = agent.call("answer", question="¿Quién es la directora?", text=text)
    (cited,) = result["answers"]
    span = cited["citation"]
    assert (cited["text"], span["start_char_index"], span["end_char_index"]) == (
        expected.text,
        expected.start,
        expected.end,
    )
    assert text[span["start_char_index"] : span["end_char_index"]] == span["cited_text"]
    assert (span["type"], span["file"], span["document_title"]) == ("char_location", None, None)
    assert cited["score"] == pytest.approx(expected.score, abs=1e-4)
    assert (result["no_answer"], result["best_guess"], result["searched"]) == (False, None, None)
    for name in TEXTS:
        question = next(question for question, file in QUESTIONS.items() if file == name)
        result = agent.call("answer", question=question, path=name, top_k=3)
        assert 1 <= len(result["answers"]) <= 3
        for cited in result["answers"]:
            check(cited, place / "docs")
            assert cited["citation"]["document_title"] == name
    for path in ("./sub/../puente.txt", str(place / "docs" / "puente.txt")):
        assert agent.call("answer", question="¿Cuánto mide el puente?", path=path)["answers"]
    linked = agent.call("answer", question="¿Cuánto mide el puente?", path="vinculo.txt")
    assert linked["answers"][0]["citation"]["document_title"] == "puente.txt", "a link that stays inside is followed"


def test_no_answer_is_said_with_the_best_guess(agent):
    question, text = "¿Cuántos goles marcó Messi en el Mundial de 1986?", "La receta lleva harina, agua y sal."
    prediction, _ = next(Reader.load().read(pairs_as_examples([(question, text)])))
    assert prediction.guess is not None, "choose another question: the reader answers this one"
    result = agent.call("answer", question=question, text=text, top_k=5)
    assert result["no_answer"]
    assert result["answers"] == []
    assert result["no_answer_score"] == pytest.approx(prediction.answer.score, abs=1e-4)
    assert result["best_guess"]["text"] == prediction.guess.text
    assert result["best_guess"]["citation"]["cited_text"] == prediction.guess.text


def test_several_questions_are_answered_in_order(agent, place):
    some = [question for question, name in QUESTIONS.items() if name == "informe.pdf"]
    single = [agent.call("answer", question=question, path="informe.pdf") for question in some]
    assert agent.call("answer_many", questions=some, path="informe.pdf")["results"] == single
    text = "Pizarro fundó Lima."
    pairs = [{"question": "¿Quién fundó Lima?", "text": text}, {"question": some[1], "path": "informe.pdf"}]
    first, second = agent.call("answer_many", pairs=pairs)["results"]
    assert first == agent.call("answer", question="¿Quién fundó Lima?", text=text)
    assert second == single[1]
    of_all = agent.call("answer_many", questions=some, path=".")["results"]
    assert [result["question"] for result in of_all] == some
    assert all(result["searched"]["files"] == len(TEXTS) for result in of_all)


def test_a_file_that_changes_is_read_anew(agent, place):
    file = place / "docs" / "sub" / "nota.txt"
    for name in ("Ana Ruiz", "Eva Paz"):
        file.write_text(f"La secretaria del club es {name}.")
        for tool, where in (("search_folder", {"folder": "sub"}), ("answer", {"path": "sub/nota.txt"})):
            result = agent.call(tool, question="¿Quién es la secretaria del club?", **where)
            assert result["answers"][0]["text"] == name
    file.unlink()


def test_calls_at_once_get_their_own_answers(agent):
    texts = {f"¿Cuántos años tiene Luis{n}?": f"Luis{n} tiene {20 + n} años." for n in range(8)}

    async def ask_all():
        calls = (agent.client.call_tool("answer", {"question": q, "text": t}) for q, t in texts.items())
        return await asyncio.gather(*calls)

    expected = Reader.load().answer_batch(texts.items())
    found = [result.structured_content for result in agent.do(ask_all())]
    assert [result["question"] for result in found] == list(texts)
    given = [(result["answers"] or [result["best_guess"]])[0]["text"] for result in found]
    assert [text for text, answer in zip(given, expected, strict=True) if answer.text not in (None, text)] == []
    assert sum(str(20 + n) in text for n, text in enumerate(given)) >= 6


# ------------------------------------------------------------------------------------------ refusals
@pytest.mark.parametrize(
    "path",
    [
        "../clave.txt",
        "sub/../../clave.txt",
        "../docs-secret/clave.txt",
        "PLACE/docs-secret/clave.txt",
        "PLACE/clave.txt",
        "enlace.txt",
        "carpeta",
        "carpeta/clave.txt",
        "/etc/passwd",
        "/proc/self/environ",
        "..",
        "/",
        "../nowhere.txt",
        "a\0b.txt",
    ],
)
@pytest.mark.parametrize("tool", ["answer", "answer_many", "search_folder"])
def test_nothing_outside_of_the_roots_is_read(agent, place, tool, path):
    named = path.replace("PLACE", str(place))
    arguments = {
        "answer": {"question": "¿Cuál es la clave?", "path": named},
        "answer_many": {"questions": ["¿Cuál es la clave?"], "path": named},
        "search_folder": {"question": "¿Cuál es la clave?", "folder": named},
    }[tool]
    said = agent.refused(tool, **arguments)
    assert "is outside of the folders that may be read" in said
    assert f"Give a path below {place / 'docs'}" in said


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("answer", {}, "question: Field required"),
        ("answer", {"question": "¿Qué?"}, "the text: must be given once. Give either text or path."),
        ("answer", {"question": "¿Qué?", "text": "a", "path": "museo.md"}, "must be given once"),
        ("answer", {"question": 5, "text": "a"}, "question: Input should be a valid string"),
        ("answer", {"question": "¿Qué?", "text": ["a"]}, "text: Input should be a valid string"),
        ("answer", {"question": "¿Qué?", "text": "Zanahoria", "topk": 2}, "topk: Extra inputs"),
        ("answer", {"question": "", "text": "a"}, "question: String should have at least 1 character"),
        ("answer", {"question": " ", "text": "a"}, "question 1: the question is empty"),
        ("answer", {"question": "¿Qué?", "text": " \n"}, "the context is empty"),
        ("answer", {"question": "¿Qué?", "text": "a", "top_k": 0}, "top_k: Input should be greater than or equal to 1"),
        ("answer", {"question": "¿Qué?", "text": "a", "top_k": 21}, "less than or equal to 20"),
        ("answer", {"question": "¿" + "Zanahoria " * 101, "text": "a"}, "question: String should have at most 1000"),
        ("answer", {"question": "¿Qué?", "text": "a" * 200_001}, "text: String should have at most 200000"),
        ("answer", {"question": "¿Qué?", "path": "a" * 5000}, "path: String should have at most 4096"),
        ("answer", {"question": "¿Qué?", "path": "nada.txt"}, "nada.txt: cannot be read: no such file"),
        ("answer", {"question": "¿Qué?", "path": "tabla.csv"}, "is of no kind that can be read. These are read"),
        ("answer", {"question": "¿Qué?", "path": "roto.pdf"}, "roto.pdf: is not PDF"),
        ("answer", {"question": "¿" + "%&" * 400, "text": "a"}, "has 801 tokens, which leaves 0"),
        ("answer_many", {}, "takes either questions or pairs. Give questions with text or path"),
        ("answer_many", {"questions": [], "text": "a"}, "questions: List should have at least 1"),
        ("answer_many", {"questions": ["¿Qué?"] * 65, "text": "a"}, "questions: List should have at most 64"),
        ("answer_many", {"questions": ["a"], "pairs": [{"question": "a", "text": "b"}]}, "either questions or pairs"),
        ("answer_many", {"text": "a", "pairs": [{"question": "a", "text": "b"}]}, "either questions or pairs"),
        ("answer_many", {"pairs": [{"question": "a"}]}, "must be given once"),
        ("answer_many", {"pairs": [{"text": "a"}]}, "pairs.0.question: Field required"),
        ("search_folder", {"question": "¿Qué?", "folder": "museo.md"}, "'museo.md': is no folder. Give a folder"),
        ("search_folder", {"question": "¿Qué?", "folder": "nada"}, "is no folder"),
        ("search_folder", {"question": "¿Qué?", "folder": "sub"}, "holds no file with text"),
        ("responde", {}, "'responde': no such tool"),
        ("answr", {}, "did you mean answer?"),
    ],
)
def test_a_mistake_is_a_tool_error_that_says_what_to_do(agent, tool, arguments, expected):
    assert expected in agent.refused(tool, **arguments)
    assert agent.call("answer", question="¿Quién fundó Lima?", text="Pizarro fundó Lima.")["question"]
