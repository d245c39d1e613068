"""Any encoder that people have: from a directory or a name to a reader that answers, is saved, and is exported."""

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import processors
from transformers import AutoTokenizer

from destila import Reader
from destila.cli.main import dispatch
from destila.core.errors import UserError
from destila.data.tokenizers import pair_template, special_tokens
from destila.data.windows import WindowBuilder, collate
from destila.inference.backends import load_backend
from destila.inference.backends.torch import TorchModel
from destila.models.files import load_reader, save_reader, span_logits
from destila.models.forward import _inputs
from encoders import KINDS, encoder, encoder_tokenizer, wordpiece_without_padding
from fake_hub import point_client_at, serving
from readers import change_config
from tiny import TEXTS, example, tiny_examples

ROOT = Path(__file__).parents[2]
load_encoder = functools.partial(load_reader, random_head=True)
SHORT = ["--training.steps", "2", "--window.length", "120", "--data.max_train_examples", "8"]


@pytest.fixture(scope="module", autouse=True)
def in_the_project() -> None:
    os.chdir(ROOT)


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The reader that `destila finetune` makes of an encoder of a kind."""
    root = tmp_path_factory.mktemp("encoders")

    @functools.cache
    def made(kind: str) -> Path:
        start, output = encoder(root / kind, kind), root / f"{kind}-reader"
        flags = ["--model.name", str(start), "--output", str(output)]
        dispatch(["finetune", "--config", "configs/tiny/finetune.toml", *flags, *SHORT])
        return output

    return made


def batch(directory: Path) -> tuple[torch.Tensor, torch.Tensor, list[list[int]]]:
    """Padded rows of a reader's own windows, and the ids of each without padding."""
    loaded = load_encoder(str(directory))
    builder = WindowBuilder(loaded.tokenizer, length=64, stride=8, pad_id=loaded.model.config.pad_token_id)
    windows = builder.build(tiny_examples())
    rows = collate(windows, pad_id=builder.pad_id)
    ids, mask = torch.from_numpy(rows.input_ids), torch.from_numpy(rows.attention_mask)
    return ids, mask, [window.input_ids.tolist() for window in windows]


# ---------------------------------------------------------------------------------------------------- from end to end
@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_becomes_a_reader_that_answers(kind: str, finetuned: Callable[[str], Path]) -> None:
    reader = Reader.load(finetuned(kind))
    for one in tiny_examples():
        answer = reader.answer(one.question, one.context)
        assert answer.text is None or answer.text == one.context[answer.start : answer.end]
    loaded = load_encoder(str(finetuned(kind)))
    assert loaded.tokenizer.get_vocab() == encoder_tokenizer(kind).get_vocab()
    padding = "[PAD]" if kind in ("bert", "modernbert") else "<pad>"
    assert loaded.tokenizer.id_to_token(loaded.model.config.pad_token_id) == padding


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind: str, finetuned: Callable[[str], Path]) -> None:
    model = TorchModel(load_encoder(str(finetuned(kind))).model)
    ids, mask, rows = batch(finetuned(kind))
    padded = np.stack(model.logits(ids.numpy(), mask.numpy()))
    for row, own in enumerate(rows):
        alone = np.stack(model.logits(np.array([own]), np.ones((1, len(own)), np.int64)))
        assert np.allclose(padded[:, row, : len(own)], alone[:, 0], atol=1e-5)


