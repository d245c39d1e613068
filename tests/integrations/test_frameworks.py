"""The adapters in the real frameworks. Each is skipped where its framework is not installed."""

import asyncio
import re
from pathlib import Path

import pytest

from destila.core.errors import UserError
from destila.inference.reader import Reader

PAGE = (Path(__file__).parents[2] / "docs" / "frameworks.md").read_text(encoding="utf-8")
QUESTION, LIMA = (
    "¿Quién fundó Lima?",
    "Lima fue fundada por Francisco Pizarro en 1535. Llueve poco. La rodea un desierto.",
)
DUST = "El polvo cubre la mesa."


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader.load()


@pytest.mark.parametrize(
    ("title", "module"),
    [
        ("LangChain", "langchain_core"),
        ("LlamaIndex", "llama_index.core"),
        ("txtai", "txtai"),
        ("spaCy", "spacy"),
    ],
)
def test_the_example_of_the_page_runs(title: str, module: str) -> None:
    pytest.importorskip(module)
    (code,) = re.findall(rf"^## {title}\n+```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert "assert" in code
    exec(compile(code, f"docs/frameworks.md, {title}", "exec"), {})


def test_a_chain_answers_from_what_its_retriever_finds(reader: Reader) -> None:
    pytest.importorskip("langchain_core")
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import RunnablePassthrough

    from destila.integrations.langchain import answers

    class Shelf(BaseRetriever):
        def _get_relevant_documents(self, query, *, run_manager):
            return [Document(DUST), Document(" "), Document(LIMA, metadata={"page": 7})]

    chain = {"question": RunnablePassthrough(), "context": Shelf()} | answers(reader)
    found, refused = chain.batch([QUESTION, "¿Cuántos goles marcó el delantero del equipo visitante?"])
    document = found["document"]
    assert (document.metadata["page"], document.page_content[found["start"] : found["end"]]) == (7, found["answer"])
    assert found["answer"] == reader.answer(QUESTION, LIMA).text == "Francisco Pizarro"
    assert refused["answer"] is refused["document"] is None
    assert answers(reader).invoke({"question": QUESTION, "context": LIMA})["start"] == LIMA.index("Francisco")
    for asked in ({"context": LIMA}, {"question": QUESTION}, {"question": " ", "context": LIMA}):
        with pytest.raises(UserError):
            answers(reader).invoke(asked)


def test_a_compressor_keeps_what_highlight_keeps_and_the_documents_as_they_were(reader: Reader) -> None:
    pytest.importorskip("langchain_core")
    from langchain_core.documents import Document

    from destila.integrations.langchain import HighlightCompressor

    documents = [Document(DUST, id="a"), Document("", id="b"), Document(LIMA, id="c", metadata={"page": 7})]
    cut = HighlightCompressor().compress_documents(documents, QUESTION)
    assert [one.id for one in cut] == ["a", "c"]
    assert cut[1].page_content == reader.highlight(QUESTION, LIMA).text
    assert cut[1].metadata["page"] == 7
    assert cut[1].metadata["answer"] == "Francisco Pizarro"
    assert documents[2].page_content == LIMA
    assert documents[2].metadata == {"page": 7}
    assert cut == asyncio.run(HighlightCompressor().acompress_documents(documents, QUESTION))
    only = HighlightCompressor(answered_only=True).compress_documents(documents, QUESTION)
    assert [one.id for one in only] == [one.id for one in cut if one.metadata["answer"]]
    with pytest.raises(UserError, match="keep"):
        HighlightCompressor(keep=0.0).compress_documents(documents, QUESTION)


def test_a_query_engine_quotes_and_says_where(reader: Reader) -> None:
    pytest.importorskip("llama_index.core")
    from llama_index.core.query_engine import RetrieverQueryEngine
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

    from destila.integrations.llama_index import ExtractiveSynthesizer, HighlightPostprocessor

    nodes = [
        NodeWithScore(node=TextNode(text=text, id_=name, metadata={"file": name}), score=score)
        for text, name, score in ((DUST, "dust", 0.9), ("", "empty", 0.5), (LIMA, "lima", 0.4))
    ]

    class Shelf(BaseRetriever):
        def _retrieve(self, query_bundle):
            return nodes

    synthesizer = ExtractiveSynthesizer(reader)
    found = RetrieverQueryEngine(Shelf(), synthesizer).query(QUESTION)
    assert found.response == "Francisco Pizarro"
    assert found.source_nodes[0].node.node_id == found.metadata["node_id"] == "lima"
    assert LIMA[found.metadata["start"] : found.metadata["end"]] == found.response
    assert sorted(one.node.node_id for one in found.source_nodes) == ["dust", "empty", "lima"]
    assert asyncio.run(synthesizer.asynthesize(QueryBundle(QUESTION), nodes)).response == found.response
    assert synthesizer.get_response(QUESTION, [DUST, LIMA]) == found.response
    nothing = synthesizer.synthesize(QUESTION, nodes[1:2])
    assert nothing.response == ""
    assert nothing.metadata["node_id"] is None

    cut = HighlightPostprocessor().postprocess_nodes(nodes, query_str=QUESTION)
    assert [(one.node.node_id, one.score) for one in cut] == [("dust", 0.9), ("lima", 0.4)]
    assert cut[1].node.text == reader.highlight(QUESTION, LIMA).text
    assert cut[1].node.metadata == {"file": "lima", "answer": "Francisco Pizarro"}
    assert nodes[2].node.text == LIMA
    assert nodes[2].node.metadata == {"file": "lima"}
    with pytest.raises(UserError, match="query"):
        HighlightPostprocessor().postprocess_nodes(nodes)


def test_an_application_of_txtai_answers(reader: Reader) -> None:
    pytest.importorskip("txtai")
    from txtai.app import Application

    name = "destila.integrations.txtai.Questions"
    application = Application({name: {}})
    asked, texts = [QUESTION, "", QUESTION, QUESTION], [LIMA, LIMA, " ", DUST]
    found = application.pipeline(name, asked, texts)
    assert found == ["Francisco Pizarro", None, None, reader.answer(QUESTION, DUST).text]
    for wrong in ((QUESTION, LIMA), ([QUESTION], [LIMA, DUST])):
        with pytest.raises(UserError, match="contexts"):
            application.pipeline(name, *wrong)


def test_a_pipeline_of_spacy_marks_what_the_reader_says(reader: Reader, tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    import destila.integrations.spacy  # noqa: F401  (registers the component, as its entry point does where it is installed)

    questions = {"WHO": QUESTION, "YEAR": "¿En qué año se fundó Lima?"}
    language = spacy.blank("es")
    language.add_pipe("destila_answers", config={"questions": questions, "key": "said"})
    texts = [LIMA, "", "🏛️ Lima, según se dice,fue fundada por Francisco Pizarro-Pérez en 1535."]
    for text, doc in zip(texts, language.pipe(texts, batch_size=2), strict=True):
        assert doc.text == text
        group = doc.spans["said"]
        wanted = [(label, reader.answer(question, text)) for label, question in questions.items()] if text else []
        wanted = [(label, answer) for label, answer in wanted if answer.text is not None]
        said = group.attrs["answers"]
        assert [(one["label"], one["text"], one["start"]) for one in said] == [
            (label, a.text, a.start) for label, a in wanted
        ]
        for span, one in zip(group, said, strict=True):
            assert span.label_ == one["label"]
            assert text[one["start"] : one["end"]] == one["text"]
            assert span.start_char <= one["start"]
            assert one["end"] <= span.end_char
    language.to_disk(tmp_path / "pipeline")
    again = spacy.load(tmp_path / "pipeline")
    one, other = again(LIMA), language(LIMA)  # spans die with their document
    assert len(one.spans["said"]) == 2
    assert [span.text for span in one.spans["said"]] == [span.text for span in other.spans["said"]]
    with pytest.raises(UserError, match="questions"):
        spacy.blank("es").add_pipe("destila_answers")
