"""Ray: the same answers in the same order as without it, a reader for each worker. Skipped where there is no Ray."""

import json
import os
import signal
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from destila.cli import answer
from destila.cli.main import dispatch
from destila.config import WindowSettings
from destila.core.errors import UserError
from destila.inference.jsonl import Position
from destila.inference.reader import Reader
from destila.integrations import ray as module
from tiny import TEXTS, tiny_tokenizer

pytest.importorskip("ray.data", reason="Ray is not installed (pip install 'destila[ray]')")


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A reader for the driver and for workers, with token ids in place of scores: nobody has to load torch."""
    (tmp_path / "model").mkdir()
    tiny_tokenizer().save(str(tmp_path / "model" / "tokenizer.json"))

    class Ids:
        def logits(self, input_ids, attention_mask):
            return input_ids % 17.0, input_ids % 19.0

    class Workers(module.Workers):  # local, so that it travels to the workers by value
        def load(self):
            if not (path := Path(self.model) / "tokenizer.json").is_file():
                raise UserError(self.model, "holds no model", "Check the path.")
            window = WindowSettings(64, 16, 10)
            return Reader(Ids(), Tokenizer.from_file(str(path)), window=window, pad_id=1)

    monkeypatch.setattr(module, "Workers", Workers)
    monkeypatch.setattr(answer, "_load", lambda settings: Workers(1, settings.model).load())
    return str(tmp_path / "model")


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory):
    """Two cores, whatever the machine has."""
    import ray

    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    for last in (False, True):  # Ray gives its own processes 30 seconds; on a busy machine they may take longer
        try:
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80_000_000)
            break
        except Exception:
            ray.shutdown()
            if last:
                raise
    yield
    ray.shutdown()
    patch.undo()


def test_a_file_comes_back_whole_in_order_and_the_same(model, tmp_path):
    source, here, there = (tmp_path / name for name in ("questions.jsonl", "here.jsonl", "there.jsonl"))
    records = [{"id": n, "question": f"¿Qué {n}?", "context": " ".join(TEXTS[: 1 + n % 5])} for n in range(900)]
    lines = [json.dumps(record) for record in records]
    lines[333] = "{broken"
    source.write_text("\n".join(lines))
    command = ["answer", "--input", str(source), "--model", model, "--output"]
    dispatch([*command, str(there), "--ray-workers", "2"])
    dispatch([*command, str(here)])
    found, expected = ([json.loads(line) for line in path.read_text().splitlines()] for path in (there, here))
    assert [result.get("id") for result in found] == [None if n == 333 else n for n in range(900)]
    assert "line 334 is not JSON" in found[333]["error"]
    for one, other in zip(found, expected, strict=True):
        spans = [[(a["text"], a["start"], a["end"]) for a in result.get("answers", [])] for result in (one, other)]
        assert spans[0] == spans[1]


def test_the_answers_of_a_dataset_are_the_readers_and_the_workers_are_two(model, monkeypatch):
    import ray

    class Telling(module._DatasetWorker):
        def __call__(self, batch):
            return super().__call__(batch) | {"process": [os.getpid()] * len(batch["question"])}

    monkeypatch.setattr(module, "_DatasetWorker", Telling)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 8)
    rows = [{"number": n, "question": f"¿Qué {n}?", "context": TEXTS[n % 6]} for n in range(160)]
    dataset = ray.data.from_items(rows, override_num_blocks=20)
    found = module.answer_dataset(dataset, module.Workers(2, model), top_k=2).take_all()
    assert [row["number"] for row in found] == list(range(160))
    assert len({row["process"] for row in found}) == 2
    assert os.getpid() not in {row["process"] for row in found}
    expected = module.Workers(1, model).load().rank([(row["question"], row["context"]) for row in rows], top_k=2)
    for row, answers in zip(found, expected, strict=True):
        assert [answer["text"] for answer in json.loads(row["answers"])] == [answer.text for answer in answers]


def test_the_lines_of_a_worker_that_dies_are_answered_by_the_next(model, tmp_path):
    once = tmp_path / "died"

    class Dying(module.Workers):
        def load(self):
            reader = super().load()
            logits = reader.model.logits

            def die_once(ids, mask):
                if not once.exists():
                    once.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return logits(ids, mask)

            reader.model.logits = die_once
            return reader

    source = tmp_path / "questions.jsonl"
    lines = [json.dumps({"id": n, "question": "¿Qué?", "context": TEXTS[0]}) for n in range(600)]
    source.write_text("\n".join(lines))
    found = b"".join(block.content for block in module.answer_pieces(source, Position(), Dying(1, model)))
    assert once.exists()
    assert [json.loads(line)["id"] for line in found.splitlines()] == list(range(600))


def test_what_workers_cannot_do_is_told_plainly(model, tmp_path):
    source = tmp_path / "questions.jsonl"
    source.write_text(json.dumps({"question": "¿Qué?", "context": TEXTS[0]}))
    command = ["answer", "--input", str(source), "--model", model]
    with pytest.raises(UserError, match="3 workers of 1 threads need 3 cores, and Ray has 2"):
        dispatch([*command, "--output", str(tmp_path / "out"), "--ray-workers", "3"])
    with pytest.raises(UserError, match="cannot share a stream"):
        dispatch([*command, "--ray-workers", "2"])


def test_a_mistake_in_a_worker_is_a_mistake_here(model, tmp_path):
    source = tmp_path / "questions.jsonl"
    source.write_text(json.dumps({"question": "¿Qué?", "context": TEXTS[0]}))
    with pytest.raises(UserError, match="holds no model"):
        list(module.answer_pieces(source, Position(), module.Workers(1, str(tmp_path))))
