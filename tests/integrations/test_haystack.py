"""The component in real Haystack pipelines. Skipped where Haystack is not installed."""

import os

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # read when Haystack is imported

import pytest

pytest.importorskip("haystack", reason="Haystack is not installed (pip install 'destila[haystack]')")

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from destila.core.errors import UserError
from destila.inference.ranking import Piece, answers_from
from destila.inference.reader import Reader
from destila.integrations.haystack import DestilaReader
from tiny import TEXTS, tiny_reader

QUESTION = "¿Quién fundó Lima?"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    window = {"length": 64, "stride": 16, "max_answer_tokens": 10}
    return str(tiny_reader(tmp_path_factory.mktemp("model"), seed=3, metadata={"window": window}))


@pytest.fixture
def documents():
    return [Document(content=text, meta={"number": number}) for number, text in enumerate(TEXTS)]


def pipeline_with(reader, documents):
    store = InMemoryDocumentStore()
    store.write_documents(documents)
    pipeline = Pipeline()
    pipeline.add_component("retriever", InMemoryBM25Retriever(store, top_k=3))
    pipeline.add_component("reader", reader)
    pipeline.connect("retriever.documents", "reader.documents")
    return pipeline


def ask(pipeline, **more):
    data = {"retriever": {"query": QUESTION}, "reader": {"query": QUESTION, **more}}
    return pipeline.run(data, include_outputs_from={"retriever"})


def test_a_pipeline_answers_from_what_the_retriever_finds(model, documents):
    result = ask(pipeline_with(DestilaReader(model, top_k=4), documents))
    found, answers = result["retriever"]["documents"], result["reader"]["answers"]
    assert found[0].meta["number"] == 0
    assert len(answers) == 4
    pieces = [Piece(document.meta["number"], 0, document.content) for document in found]
    expected = answers_from(Reader.load(model), QUESTION, pieces, top_k=4)
    assert sum(answer.score for answer in answers) <= 1.0001
    for answer, (number, same) in zip(answers, expected, strict=True):
        span = answer.document_offset
        assert (answer.data, span.start, answer.document.meta["number"]) == (same.text, same.start, number)
        assert answer.score == pytest.approx(same.score, rel=1e-3)
        assert answer.document.content[span.start : span.end] == answer.data
        assert (answer.query, answer.meta) == (QUESTION, {"number": number})


def test_a_run_may_ask_for_more_or_fewer(model, documents):
    pipeline = pipeline_with(DestilaReader(model, top_k=4), documents)
    assert len(ask(pipeline, top_k=1)["reader"]["answers"]) == 1
    assert len(ask(pipeline, top_k=7)["reader"]["answers"]) == 7
    with pytest.raises(UserError, match="top_k: is 0"):
        DestilaReader(model, top_k=0)
    with pytest.raises(UserError, match="top_k: is 0"):
        DestilaReader(model).run(QUESTION, documents, top_k=0)


def test_a_pipeline_survives_being_written_and_read(model, documents):
    pipeline = pipeline_with(DestilaReader(model, top_k=2, backend="torch", threads=1), documents)
    before = ask(pipeline)["reader"]["answers"]
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["destila.integrations.haystack"])
    reader = again.get_component("reader")
    assert (reader.model, reader.top_k, reader.backend, reader.threads) == (model, 2, "torch", 1)
    assert reader.reader is None  # nothing is loaded before it is needed
    again.get_component("retriever").document_store.write_documents(documents, policy="overwrite")
    assert [answer.to_dict() for answer in ask(again)["reader"]["answers"]] == [answer.to_dict() for answer in before]


def test_the_model_is_loaded_once(model, documents, monkeypatch):
    loads, load = [], Reader.load
    monkeypatch.setattr(Reader, "load", lambda *some, **more: loads.append(some) or load(*some, **more))
    pipeline = pipeline_with(DestilaReader(model), documents)
    assert loads == []
    ask(pipeline)
    ask(pipeline)
    assert len(loads) == 1


def test_no_answer_is_given_where_every_document_says_so(model, documents):
    reader = DestilaReader(model, top_k=3)
    reader.warm_up()
    reader.reader.no_answer_threshold = -1e9  # always "no answer"
    answers = reader.run(QUESTION, documents)["answers"]
    assert [answer.data is None for answer in answers] == [True, False, False]
    pieces = [Piece(number, 0, text) for number, text in enumerate(TEXTS)]
    ((_, none),) = answers_from(reader.reader, QUESTION, pieces, top_k=1)
    assert answers[0].score == pytest.approx(none.score, rel=1e-3)
    assert answers[0].document is None
    reader.reader.no_answer_threshold = None
    assert all(answer.data for answer in reader.run(QUESTION, documents)["answers"])


def test_without_texts_there_are_no_answers(model):
    for documents in ([], [Document(content=None, meta={"only": "meta"})], [Document(content=" \n")]):
        assert DestilaReader(model).run(QUESTION, documents) == {"answers": []}
