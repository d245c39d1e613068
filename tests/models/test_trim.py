"""A trimmed model answers its texts as before, has no weight that it did not have, and says what changes elsewhere."""

import gzip
import json
import lzma
import tracemalloc
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, RobertaConfig, RobertaForMaskedLM

from destila import Reader
from destila.cli.main import dispatch
from destila.core.errors import UserError
from destila.data import squad
from destila.data.texts import Texts
from destila.data.token_usage import usage_of
from destila.data.tokenizers import load_tokenizer
from destila.models.files import load_reader, span_logits
from destila.models.trim import trim
from destila.models.vocabulary_trimming import script_of, trim_to_usage
from encoders import KINDS, encoder, encoder_tokenizer
from tiny import TEXTS, tiny_examples, tiny_reader, tiny_tokenizer

SOME = TEXTS[:3]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n\n".join(SOME), encoding="utf-8")
    return path


def old_ids(before: Path, after: Path) -> torch.Tensor:
    """The old id of each new token, by its name."""
    old, new = load_tokenizer(before), load_tokenizer(after)
    return torch.tensor([old.token_to_id(new.id_to_token(number)) for number in range(new.get_vocab_size())])


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_says_the_same_of_its_texts(kind: str, texts: Path, tmp_path: Path) -> None:
    start, output = encoder(tmp_path / kind, kind), tmp_path / "out"
    result = trim(str(start), [str(texts)], output)
    assert result.vocabulary[1] < result.vocabulary[0] == load_tokenizer(start).get_vocab_size()
    assert result.parameters[1] < result.parameters[0]
    before, after = (AutoModel.from_pretrained(path).eval() for path in (start, output))
    theirs, pieces = AutoTokenizer.from_pretrained(output), load_tokenizer(start)
    back = old_ids(start, output)
    types = kind == "bert"
    for question, context in ((SOME[0], SOME[1]), (SOME[2], SOME[0])):
        inputs = theirs(question, context, return_tensors="pt")
        encoding = pieces.encode(question, context)
        assert back[inputs["input_ids"][0]].tolist() == encoding.ids
        assert ("token_type_ids" in inputs) == types
        whole = {"input_ids": torch.tensor([encoding.ids])}
        if types:
            whole["token_type_ids"] = torch.tensor([encoding.type_ids])
        with torch.no_grad():
            assert torch.allclose(after(**inputs)[0], before(**whole)[0], atol=1e-5)


@pytest.mark.parametrize("architecture", ["roberta", "bert", "xlm-roberta"])
def test_a_reader_gives_the_same_answers_and_keeps_its_settings(
    architecture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    squad.save(tiny_examples()[:3], tmp_path / "data.json")
    about = {"window": {"length": 90, "stride": 8, "max_answer_tokens": 9}, "no_answer_threshold": 0.5, "mine": [1]}
    start = tiny_reader(tmp_path / "reader", architecture, metadata={**about, "dev": {"f1": 1.0}})
    capsys.readouterr()
    dispatch(["trim", str(start), "--data", str(tmp_path / "data.json"), "--output", str(tmp_path / "out"), "--json"])
    found = capsys.readouterr()
    assert "random" not in found.err
    result = json.loads(found.out.splitlines()[-1])
    assert result["vocabulary"][1] < result["vocabulary"][0]
    readers = [Reader.load(path) for path in (start, tmp_path / "out")]
    pairs = [(one.question, one.context) for one in tiny_examples()[:3]]
    assert readers[0].answer_batch(pairs) == readers[1].answer_batch(pairs)
    saved = json.loads((tmp_path / "out" / "destila.json").read_text())
    assert {name: saved[name] for name in about} == about
    assert "dev" not in saved  # nobody measured this model
    assert saved["source"]["command"] == "trim"


def test_weights_that_have_no_row_for_a_token_stay_bit_for_bit(texts: Path, tmp_path: Path) -> None:
    start, size = encoder(tmp_path / "roberta", "roberta"), tiny_tokenizer("roberta").get_vocab_size()
    config = RobertaConfig(vocab_size=size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                           intermediate_size=32, max_position_embeddings=130, pad_token_id=1,
                           type_vocab_size=1)  # fmt: skip
    RobertaForMaskedLM(config).half().save_pretrained(start)
    trim(str(start), [str(texts)], tmp_path / "out")
    before, after = (load_file(path / "model.safetensors") for path in (start, tmp_path / "out"))
    rows = old_ids(start, tmp_path / "out")
    of_tokens = {name for name, tensor in before.items() if tensor.shape[0] == size}
    assert {"roberta.embeddings.word_embeddings.weight", "lm_head.bias"} <= of_tokens
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor[rows] if name in of_tokens else tensor), name
        assert after[name].dtype == torch.float16
    ids = load_tokenizer(tmp_path / "out").encode(SOME[0]).ids
    models = [AutoModelForMaskedLM.from_pretrained(path).eval() for path in (start, tmp_path / "out")]
    with torch.no_grad():
        whole, small = (m(torch.tensor([i])).logits for m, i in zip(models, (rows[ids].tolist(), ids), strict=True))
    assert torch.equal(whole[..., rows], small)


