"""Requests that schemathesis makes from the OpenAPI document: none is a 500, every response is one that it describes.

Two hundred here; `make fuzz` sends ten thousand (DESTILA_FUZZ_REQUESTS).
"""

import collections
import os

import pytest
from hypothesis import HealthCheck, given, seed, settings

from destila.config import LimitSettings, ServeSettings
from destila.inference.reader import Reader
from serving import ask, serving
from tiny import TEXTS, tiny_reader

pytest.importorskip("schemathesis", reason="schemathesis is not installed (the dev extra)")
import schemathesis
from schemathesis.checks import positive_data_acceptance

REQUESTS = int(os.environ.get("DESTILA_FUZZ_REQUESTS", "200"))
AT_ONCE = 200  # examples of one search


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    window = {"length": 64, "stride": 16, "max_answer_tokens": 10}
    reader = Reader.load(tiny_reader(tmp_path_factory.mktemp("models") / "tiny", seed=3, metadata={"window": window}))
    limits = LimitSettings(context_characters=2_000, question_characters=200, pairs=8)
    with serving(reader, ServeSettings(limits=limits)) as port:
        yield port


def test_no_generated_request_is_a_fault_of_ours(port):
    address = f"http://127.0.0.1:{port}"
    document = schemathesis.openapi.from_url(f"{address}/openapi.json")
    operations = [found.ok() for found in document.get_all_operations()]
    assert {operation.label for operation in operations} >= {"POST /v1/answer", "GET /ready", "GET /metrics"}
    posts = [operation for operation in operations if operation.method == "post"]
    statuses = collections.Counter()
    for round in range(1_000):
        before = statuses.total()
        for operation in operations if round == 0 else posts:
            # A GET without parameters cannot be wrong.
            modes = schemathesis.GenerationMode if operation in posts else [schemathesis.GenerationMode.POSITIVE]
            for mode in modes:
                search(operation, mode, statuses, round)
        if statuses.total() >= REQUESTS or statuses.total() == before:
            break
    print(f"{statuses.total()} requests: {dict(statuses)}")
    assert statuses.total() >= REQUESTS
    assert statuses[200] > REQUESTS / 20
    assert statuses[422] > REQUESTS / 20
    assert ask(port, "¿Qué?", TEXTS[0])[0] == 200


def search(operation, mode, statuses, round):
    @seed(round)
    @settings(
        max_examples=min(AT_ONCE, REQUESTS // 4), deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(operation.as_strategy(mode))
    def send(case):
        response = case.call_and_validate(excluded_checks=[positive_data_acceptance])
        statuses[response.status_code] += 1
        positive = mode is schemathesis.GenerationMode.POSITIVE
        if positive and operation.label == "POST /v1/answer" and response.status_code != 200:
            # What no schema can say: too many pairs in all, a question that leaves no room for a text, a contradiction.
            assert response.status_code == 422
            reasons = (" pairs", "windows of 64 tokens", "must_answer: leaves nothing")
            assert any(reason in response.json()["error"]["problem"] for reason in reasons)

    send()
