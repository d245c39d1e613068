"""The service without HTTP: what nobody waits for any more is not worked on."""

import asyncio
import threading

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from destila.config import QueueSettings, ServeSettings
from destila.serving.prometheus import Measures
from destila.serving.service import AT_WORK, AnswerService


class SlowReader:
    """Cuts texts into tokens until it is let go on."""

    model = None

    def logits(self, windows):
        raise AssertionError("nothing came so far")

    def __init__(self) -> None:
        self.read_texts, self.go_on = list[str](), threading.Event()

    def read(self, examples, *, top_k, logits, looks):
        self.read_texts += [example.context for example in examples]
        assert self.go_on.wait(20)
        return []


def test_requests_that_were_given_up_while_they_waited_are_not_read():
    reader = SlowReader()
    service = AnswerService(reader, ServeSettings(queue=QueueSettings(timeout=0.5)), Measures())

    async def ask_all() -> list[object]:
        asked = [service.answer([("¿Quién?", f"texto {number}")], top_k=1) for number in range(AT_WORK + 6)]
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(ask_all())
    assert all(isinstance(answer, TimeoutError) for answer in answers)
    reader.go_on.set()
    service.close()  # waits for every thread
    assert len(reader.read_texts) == AT_WORK
    assert service.open == 0
