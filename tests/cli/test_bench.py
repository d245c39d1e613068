"""What bench measures: queries of the right length, turns, ratios, fresh processes, one JSON line."""

import json
import time
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest

from destila.cli import bench
from destila.config import BenchSettings
from destila.config.loader import resolve
from destila.core.errors import UserError
from destila.core.records import Example
from destila.evaluation import benchmark
from destila.inference.reader import Reader
from destila.reporting.svg import Bar, bar_chart
from tiny import tiny_reader

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("bench")
    window = {"window": {"length": 96, "stride": 8, "max_answer_tokens": 10}}
    return [tiny_reader(root / "large", hidden=64, metadata=window), tiny_reader(root / "small", metadata=window)]


@pytest.mark.parametrize("tokens", [70, 96])
def test_a_query_fills_one_window(models: list[Path], tokens: int) -> None:
    reader = Reader.load(models[0])
    question, context = benchmark.query(reader, tokens=tokens)
    windows = reader.builder.build([Example("x", question, context)])
    assert len(windows) == 1
    assert tokens - 2 <= len(windows[0].input_ids) <= tokens


def test_lengths_that_cannot_be_asked_are_refused(models: list[Path]) -> None:
    reader = Reader.load(models[0])
    with pytest.raises(UserError, match="97 is more than the 96 tokens"):
        benchmark.query(reader, tokens=97)


def test_readers_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    def slow_at_first(name: str) -> None:
        order.append(name)
        time.sleep(0.2 if len(order) <= 2 else 0.001)

    times = benchmark._take_turns(
        [lambda: slow_at_first("a"), lambda: slow_at_first("b")], rounds=3, tick=lambda: order.append("|")
    )
    assert "".join(order) == "ab|ab|ab|ab|"
    assert [len(values) for values in times] == [3, 3]
    assert max(map(max, times)) < 100
    order.clear()
    benchmark._take_turns([lambda: order.append("a"), lambda: order.append("b")], rounds=2, tick=list, settle=True)
    assert "".join(order) == "abaabbaabb"


class Sleeper:
    """A network that needs a known time."""

    def logits(self, input_ids, attention_mask):  # type: ignore[no-untyped-def]
        time.sleep(0.3)
        return np.zeros(input_ids.shape, np.float32), np.zeros(input_ids.shape, np.float32)


def test_the_share_outside_of_the_network_is_the_rest(models: list[Path]) -> None:
    loaded = Reader.load(models[0])
    reader = Reader(Sleeper(), loaded.tokenizer, window=loaded.window, pad_id=loaded.builder.pad_id)
    assert 0 < benchmark.share_outside_network(reader, tokens=96, count=4) < 0.5


def test_bench_end_to_end(models: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {"model": list(map(str, models)), "lengths": [96, 70], "rounds": 3, "batch": 4, "threads": 1}
    ballast = np.ones(200_000_000, np.uint8)  # what this process holds is not what a fresh one needs
    bench.run(resolve(BenchSettings, {**values, "plot": str(tmp_path / "speed.svg"), "json": True}))
    found = json.loads(capsys.readouterr().out)
    rows = found["rows"]
    assert [(row["model"], row["tokens"]) for row in rows] == [(str(m), t) for t in (96, 70) for m in models]
    for first, second in (rows[:2], rows[2:]):
        assert first["speedup"] == first["throughput_ratio"] == 1
        assert second["speedup"] == pytest.approx(first["p50_ms"] / second["p50_ms"])
        assert second["throughput_ratio"] == pytest.approx(second["queries_per_s"] / first["queries_per_s"])
    for row in rows:
        assert row["min_ms"] <= row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert row["backend"] == "torch"
        assert row["precision"] == "fp32"
        assert row["bytes"] == sum(file.stat().st_size for file in Path(row["model"]).iterdir())
        assert 0 < row["outside_network"] < 1
        assert row["cold_start_s"] > 0.1
        assert row["installed_mb"] > 100, "torch alone is larger"
        assert row["peak_rss_mb"] > 100
        assert row["peak_rss_mb"] < (benchmark._peak_bytes() - len(ballast) / 2) / 1024**2
    assert rows[0]["parameters"] > rows[1]["parameters"] > 1000
    assert found["environment"]["threads"] == 1
    bench.run(resolve(BenchSettings, {**values, "rounds": 1, "cold": False}))
    assert sum("large" in line for line in capsys.readouterr().out.splitlines()) == 2
    xml.etree.ElementTree.parse(tmp_path / "speed.svg")


def test_models_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        bench.run(resolve(BenchSettings, {"model": [str(tmp_path / "nowhere" / "x")]}))


def test_bars_are_as_long_as_their_logarithms() -> None:
    bars = [Bar("a & b", 1.0, 2.0, "<1>"), Bar("c", 10.0, 10.0, "10"), Bar("d", 100.0, 100.0, "100")]
    root = xml.etree.ElementTree.fromstring(bar_chart(bars, title="t", axis="ms"))
    rectangles = [node for node in root if node.tag.endswith("rect") and node.get("height") == "22"]
    widths = [float(node.get("width", "")) for node in rectangles]
    assert widths[2] - widths[1] == pytest.approx(widths[1] - widths[0], abs=1.5)
    texts = [node.text for node in root if node.tag.endswith("text")]
    assert {"a & b", "<1>", "c", "t", "ms"} <= set(texts)