@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.parametrize("kind", ["e5", "deberta"])  # the others are exported by tests/export
def test_an_export_gives_the_same_logits(
    kind: str, format: str, finetuned: Callable[[str], Path], tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript" if format == "onnx" else "openvino")
    dispatch(["export", "--model", str(finetuned(kind)), "--output", str(tmp_path / "out"), "--format", format])
    ids, mask, _ = batch(finetuned(kind))
    expected = TorchModel(load_encoder(str(finetuned(kind))).model).logits(ids.numpy(), mask.numpy())
    found = load_backend(str(tmp_path / "out")).model.logits(ids.numpy(), mask.numpy())
    real = mask.numpy() > 0
    assert all(np.allclose(a[real], b[real], atol=1e-4) for a, b in zip(found, expected, strict=True))


def test_what_is_saved_is_read_alike_by_transformers(finetuned: Callable[[str], Path]) -> None:
    directory = finetuned("e5")
    theirs = AutoTokenizer.from_pretrained(directory)
    names = {"cls": "<s>", "sep": "</s>", "pad": "<pad>", "mask": "<mask>", "unk": "<unk>"}
    assert {role: getattr(theirs, f"{role}_token") for role in names} == names
    assert theirs.mask_token_id == encoder_tokenizer("e5").token_to_id("<mask>")
    assert "token_type_ids" not in theirs("¿Quién?", TEXTS[0])
    assert theirs("¿Quién?", TEXTS[0])["input_ids"] == encoder_tokenizer("e5").encode("¿Quién?", TEXTS[0]).ids


def test_a_name_on_the_hub_is_as_good_as_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = encoder(tmp_path / "e5", "e5")
    with serving() as hub:
        point_client_at(hub.address, tmp_path / "home", monkeypatch)
        hub.add("acme/e5", directory)
        fetched, local = load_encoder("acme/e5"), load_encoder(str(directory))
        assert {"tokenizer_config.json", "special_tokens_map.json"} <= hub.fetched()
    assert fetched.model.config.pad_token_id == local.model.config.pad_token_id == 1
    ids, mask, _ = batch(directory)
    hidden = [model.model.base_model(input_ids=ids, attention_mask=mask)[0] for model in (fetched, local)]
    assert torch.equal(*hidden)


# ---------------------------------------------------------------------------------------------------- token types
@pytest.mark.parametrize(
    ("kind", "pair"),
    [
        ("bert", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"),
        ("bert", "[CLS]:0 $A:0 [SEP]:0 $B:0 [SEP]:0"),
        ("bert", "[CLS]:0 $A:0 [SEP]:0 [SEP]:1 $B:1 [SEP]:1"),
        ("bert", "[CLS]:0 $A:0 [SEP]:0 [SEP]:0 $B:1 [SEP]:1"),
        ("e5", "<s>:0 $A:0 </s>:0 </s>:0 $B:0 </s>:0"),
        ("e5", "<s>:0 $A:0 </s>:0 </s>:0 $B:1 </s>:1"),
    ],
)
def test_token_types_are_those_of_the_template(kind: str, pair: str, tmp_path: Path) -> None:
    directory, tokenizer = encoder(tmp_path / kind, kind), encoder_tokenizer(kind)
    names = sorted({part.split(":")[0] for part in pair.split() if not part.startswith("$")})
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{pair.split(':')[0]} $A", pair=pair, special_tokens=[(n, tokenizer.token_to_id(n)) for n in names]
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    config = load_encoder(str(directory)).model.config
    encodings = [tokenizer.encode(one.question, one.context) for one in tiny_examples()]
    longest = max(len(encoding.ids) for encoding in encodings)
    for encoding in encodings:
        missing = longest - len(encoding.ids)
        ids = torch.tensor([encoding.ids + missing * [config.sep_token_id]])  # whatever stands at padding
        mask = torch.tensor([[1] * len(encoding.ids) + [0] * missing])
        found = _inputs(config, ids, mask).get("token_type_ids", torch.zeros_like(ids))
        assert found[0].tolist() == encoding.type_ids + [0] * missing


def test_types_that_no_separator_tells_apart_are_refused(tmp_path: Path) -> None:
    directory, tokenizer = encoder(tmp_path / "bert", "bert"), encoder_tokenizer("bert")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", pair="[CLS]:0 $A:0 $B:1", special_tokens=[("[CLS]", 2)]
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    with pytest.raises(UserError, match="token types that no separator tells apart"):
        load_encoder(str(directory))


# ---------------------------------------------------------------------------------------------------- special tokens
@pytest.mark.parametrize("padding", [None, 0, 4, -1, 9999])
@pytest.mark.parametrize("kind", ["bert", "e5", "modernbert", "deberta"])
def test_padding_is_the_tokenizers_whatever_the_configuration_says(
    kind: str, padding: int | None, tmp_path: Path
) -> None:
    directory, tokenizer = encoder(tmp_path / kind, kind), encoder_tokenizer(kind)
    change_config(directory, pad_token_id=padding, sep_token_id=None, cls_token_id=77)
    config = load_encoder(str(directory)).model.config
    assert tokenizer.id_to_token(config.pad_token_id) in ("<pad>", "[PAD]")
    assert tokenizer.id_to_token(config.sep_token_id) in ("</s>", "[SEP]")
    assert tokenizer.id_to_token(config.cls_token_id) in ("<s>", "[CLS]")


def test_a_roberta_counts_positions_from_the_padding_of_its_configuration(tmp_path: Path) -> None:
    directory = encoder(tmp_path / "roberta", "roberta")
    expected = load_encoder(str(directory)).model.config.pad_token_id
    change_config(directory, pad_token_id=None)
    assert load_encoder(str(directory)).model.config.pad_token_id == expected == 1
    change_config(directory, pad_token_id=3)
    assert load_encoder(str(directory)).model.config.pad_token_id == 3
    for wrong in (-1, 9999):
        change_config(directory, pad_token_id=wrong)
        with pytest.raises(UserError, match=f"pad_token_id is {wrong}, which is no token"):
            load_encoder(str(directory))


def test_a_tokenizer_without_padding(tmp_path: Path) -> None:
    for kind in ("bert", "roberta"):
        directory = encoder(tmp_path / kind, kind)
        wordpiece_without_padding().save(str(directory / "tokenizer.json"))
        change_config(directory, pad_token_id=None)
    assert load_encoder(str(tmp_path / "bert")).model.config.pad_token_id == 0
    with pytest.raises(UserError, match="pad_token_id is null and its tokenizer has no padding token"):
        load_encoder(str(tmp_path / "roberta"))


def test_names_come_from_the_files_beside_a_tokenizer(tmp_path: Path) -> None:
    tokenizer = wordpiece_without_padding()
    first, second = (tokenizer.id_to_token(number) for number in (7, 8))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": first, "mask_token": second}))
    assert special_tokens(tokenizer, tmp_path).pad == 7
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": second}, "mask_token": None}))
    found = special_tokens(tokenizer, tmp_path)
    assert (found.pad, found.mask, found.cls, found.sep, found.unk) == (8, 8, 1, 2, 0)
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(UserError, match=r"tokenizer_config\.json: is not a JSON object"):
        special_tokens(tokenizer, tmp_path)


def test_a_tokenizer_without_a_template_is_named(tmp_path: Path) -> None:
    tokenizer = encoder_tokenizer("bert")
    tokenizer.post_processor = processors.ByteLevel()
    with pytest.raises(UserError, match="puts no special token in front of a question"):
        pair_template(tokenizer)
    directory = encoder(tmp_path / "bert", "bert")
    tokenizer.save(str(directory / "tokenizer.json"))
    with pytest.raises(UserError, match=f"the tokenizer of {directory}: puts no special token"):
        load_encoder(str(directory))


# ---------------------------------------------------------------------------------------------------- as teachers
def distill(teacher: Path, output: Path, *flags: str) -> list[dict[str, float]]:
    places = ["--teacher.name", str(teacher), "--teacher.cache", str(output.parent / "cache"), "--output", str(output)]
    dispatch(["distill", "--config", "configs/tiny/distill.toml", *places, *SHORT, *flags])
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def test_a_deberta_teaches_by_its_answers_and_hidden_states(finetuned: Callable[[str], Path], tmp_path: Path) -> None:
    teacher = finetuned("deberta")
    own = ["--student.tokenizer", str(teacher), "--student.architecture", "bert", "--loss.attention", "0"]
    lines = distill(teacher, tmp_path / "hidden", *own)
    assert lines[0]["soft"] > 0
    assert lines[0]["hidden"] > 0
    assert Reader.load(tmp_path / "hidden").answer("¿Quién?", TEXTS[0]).score >= 0
    for term in ("--loss.attention", "--loss.relations"):
        with pytest.raises(UserError, match=r"loss: looks at attention, and that of a deberta-v2 cannot be recorded"):
            distill(teacher, tmp_path / "no", *own, term, "1")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("initial", ["layers", "teacher"])
def test_a_student_of_half_the_layers_of_a_bert_with_another_familys_tokenizer(initial: str, tmp_path: Path) -> None:
    start = load_encoder(str(encoder(tmp_path / "encoder", "e5", layers=4)))
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    save_reader(start.model, start.tokenizer, {}, teacher)
    shape = {"layers": 2, "heads": 2, "hidden": 16, "feed_forward": 32}
    flags = [flag for name, value in shape.items() for flag in (f"--student.shape.{name}", str(value))]
    distill(teacher, tmp_path / "student", *flags, "--student.initial", initial, "--training.learning_rate", "1e-12")
    student, start = load_encoder(str(tmp_path / "student")), load_encoder(str(teacher))
    assert student.tokenizer.get_vocab() == start.tokenizer.get_vocab()
    assert student.model.config.num_hidden_layers == 2
    ours, theirs = student.model.base_model, start.model.base_model
    same = torch.allclose(ours.embeddings.word_embeddings.weight, theirs.embeddings.word_embeddings.weight, atol=1e-5)
    assert same or initial == "teacher"  # which may have turned the channels
    if initial == "layers":
        pairs = zip(ours.encoder.layer, (theirs.encoder.layer[1], theirs.encoder.layer[3]), strict=True)
        for left, right in pairs:
            assert torch.allclose(left.intermediate.dense.weight, right.intermediate.dense.weight, atol=1e-5)


def test_a_student_of_the_same_shape_gives_the_logits_of_its_teacher(tmp_path: Path) -> None:
    teacher = encoder(tmp_path / "encoder", "e5")
    loaded = load_encoder(str(teacher))
    (tmp_path / "teacher").mkdir()
    save_reader(loaded.model, loaded.tokenizer, {}, tmp_path / "teacher")
    shape = {"layers": 2, "heads": 2, "hidden": 16, "feed_forward": 32}
    flags = [flag for name, value in shape.items() for flag in (f"--student.shape.{name}", str(value))]
    lines = distill(tmp_path / "teacher", tmp_path / "same", *flags, "--student.initial", "teacher",
                    "--student.dropout", "0", "--training.precision", "fp32")  # fmt: skip
    assert [lines[0][term] for term in ("soft", "hidden", "attention")] == pytest.approx([0, 0, 0], abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_are_the_families_own(kind: str, tmp_path: Path) -> None:
    loaded = load_encoder(str(encoder(tmp_path / kind, kind)))
    ids, mask, _ = batch(tmp_path / kind)
    from destila.models.forward import forward

    outputs = forward(loaded.model, ids, mask, hidden_layers=(0, 1, 2))
    inputs = _inputs(loaded.model.config, ids, mask)
    expected = loaded.model.base_model(**inputs, output_hidden_states=True).hidden_states
    real = mask.bool()
    for layer, state in outputs.hidden.items():
        assert torch.allclose(state[real], expected[layer][real], atol=1e-5)
    assert torch.equal(outputs.start_logits, span_logits(loaded.model, ids, mask)[0])


def test_a_text_that_spells_a_separator_out_moves_no_types() -> None:
    tokenizer = encoder_tokenizer("bert")
    one = example("x", "¿Qué es [SEP]?", TEXTS[0])
    window = WindowBuilder(tokenizer, length=64, stride=8, pad_id=0).build([one])[0]
    assert (window.input_ids == tokenizer.token_to_id("[SEP]")).sum() == 2