def test_a_bare_encoder_gets_no_head_and_types_that_never_occur_go(texts: Path, tmp_path: Path) -> None:
    start = encoder(tmp_path / "e5", "e5")
    trim(str(start), [str(texts)], tmp_path / "out")
    before, after = (load_file(path / "model.safetensors") for path in (start, tmp_path / "out"))
    assert before.keys() == after.keys()
    assert (before["embeddings.token_type_embeddings.weight"].shape[0], 1) == (
        2,
        after["embeddings.token_type_embeddings.weight"].shape[0],
    )
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    tokenizer = load_tokenizer(tmp_path / "out")
    assert config["type_vocab_size"] == 1
    assert config["vocab_size"] == tokenizer.get_vocab_size()
    assert config["pad_token_id"] == tokenizer.token_to_id("<pad>") == 1
    assert "tokenizer_class" not in config
    assert tokenizer.token_to_id("<mask>") == tokenizer.get_vocab_size() - 1  # stays the last, under a new id
    assert AutoTokenizer.from_pretrained(tmp_path / "out").mask_token_id == tokenizer.token_to_id("<mask>")
    bert = encoder(tmp_path / "bert", "bert")
    trim(str(bert), [str(texts)], tmp_path / "bert-out")
    kept = load_file(tmp_path / "bert-out" / "model.safetensors")["embeddings.token_type_embeddings.weight"]
    assert kept.shape[0] == 2


