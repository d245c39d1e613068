"""Questions per second, text in and answers out, of one reader's weights under Destila and under its peers.

Each peer runs in the best way that we found for it, with the same threads, questions and windows: transformers as its
examples do it (padded to the window) and without padding, in fp32 and bf16; onnxruntime in fp32 and with its own int8;
CTranslate2 (the encoder in int8, the head in numpy). Each of them first tries whether one window at a time or several
of similar length are faster for it. All peers share one short and fast way from texts to windows (those of the first
export) and from logits to answers, so none of them loses time there; nobody says "no answer". They take turns, round by
round, and the median counts.

    python benchmarks/peers.py --reader STUDENT --export OPENVINO_INT8 --export ONNX_INT8 --data questions.json

CTranslate2 takes part if it is installed and the reader is a BERT or a RoBERTa. The last line of stdout is one JSON
object.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import quantize_dynamic
from tokenizers import Tokenizer
from transformers import AutoModelForQuestionAnswering

from destila.config import WindowSettings
from destila.core.cpus import thread_count
from destila.core.errors import UserError
from destila.core.records import Example
from destila.core.runs import environment
from destila.data.sources import spread
from destila.data.squad import read
from destila.evaluation.evaluate import table
from destila.inference.reader import Reader

BEST = 20
SIZES, TRIAL = (1, 8), 48  # windows at a time, and the questions on which each peer tries which is faster
Rows = list[list[int]]
Logits = list[tuple[np.ndarray, np.ndarray]]  # (T,) start and end of each row
Runner = Callable[[Rows], Logits]


# ---------------------------------------------------------------------------------------------------- texts
class Peer:
    """The shared way from text to answer around a function from rows of ids to logits."""

    def __init__(self, tokenizer: Tokenizer, window: WindowSettings, run: Runner, size: int) -> None:
        self.tokenizer, self.window, self.run, self.size = tokenizer, window, run, size
        tokenizer.enable_truncation(window.length, stride=window.stride, strategy="only_second")

    def answer_batch(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        """The best answer of each (question, context)."""
        windows, owners = [], []
        for number, encoding in enumerate(self.tokenizer.encode_batch(list(pairs))):
            windows += [encoding, *encoding.overflowing]
            owners += [number] * (1 + len(encoding.overflowing))
        best = [(-np.inf, 0, 0)] * len(pairs)
        for owner, window, (start, end) in zip(owners, windows, self._logits([w.ids for w in windows]), strict=True):
            best[owner] = max(best[owner], _best_span(window, start, end, self.window.max_answer_tokens))
        return [context[first:last] for (_, context), (_, first, last) in zip(pairs, best, strict=True)]

    def _logits(self, rows: Rows) -> Logits:
        """Of `size` windows of similar length at a time, the longest first."""
        order = sorted(range(len(rows)), key=lambda place: -len(rows[place]))
        found: list[Any] = [None] * len(rows)
        for first in range(0, len(order), self.size):
            part = order[first : first + self.size]
            for place, logits in zip(part, self.run([rows[place] for place in part]), strict=True):
                found[place] = logits
        return found


def _best_span(window: Any, start: np.ndarray, end: np.ndarray, longest: int) -> tuple[float, int, int]:
    """Score and characters of the best span, among the 20 best starts and ends, as transformers' examples do it."""
    inside = np.array([who == 1 for who in window.sequence_ids])
    start, end = (np.where(inside, scores[: len(inside)], -np.inf) for scores in (start, end))
    starts, ends = (np.argsort(-scores)[:BEST] for scores in (start, end))
    length = ends[None, :] - starts[:, None]
    scores = np.where((length >= 0) & (length < longest), start[starts][:, None] + end[ends][None, :], -np.inf)
    row, column = np.unravel_index(scores.argmax(), scores.shape)
    return float(scores[row, column]), window.offsets[starts[row]][0], window.offsets[ends[column]][1]


def _padded(rows: Rows, pad: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    ids, mask = np.full((len(rows), length), pad), np.zeros((len(rows), length), np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)], mask[place, : len(row)] = row, 1
    return ids, mask


