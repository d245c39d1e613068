"""Pre-training from end to end on text made in code: losses, determinism, resuming, and what finetune gets."""

import json
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import forked
from destila.config import PretrainSettings, ShapeSettings, TextSettings, TrainingSettings
from destila.config.loader import read_toml, resolve, to_toml
from destila.core.errors import UserError
from destila.data.synthetic.masking import IGNORED
from destila.data.synthetic.rows import Rows
from destila.data.synthetic.token_table import SPECIAL_COUNT
from destila.models.files import load_reader
from destila.reporting.provenance import trace
from destila.training.pretrain import pretrain
from destila.training.pretraining_loss import PretrainingLoss, flops_per_token, held_out_scores, to_tensors
from destila.training.task import Objective
from pretraining import settings_of, write_sources
from tiny import tiny_reader


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sources(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def trained(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "encoder"
    pretrain(settings_of(text, path))
    return path


def same(left: Path, right: Path) -> bool:
    ours, theirs = (load_file(path / "model.safetensors") for path in (left, right))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


# ---------------------------------------------------------------------------------------------------- losses
def small_rows(generator: np.random.Generator, *, vocabulary: int, count: int = 5, length: int = 12) -> Rows:
    places = np.sort(np.stack([generator.permutation(length)[:3] for _ in range(count)]))
    labels = generator.integers(SPECIAL_COUNT, vocabulary, (count, 3))
    labels[1, 2] = labels[2] = IGNORED
    starts, ends = np.full((count, 4), -1), np.full((count, 4), -1)
    starts[0, :2], ends[0, :2] = (5, 8), (6, 8)
    starts[1, 0] = ends[1, 0] = 0
    starts[3, 0], ends[3, 0] = 4, 7
    ids = generator.integers(SPECIAL_COUNT, vocabulary, (count, length))
    return Rows(*(array.astype(np.int32) for array in (ids, places, labels, starts, ends)))


def test_the_losses_are_those_of_plain_loops(trained: Path) -> None:
    reader = load_reader(str(trained))
    model, config = reader.model, reader.model.config
    rows = small_rows(np.random.default_rng(1), vocabulary=config.vocab_size)
    loss_fn = PretrainingLoss(config, masking=0.5, cloze=2.0, seed=1)
    torch.nn.init.normal_(loss_fn.bias)
    with torch.no_grad():
        loss = loss_fn(model, to_tensors(rows))
        masked, span, right, asked = 0.0, 0.0, 0, 0
        for number in range(len(rows)):
            ids = torch.from_numpy(rows.ids[number : number + 1]).long()
            hidden = model.roberta(ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
            states = loss_fn.norm(torch.nn.functional.gelu(loss_fn.dense(hidden)))
            guesses = (states @ model.roberta.embeddings.word_embeddings.weight.T + loss_fn.bias).log_softmax(-1)
            used = [(int(p), int(w)) for p, w in zip(rows.places[number], rows.labels[number], strict=True) if w >= 0]
            masked += sum(-float(guesses[p, w]) for p, w in used) / max(1, len(used)) / len(rows)
            logits = model.qa_outputs(hidden).T
            golds = [[int(p) for p in side[number] if p >= 0] for side in (rows.starts, rows.ends)]
            if golds[0]:
                asked += 1
                chances = [float(z.softmax(-1)[gold].sum()) for z, gold in zip(logits, golds, strict=True)]
                span -= float(np.log(chances).sum()) / 2 / len(rows)
                right += all(int(z.argmax()) in gold for z, gold in zip(logits, golds, strict=True))
    assert float(loss.parts["masked"]) == pytest.approx(masked, rel=1e-5)
    assert float(loss.parts["span"]) == pytest.approx(span, rel=1e-5)
    assert float(loss.parts["exact"]) == pytest.approx(right / asked)
    assert float(loss.total) == pytest.approx(0.5 * masked + 2.0 * span, rel=1e-5)
    scores = held_out_scores(loss_fn, model, rows, batch_size=2)
    assert scores["score"] == pytest.approx(-float(loss.total), rel=1e-5)


def test_gradients_flow_into_the_shared_embeddings_and_both_heads(trained: Path) -> None:
    reader = load_reader(str(trained))
    rows = small_rows(np.random.default_rng(2), vocabulary=reader.model.config.vocab_size)
    loss_fn = PretrainingLoss(reader.model.config, masking=1.0, cloze=1.0, seed=1)
    loss_fn(reader.model, to_tensors(rows)).total.backward()
    for parameter in [*reader.model.parameters(), *loss_fn.parameters()]:
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    unseen = np.setdiff1d(np.arange(SPECIAL_COUNT, reader.model.config.vocab_size), rows.ids)[0]
    assert reader.model.roberta.embeddings.word_embeddings.weight.grad[unseen].any()  # as an output


class OneLayer(torch.nn.Module):
    """The parts of a student that the loss touches, quick to compile."""

    base_model_prefix = "encoder"

    def __init__(self, *, vocabulary: int, width: int) -> None:
        super().__init__()
        self.encoder, self.qa_outputs = torch.nn.Module(), torch.nn.Linear(width, 2)
        self.encoder.embeddings = torch.nn.Module()
        self.encoder.embeddings.word_embeddings = torch.nn.Embedding(vocabulary, width)
        self.encoder.forward = lambda input_ids: SimpleNamespace(
            last_hidden_state=self.encoder.embeddings.word_embeddings(input_ids)
        )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a compiler")
def test_compiled_gradients_are_those_of_the_plain_losses() -> None:
    torch.manual_seed(4)
    config = SimpleNamespace(hidden_size=16, initializer_range=0.02, layer_norm_eps=1e-5, vocab_size=50)
    objective = Objective(OneLayer(vocabulary=50, width=16), PretrainingLoss(config, masking=1.0, cloze=1.0, seed=1))
    batch = to_tensors(small_rows(np.random.default_rng(5), vocabulary=50))

    def gradients(function: Any) -> dict[str, torch.Tensor]:
        objective.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            total, _ = function(batch)
        total.backward()
        return {name: parameter.grad.clone() for name, parameter in objective.named_parameters()}

    plain, compiled = gradients(objective), gradients(torch.compile(objective))
    for name, gradient in plain.items():
        assert float((compiled[name] - gradient).norm()) < 0.05 * float(gradient.norm()) + 0.01, name


def test_flops_are_counted_as_by_hand(trained: Path) -> None:
    config = load_reader(str(trained)).model.config
    blocks = sum(
        p.numel() for name, p in load_reader(str(trained)).model.named_parameters() if ".layer." in name and p.ndim > 1
    )
    counted = flops_per_token(config, length=96, places=0)
    assert counted == 6 * blocks + 12 * 2 * 32 * 96


# ---------------------------------------------------------------------------------------------------- the command
def test_an_encoder_goes_on_from_another_with_its_tokenizer_and_shape(
    trained: Path, text: Path, tmp_path: Path
) -> None:
    settings = settings_of(text, tmp_path / "on", steps=1, learning_rate=1e-9, evaluate_every=0)
    settings = replace(settings, model=replace(settings.model, name=str(trained), length=64))
    pretrain(settings)
    before, after = load_reader(str(trained)), load_reader(str(tmp_path / "on"))
    assert after.tokenizer.to_str() == before.tokenizer.to_str()
    assert after.model.config.hidden_size == before.model.config.hidden_size
    for name, weight in before.model.state_dict().items():
        assert torch.allclose(weight, after.model.state_dict()[name], atol=1e-6), name
    assert after.metadata["source"]["model"] == str(trained)
    (parent,) = trace(str(tmp_path / "on")).parents
    assert (parent.name, parent.role, parent.verb) == (str(trained), "starting point", "pretrain")


def test_an_encoder_grows_and_goes_on_and_slices_end_where_one_run_does(
    trained: Path, text: Path, tmp_path: Path
) -> None:
    shape = ShapeSettings(layers=3, heads=2, hidden=64, feed_forward=128)
    settings = settings_of(text, tmp_path / "whole", steps=3)
    settings = replace(settings, model=replace(settings.model, name=str(trained), shape=shape, grow=True))
    pretrain(settings)
    grown = load_reader(str(tmp_path / "whole")).model
    assert (grown.config.num_hidden_layers, grown.config.hidden_size) == (3, 64)
    words = grown.roberta.embeddings.word_embeddings.weight.detach()
    before = load_reader(str(trained)).model.roberta.embeddings.word_embeddings.weight.detach()
    assert torch.allclose(words, before.repeat(1, 2), atol=0.01)  # three steps of at most 1e-3, and it moved
    assert not torch.equal(words, before.repeat(1, 2))
    sliced = replace(settings, output=str(tmp_path / "sliced"), stop_after_seconds=1e-6)  # one step a call
    for resume in (False, True, True):
        pretrain(replace(sliced, resume=resume))
    assert same(tmp_path / "whole", tmp_path / "sliced")


def test_an_encoder_that_cannot_be_gone_on_from_is_refused(trained: Path, text: Path, tmp_path: Path) -> None:
    settings = settings_of(text, tmp_path / "on")
    longer = replace(settings.model, name=str(trained), length=4096)
    with pytest.raises(UserError, match=r"model.length.*4096.* 96 tokens"):
        pretrain(replace(settings, model=longer))
    with pytest.raises(UserError, match=r"text.tokenizer.*beside model.name"):
        pretrain(
            replace(
                settings,
                model=replace(settings.model, name=str(trained)),
                text=replace(settings.text, tokenizer=str(trained)),
            )
        )
    tiny_reader(tmp_path / "bert", "bert")
    with pytest.raises(UserError, match=r"model.name.*tokenizer of .*bert"):
        pretrain(replace(settings, model=replace(settings.model, name=str(tmp_path / "bert"), length=32)))


def test_a_finished_encoder_is_a_reader_that_finetune_loads(trained: Path, text: Path) -> None:
    reader = load_reader(str(trained))
    assert type(reader.model).__name__ == "RobertaForQuestionAnswering"
    assert reader.metadata["source"]["command"] == "pretrain"
    assert reader.metadata["window"]["length"] == 96
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert {"masked", "span", "exact", "tokens_per_second", "waiting"} <= set(lines[2])
    assert [line["step"] for line in lines if "dev_score" in line] == [3, 6]
    untrained = replace(settings_of(text, trained), output="unused")
    assert resolve(PretrainSettings, read_toml(str(trained / "settings.toml"))).text.weights == untrained.text.weights


def test_the_same_file_and_seed_give_the_same_weights(trained: Path, text: Path, tmp_path: Path) -> None:
    pretrain(settings_of(text, tmp_path / "again"))
    assert same(trained, tmp_path / "again")
    pretrain(settings_of(text, tmp_path / "other", seed=2))
    assert not same(trained, tmp_path / "other")


def test_slices_end_where_one_run_does(trained: Path, text: Path, tmp_path: Path) -> None:
    settings = replace(settings_of(text, tmp_path / "sliced"), stop_after_seconds=1e-6)  # one step a call
    results = [pretrain(replace(settings, resume=bool(number))) for number in range(6)]
    assert [(result.finished, result.signal) for result in results] == [(False, None)] * 5 + [(True, None)]
    assert same(trained, tmp_path / "sliced")


def test_a_budget_in_seconds_ends_and_goes_on_where_it_was(text: Path, tmp_path: Path) -> None:
    settings = settings_of(text, tmp_path / "timed", steps=0, seconds=1.6, checkpoint_every=1000)
    settings = replace(settings, dev_rows=0)
    assert not pretrain(replace(settings, stop_after_seconds=0.8)).finished
    state = next((tmp_path / "timed" / "checkpoints").glob("step-*")) / "state.pt"
    spent = torch.load(state, weights_only=True)["position"]["seconds"]
    assert 0 < spent < 1.6
    pretrain(replace(settings, resume=True))
    lines = [json.loads(line) for line in (tmp_path / "timed" / "metrics.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] for line in lines]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    peak = int(np.argmax(rates))
    assert all(low >= high for low, high in zip(rates[peak:], rates[peak + 1 :], strict=False))
    assert rates[-1] < 0.5 * max(rates)


def test_a_budget_in_tokens_is_one_in_steps(text: Path, tmp_path: Path) -> None:
    settings = replace(settings_of(text, tmp_path / "tokens", steps=0), tokens=3 * 8 * 96 - 5)
    assert pretrain(settings).steps == 3


@pytest.mark.slow
def test_sigterm_saves_everything_and_resuming_gives_the_same_weights(
    trained: Path, text: Path, tmp_path: Path
) -> None:
    path = tmp_path / "killed"
    settings = tmp_path / "settings.toml"
    settings.write_text(to_toml(settings_of(text, path, checkpoint_every=1000)), encoding="utf-8")
    command = ["pretrain", "--config", settings, "--text.workers", "1"]
    process = forked.start(*command)
    while not (path / "metrics.jsonl").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)  # workers get it, too
    left = process.wait(60)
    assert left.returncode in (0, 128 + signal.SIGTERM), left.stderr
    if left.returncode:
        forked.finish(*command, "--resume")
    assert same(trained, path)


def test_settings_with_weights_survive_the_way_through_toml(tmp_path: Path) -> None:
    settings = PretrainSettings(
        text=TextSettings(files=["a"], weights={"law": 0.25, 'odd "name"': 2.0}), training=TrainingSettings(seconds=3.0)
    )
    path = tmp_path / "settings.toml"
    path.write_text(to_toml(settings), encoding="utf-8")
    assert resolve(PretrainSettings, read_toml(str(path))) == settings