def test_a_roberta_whose_padding_gets_another_id_counts_its_positions_from_there(texts: Path, tmp_path: Path) -> None:
    """Padding is the last token here: its id falls by all that goes, and positions are counted from it."""
    start = tiny_reader(tmp_path / "reader", "roberta")
    definition = json.loads((start / "tokenizer.json").read_text())
    size = len(definition["model"]["vocab"])
    definition["model"]["vocab"]["[PAD]"] = size
    definition["added_tokens"].append({**definition["added_tokens"][1], "id": size, "content": "[PAD]"})
    (start / "tokenizer.json").write_text(json.dumps(definition))
    fields = {"vocab_size": size + 1, "pad_token_id": size, "max_position_embeddings": size + 1 + 60}
    config = RobertaConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, **fields)
    torch.manual_seed(0)
    from transformers import RobertaForQuestionAnswering

    model = RobertaForQuestionAnswering(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(start)
    trim(str(start), [str(texts)], tmp_path / "out")
    rows = old_ids(start, tmp_path / "out")
    before, after = (load_reader(str(path)) for path in (start, tmp_path / "out"))
    assert after.model.config.pad_token_id < before.model.config.pad_token_id == size
    ids = torch.tensor([after.tokenizer.encode("¿Lima?", SOME[0][:60]).ids])
    ids = torch.cat([ids, torch.full((1, 3), after.model.config.pad_token_id)], dim=1)
    mask = (torch.arange(ids.shape[1]) < ids.shape[1] - 3).long()[None]
    small, whole = span_logits(after.model, ids, mask), span_logits(before.model, rows[ids], mask)
    assert torch.equal(small[0][:, :-3], whole[0][:, :-3])


# ---------------------------------------------------------------------------------------------------- which tokens
@pytest.mark.parametrize("kind", ["roberta", "bert", "e5"])
def test_a_size_is_kept_to_by_frequency(kind: str, texts: Path, tmp_path: Path) -> None:
    start = encoder(tmp_path / kind, kind)
    whole = trim(str(start), [str(texts)], tmp_path / "whole")
    wanted = whole.vocabulary[1] - 10
    result = trim(str(start), [str(texts)], tmp_path / "small", keep=wanted, held_out=[str(texts)])
    assert wanted - 5 <= result.vocabulary[1] <= wanted
    assert result.held_out is not None
    assert result.held_out.tokens[1] > result.held_out.tokens[0]
    tokenizer = load_tokenizer(tmp_path / "small")
    assert all(tokenizer.encode(text).ids for text in SOME)
    with pytest.raises(UserError, match=r"keep: 3 tokens are fewer than the \d+ special tokens and single characters"):
        trim(str(start), [str(texts)], tmp_path / "none", keep=3)
    assert not (tmp_path / "none").exists()
    more = trim(str(start), [str(texts)], tmp_path / "more", keep=10_000)
    assert more.vocabulary == whole.vocabulary


def test_merges_of_kept_tokens_stay() -> None:
    tokenizer = tiny_tokenizer("roberta")
    usage = usage_of(tokenizer, TEXTS)
    small = trim_to_usage(tokenizer, usage, keep=330)
    counts = dict(zip(range(len(usage.counts)), usage.counts, strict=True))
    kept = {small.tokenizer.id_to_token(number) for number in range(len(small.old_ids))}
    for merge in json.loads(small.tokenizer.to_str())["model"]["merges"]:
        assert {*merge, "".join(merge)} <= kept
    best = max((n for n in counts if len(tokenizer.id_to_token(n)) > 2), key=lambda n: counts[n])
    assert best in small.old_ids


def test_scripts_of_the_texts_are_covered_and_others_are_not() -> None:
    letters = "aáñzαωжя北京東ん"
    definition = json.loads(encoder_tokenizer("xlm-roberta").to_str())
    present = {piece for piece, _ in definition["model"]["vocab"]}
    definition["model"]["vocab"][-1:-1] = [[c, -12.0 - (c == "§")] for c in f"{letters}٣§€" if c not in present]
    for token in definition["added_tokens"]:
        token["id"] = next(n for n, (piece, _) in enumerate(definition["model"]["vocab"]) if piece == token["content"])
    from tokenizers import Tokenizer

    whole = Tokenizer.from_str(json.dumps(definition))
    spanish = ["Una frase en español, larga y sin nada más que letras latinas y números. " * 40, "北"]
    small = trim_to_usage(whole, usage_of(whole, spanish)).tokenizer
    kept = {letter for letter in letters if small.token_to_id(letter) is not None}
    assert kept == set("aáñz北")  # 北 is used, but its script is quoted only
    assert all(small.token_to_id(sign) is not None for sign in "٣§€")
    greek = trim_to_usage(whole, usage_of(whole, ["α " * 10])).tokenizer
    assert greek.token_to_id("ω") is not None
    assert [script_of(letter) for letter in "aªñ北αж5.€"] == [
        "LATIN", "LATIN", "LATIN", "CJK", "GREEK", "CYRILLIC", "", "", "",
    ]  # fmt: skip


def test_added_tokens_that_the_model_does_not_know_get_new_ids(texts: Path, tmp_path: Path) -> None:
    start = tiny_reader(tmp_path / "bert", "bert")
    tokenizer = load_tokenizer(start)
    tokenizer.add_special_tokens(["[A]", "[B]"])
    tokenizer.save(str(start / "tokenizer.json"))
    size = tokenizer.get_vocab_size()
    from transformers import BertConfig, BertForQuestionAnswering

    config = BertConfig(vocab_size=size + 5, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=32, max_position_embeddings=130)  # fmt: skip
    BertForQuestionAnswering(config).save_pretrained(start)
    result = trim(str(start), [str(texts)], tmp_path / "out")
    new = load_tokenizer(tmp_path / "out")
    assert [new.token_to_id(name) for name in ("[A]", "[B]")] == [result.vocabulary[1] - 2, result.vocabulary[1] - 1]
    theirs = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert theirs.convert_tokens_to_ids(["[A]", "[B]", "[SEP]"]) == [
        new.token_to_id(name) for name in ("[A]", "[B]", "[SEP]")
    ]


# ---------------------------------------------------------------------------------------------------- texts
def test_texts_come_from_files_of_every_kind(tmp_path: Path) -> None:
    squad.save(tiny_examples(), tmp_path / "data.json")
    squad.save(tiny_examples(), tmp_path / "data.jsonl")
    (tmp_path / "a.txt").write_text("uno\n\n  \ndos\n", encoding="utf-8")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"tres\n"))
    (tmp_path / "c.txt.xz").write_bytes(lzma.compress(b"cuatro"))
    plain = Texts([str(tmp_path / name) for name in ("c.txt.xz", "a.txt", "b.txt.gz")], where="data")
    assert list(plain) == list(plain) == ["cuatro", "uno", "dos", "tres"]
    both = [list(Texts([str(tmp_path / f"data.{ending}")], where="data")) for ending in ("json", "jsonl")]
    assert both[0] == both[1]
    assert len(both[0]) == len(set(both[0]))
    assert {one.context for one in tiny_examples()} | {one.question for one in tiny_examples()} == set(both[0])