# ---------------------------------------------------------------------------------------------------- peers
def torch_runner(model: Any, *, padded_to: int = 0) -> Runner:
    """transformers and torch, in the precision of the model."""
    pad = model.config.pad_token_id

    def run(rows: Rows) -> Logits:
        with torch.inference_mode():
            ids, mask = (torch.from_numpy(a) for a in _padded(rows, pad, padded_to or len(rows[0])))
            output = model(input_ids=ids, attention_mask=mask)
            starts, ends = output.start_logits.float().numpy(), output.end_logits.float().numpy()
        return list(zip(starts, ends, strict=True))

    return run


def onnx_runner(path: Path, threads: int, *, pad: int) -> Runner:
    """onnxruntime, as it comes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(rows: Rows) -> Logits:
        ids, mask = _padded(rows, pad, len(rows[0]))
        return list(zip(*session.run(None, {"input_ids": ids, "attention_mask": mask}), strict=True))

    return run


def int8_onnx(source: Path, path: Path) -> Path:
    """The same with onnxruntime's own dynamic quantization, per channel."""
    quantize_dynamic(source, path, per_channel=True, op_types_to_quantize=["MatMul", "Gemm"])
    return path


def plain_onnx(model: Any, path: Path) -> Path:
    """The model as torch's exporter writes it, without anything of ours."""
    model.set_attn_implementation("sdpa")
    ids, mask = torch.full((2, 32), 5), torch.ones(2, 32, dtype=torch.int64)
    mask[1, 20:] = 0
    dynamic = dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)
    names = {"input_names": ["input_ids", "attention_mask"], "output_names": ["start_logits", "end_logits"]}
    program = torch.onnx.export(
        _Logits(model), (ids, mask), dynamo=True, dynamic_shapes=(dynamic, dynamic), verbose=False, **names
    )
    program.save(path)
    return path


