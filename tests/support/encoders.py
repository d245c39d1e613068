"""Tiny pre-trained encoders of the kinds that people publish, without a question answering head, made in code."""

import json
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, processors

from destila.data.tokenizers import plain
from tiny import ARCHITECTURES, TEXTS, tiny_config, tiny_model, tiny_tokenizer

# e5: a BERT with the pieces of XLM-R, whose config.json has another padding id and no separator; deberta: v2 and v3.
KINDS = (*ARCHITECTURES, "e5", "deberta")
NAMES = {"bos": "<s>", "eos": "</s>", "sep": "</s>", "cls": "<s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}


def encoder(directory: Path, kind: str, *, layers: int = 2, seed: int = 0) -> Path:
    """Write an encoder as transformers and its authors leave it on the hub."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = encoder_tokenizer(kind)
    if kind in ARCHITECTURES:
        model = tiny_model(kind, seed=seed, layers=layers).base_model
    else:
        model = _model(kind, tokenizer.get_vocab_size(), layers=layers, seed=seed)
    model.save_pretrained(directory)
    (directory / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    if kind == "e5":
        names = {f"{role}_token": name for role, name in NAMES.items()}
        (directory / "special_tokens_map.json").write_text(json.dumps(names))
        about = {**names, "pad_token": {"content": "<pad>", "lstrip": False}, "model_max_length": 512}
        (directory / "tokenizer_config.json").write_text(json.dumps(about))
    return directory


def encoder_tokenizer(kind: str) -> Tokenizer:
    """The tokenizer of a kind; e5's has the mask at its end, as the published one has."""
    if kind in ARCHITECTURES:
        return tiny_tokenizer(kind)
    definition = json.loads(tiny_tokenizer("xlm-roberta").to_str())
    model, mask = definition["model"], next(a for a in definition["added_tokens"] if a["content"] == "<mask>")
    model["vocab"] = [piece for piece in model["vocab"] if piece[0] != "<mask>"] + [["<mask>", 0.0]]
    mask["id"] = len(model["vocab"]) - 1
    tokenizer = Tokenizer.from_str(json.dumps(definition))
    if kind == "deberta":
        ends = [(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s>:0 $A:0 </s>:0 $B:1 </s>:1", special_tokens=ends
        )
    return plain(tokenizer)


def _model(kind: str, size: int, *, layers: int, seed: int):  # type: ignore[no-untyped-def]
    fields = {**tiny_config("bert", layers=layers), "vocab_size": size, "pad_token_id": 0}
    del fields["sep_token_id"]
    if kind == "deberta":
        fields |= {"relative_attention": True, "position_buckets": 8, "max_relative_positions": -1}
        fields |= {"pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "type_vocab_size": 0}
        fields |= {"share_att_key": True, "norm_rel_ebd": "layer_norm"}
    family = {"e5": "Bert", "deberta": "DebertaV2"}[kind]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = getattr(transformers, f"{family}Config")(**fields)
        options = {"add_pooling_layer": False} if kind == "e5" else {}
        model = getattr(transformers, f"{family}Model")(config, **options)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def wordpiece_without_padding() -> Tokenizer:
    """A tokenizer with a template and no padding token."""
    words = dict.fromkeys(word for text in TEXTS for word in text.split())
    tokenizer = Tokenizer(models.WordPiece({t: n for n, t in enumerate(["[UNK]", "<s>", "</s>", "a", *words])}))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1))
    return plain(tokenizer)