def test_a_text_in_capitals_is_covered_as_it_is_and_as_readers_read_it(tmp_path: Path) -> None:
    start, output = tiny_reader(tmp_path / "reader", "bert"), tmp_path / "out"
    (tmp_path / "data.txt").write_text(SOME[0].upper())
    trim(str(start), [str(tmp_path / "data.txt")], output)
    old, new = load_tokenizer(start), load_tokenizer(output)
    for text in (SOME[0].upper(), SOME[0].lower()):
        assert old.encode(text).tokens == new.encode(text).tokens
    assert "[UNK]" not in old.encode(SOME[0].lower(), add_special_tokens=False).tokens[:3]


def test_memory_does_not_grow_with_the_texts() -> None:
    tokenizer = tiny_tokenizer("xlm-roberta")

    def peak(repeats: int) -> int:
        tracemalloc.start()
        usage_of(tokenizer, (f"{TEXTS[n % 6]} {n}" for n in range(repeats)))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(6000) < 1.3 * peak(2000)


def test_what_is_held_out_is_measured(tmp_path: Path) -> None:
    start = tiny_reader(tmp_path / "reader", "xlm-roberta")
    (tmp_path / "data.txt").write_text(SOME[0])
    (tmp_path / "other.txt").write_text(f"{TEXTS[4]}\n{SOME[0]}\n北\n", encoding="utf-8")
    names = [str(tmp_path / name) for name in ("data.txt", "other.txt")]
    result = trim(str(start), names[:1], tmp_path / "out", held_out=names[1:])
    old, new = load_tokenizer(start), load_tokenizer(tmp_path / "out")
    lines = [TEXTS[4], SOME[0], "北"]
    tokens = [sum(len(t.encode(line, add_special_tokens=False).ids) for line in lines) for t in (old, new)]
    assert result.held_out is not None
    assert result.held_out.tokens == tuple(tokens)
    assert (result.held_out.texts, result.held_out.changed) == (3, 1)
    assert result.held_out.unknown[0] == 1
    assert result.held_out.characters == sum(map(len, lines))


def test_a_share_of_the_texts_is_kept_apart_and_still_cut_as_before(tmp_path: Path) -> None:
    start = encoder(tmp_path / "e5", "e5")
    words = sorted({word for text in TEXTS for word in text.split()})
    lines = [f"{first} {second}" for first in words[:30] for second in words[30:50]]
    (tmp_path / "data.txt").write_text("\n".join(lines), encoding="utf-8")
    result = trim(str(start), [str(tmp_path / "data.txt")], tmp_path / "out")
    assert result.held_out is not None
    assert 0 < result.held_out.texts < 0.06 * len(lines)
    assert result.texts == len(lines)
    old, new = load_tokenizer(start), load_tokenizer(tmp_path / "out")
    assert all(old.encode(line).tokens == new.encode(line).tokens for line in lines)


# ---------------------------------------------------------------------------------------------------- mistakes
def test_mistakes_are_said_and_leave_nothing(texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start, output = encoder(tmp_path / "e5", "e5"), tmp_path / "out"
    (tmp_path / "blank.txt").write_text("\n \n")
    wrong: list[tuple[list[str], str]] = [
        ([str(start)], "--output: is required"),
        ([str(start), "--output", str(output)], "data: names no texts"),
        ([str(start), "--output", str(output), "--data", "nothing.txt"], "nothing.txt does not exist"),
        ([str(start), "--output", str(output), "--data", str(tmp_path / "blank.txt")], "holds no text"),
        ([str(start), "--output", str(start), "--data", str(texts)], "exists already"),
        (["nobody", "--output", str(output), "--data", str(texts)], "nobody"),
    ]
    for arguments, message in wrong:
        with pytest.raises(UserError, match=message):
            dispatch(["trim", *arguments])
        assert not output.exists()
    (start / "model.safetensors").rename(start / "model.onnx")
    with pytest.raises(UserError, match=r"has no model\.safetensors"):
        trim(str(start), [str(texts)], output)
    (start / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match="is truncated or not a safetensors file"):
        trim(str(start), [str(texts)], output)


def test_the_command_says_what_it_saved_and_what_it_changed(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start, output = encoder(tmp_path / "e5", "e5"), tmp_path / "out"
    capsys.readouterr()
    dispatch(["trim", str(start), "--data", str(texts), "--held-out", str(texts), "--output", str(output)])
    printed = capsys.readouterr().out
    assert "tokens per character; 0.0 % of the texts have other tokens; unknown tokens" in printed
    assert "parameters" in printed
    dispatch(["trim", str(start), "--data", str(texts), "--output", str(tmp_path / "second")])
    assert "too few texts to keep one apart" in capsys.readouterr().out