class _Logits(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        output = self.model(input_ids=input_ids, attention_mask=attention_mask)
        return output.start_logits, output.end_logits


def ctranslate_runner(model: Any, directory: str, threads: int) -> Runner:
    """CTranslate2's int8 encoder, and the head in numpy."""
    import ctranslate2
    from ctranslate2.converters.transformers import XLMRobertaLoader

    model.config.position_embedding_type = "absolute"  # transformers 5 has no other and no such field
    places = model.base_model.embeddings.position_embeddings
    places.padding_idx = places.padding_idx or 0  # how many positions a BERT leaves out
    spec = XLMRobertaLoader().get_model_spec(SimpleNamespace(config=model.config, roberta=model.base_model))
    spec.register_vocabulary([str(number) for number in range(model.config.vocab_size)])
    spec.config.layer_norm_epsilon, spec.config.unk_token = model.config.layer_norm_eps, "3"
    spec.validate()
    spec.optimize(quantization="int8")
    Path(directory).mkdir()
    spec.save(directory)
    encoder = ctranslate2.Encoder(directory, compute_type="int8", intra_threads=threads)
    weight, bias = (tensor.detach().numpy() for tensor in (model.qa_outputs.weight, model.qa_outputs.bias))

    def run(rows: Rows) -> Logits:
        hidden = np.array(encoder.forward_batch(rows).last_hidden_state)
        scores = hidden @ weight.T + bias
        return [(row[:, 0], row[:, 1]) for row in scores]

    return run


# ---------------------------------------------------------------------------------------------------- the race
def build(arguments: argparse.Namespace, examples: Sequence[Example], threads: int, scratch: str) -> dict[str, Any]:
    """Everyone who takes part, by name."""

    def tokenizer() -> Tokenizer:
        return Tokenizer.from_file(f"{arguments.reader}/tokenizer.json")

    def load(dtype: torch.dtype = torch.float32) -> Any:
        return AutoModelForQuestionAnswering.from_pretrained(arguments.reader, dtype=dtype).eval()

    model, narrow = load(), load(torch.bfloat16)
    plain = plain_onnx(load(), Path(scratch, "plain.onnx"))
    small = int8_onnx(plain, Path(scratch, "int8.onnx"))
    pad = model.config.pad_token_id
    runners = {
        "transformers fp32": torch_runner(model),
        "transformers bf16": torch_runner(narrow),
        "onnxruntime fp32": onnx_runner(plain, threads, pad=pad),
        "onnxruntime int8": onnx_runner(small, threads, pad=pad),
    }
    try:
        runners["CTranslate2 int8"] = ctranslate_runner(load(), str(Path(scratch, "ctranslate")), threads)
    except (ImportError, AttributeError) as error:
        print(f"without CTranslate2: {error}")
    ours = {f"destila {Path(name).name}": Reader.load(name, threads=threads) for name in arguments.export}
    for reader in ours.values():
        reader.no_answer_threshold = None
    window = next(iter(ours.values())).window
    padded = torch_runner(model, padded_to=window.length)
    peers: dict[str, Any] = {"transformers fp32, padded": Peer(tokenizer(), window, padded, 1)}
    for name, run in runners.items():
        peers[name] = fastest(name, [Peer(tokenizer(), window, run, size) for size in SIZES], examples[:TRIAL])
    return peers | ours


def fastest(name: str, peers: Sequence[Peer], examples: Sequence[Example]) -> Peer:
    """The one whose number of windows at a time is the fastest for it."""
    best = min(peers, key=lambda peer: min(timed(peer, examples)[0] for _ in range(3)))
    print(f"{name}: {best.size} at a time of {SIZES}")
    return best


def timed(peer: Any, examples: Sequence[Example]) -> tuple[float, list[Any]]:
    """Seconds, and the answers."""
    started = time.perf_counter()
    found = peer.answer_batch([(example.question, example.context) for example in examples])
    return time.perf_counter() - started, found


def race(peers: dict[str, Any], examples: Sequence[Example], rounds: int) -> tuple[dict[str, list[float]], dict]:
    """Seconds of every peer in every round, after a warm-up; and the answers of each."""
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    answers: dict[str, list[str]] = {}
    for peer in peers.values():
        timed(peer, examples[:8])
    for _ in range(rounds):
        for name, peer in peers.items():
            took, found = timed(peer, examples)
            seconds[name].append(took)
            answers[name] = [str(getattr(answer, "text", answer)) for answer in found]
    return seconds, answers


def main() -> None:
    """Run the race and print who won."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reader", required=True, help="a reader that torch runs")
    parser.add_argument("--export", action="append", required=True, help="what destila export made of it")
    parser.add_argument("--data", required=True, help="SQuAD JSON, JSONL or Parquet")
    parser.add_argument("--questions", type=int, default=100, help="evenly spread over the data; 0: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    threads = thread_count(arguments.threads)
    torch.set_num_threads(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    examples = spread(read(Path(arguments.data), repair=True)[0], arguments.questions)
    with tempfile.TemporaryDirectory() as scratch:
        seconds, answers = race(build(arguments, examples, threads, scratch), examples, arguments.rounds)
    first, reference = next(iter(seconds)), answers["transformers fp32"]
    rows = []
    for name, times in seconds.items():
        same = float(np.mean([left == right for left, right in zip(reference, answers[name], strict=True)]))
        median = float(np.median(times))
        rows.append(
            {
                "peer": name,
                "questions_per_s": len(examples) / median,
                "best_questions_per_s": len(examples) / min(times),
                "speedup": float(np.median(seconds[first])) / median,
                "same_answers": same,
            }
        )
    head = ["peer", "questions/s", "best round", "speedup", "same answers"]
    cells = [
        [
            row["peer"],
            f"{row['questions_per_s']:.2f}",
            f"{row['best_questions_per_s']:.2f}",
            f"{row['speedup']:.2f}x",
            f"{row['same_answers']:.0%}",
        ]
        for row in rows
    ]
    print(f"{len(examples)} questions, {arguments.rounds} rounds, {threads} threads\n\n{table(head, cells)}\n")
    print(json.dumps({"rows": rows, "environment": environment() | {"threads": threads}}))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"peers: {error}")
