"""Tiny tokenizers, examples and readers, all made in code: what the tests share."""

import functools
import json
import math
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from destila.core.records import Answer, Example, Prediction
from destila.data.tokenizers import plain, train_tokenizer

ARCHITECTURES = ("roberta", "bert", "xlm-roberta", "modernbert")

TEXTS = (
    "La ciudad de Lima fue fundada por Francisco Pizarro el 18 de enero de 1535. Hoy es la capital del Perú.",
    "El río Amazonas nace en los Andes y desemboca en el océano Atlántico; mide unos 6992 kilómetros.",
    "Miguel de Cervantes escribió «Don Quijote de la Mancha», publicado en Madrid en 1605 y en 1615.",
    "María Pérez nació en Córdoba, Argentina. Estudió física y, después, química en la universidad.",
    "¿Dónde está el niño? ¡Aquí, junto al árbol! Un pingüino pequeño vive en la Antártida.",
    "El año pasado, según el señor Núñez, llovió en València más que en A Coruña: 1200 mm.",
)

_SPECIAL = {
    "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "xlm-roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    "modernbert": ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"],
}


@functools.cache
def _tokenizer_json(architecture: str) -> str:
    make = {"roberta": _roberta, "bert": _bert, "xlm-roberta": _xlm_roberta, "modernbert": _modernbert}
    return make[architecture]().to_str()


def tiny_tokenizer(architecture: str = "roberta") -> Tokenizer:
    """A fresh tokenizer of a family: byte-level BPE, WordPiece (accents kept, cased), Unigram with metaspace."""
    return plain(Tokenizer.from_str(_tokenizer_json(architecture)))


def _roberta() -> Tokenizer:
    return train_tokenizer(TEXTS, vocabulary_size=400)


def _bert() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=_SPECIAL["bert"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = _template(tokenizer, "[CLS] $A [SEP]", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1")
    return tokenizer


def _xlm_roberta() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace("  ", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=_SPECIAL["xlm-roberta"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = _template(tokenizer, "<s> $A </s>", "<s> $A </s> </s> $B </s>")
    return tokenizer


def _modernbert() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=_SPECIAL["modernbert"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = _template(tokenizer, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]")
    return tokenizer


def _template(tokenizer: Tokenizer, single: str, pair: str) -> processors.TemplateProcessing:
    names = {part.split(":")[0] for part in pair.split() if not part.startswith("$")}
    return processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(name, tokenizer.token_to_id(name)) for name in sorted(names)]
    )


def pad_token_id(architecture: str = "roberta") -> int:
    """The id of the padding token of a tiny tokenizer."""
    return _SPECIAL[architecture].index("[PAD]" if "[PAD]" in _SPECIAL[architecture] else "<pad>")


def example(id: str, question: str, context: str, *answers: str, title: str = "", labeled: bool = True) -> Example:
    """An example whose answers are found in the context by search; none given: unanswerable."""
    golds = tuple(Answer.at(context, start := context.index(text), start + len(text)) for text in answers)
    return Example(id=id, question=question, context=context, answers=golds, title=title, labeled=labeled)


def tiny_examples(*, unanswerable: bool = True) -> list[Example]:
    """A handful of examples with one or several answers; with `unanswerable`, one without."""
    examples = [
        example("fundador", "¿Quién fundó Lima?", TEXTS[0], "Francisco Pizarro", "Pizarro", title="Lima"),
        example("fecha", "¿Cuándo fue fundada Lima?", TEXTS[0], "18 de enero de 1535", title="Lima"),
        example("amazonas", "¿Dónde nace el Amazonas?", TEXTS[1], "los Andes", "en los Andes", title="Amazonas"),
        example("quijote", "¿Quién escribió «Don Quijote»?", TEXTS[2], "Miguel de Cervantes", title="Quijote"),
        example("nacimiento", "¿Dónde nació María?", TEXTS[3], "Córdoba, Argentina", "Córdoba", title="María"),
        example("lluvia", "¿Cuánto llovió?", TEXTS[5], "1200 mm", title="Lluvia"),
    ]
    return examples + [example("nada", "¿Quién ganó el mundial?", TEXTS[4], title="Animales")] * unanswerable


def predicted(answer: Answer, best: Answer | None, odds: float) -> Prediction:
    """A prediction whose "no answer" stands `odds` logits above its best span."""
    if best is None:
        return Prediction(answer, None, -math.inf, 0.0, -math.inf)
    spans = 1.0 / max(best.score, 1e-9) - math.exp(odds)  # on a scale on which the best span has the logit 0
    return Prediction(answer, best, 0.0, odds, math.log(max(spans, 1.0)))


def tiny_config(
    architecture: str = "roberta", *, layers: int = 2, heads: int = 2, hidden: int = 16
) -> dict[str, object]:
    """The fields of a tiny model's configuration."""
    fields: dict[str, object] = {
        "vocab_size": tiny_tokenizer(architecture).get_vocab_size(),
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 2 * hidden,
        "max_position_embeddings": 130,
        "pad_token_id": pad_token_id(architecture),
    }
    if architecture in ("roberta", "xlm-roberta"):
        fields |= {"type_vocab_size": 1, "bos_token_id": 0, "eos_token_id": 2}
    if architecture == "bert":
        fields |= {"sep_token_id": 3}
    if architecture == "modernbert":
        fields |= {"cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
    return fields


def tiny_model(architecture: str = "roberta", *, seed: int = 0, **shape: int):  # type: ignore[no-untyped-def]
    """A tiny random transformers model for question answering, in eval mode."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    name = {"roberta": "Roberta", "bert": "Bert", "xlm-roberta": "XLMRoberta", "modernbert": "ModernBert"}[architecture]
    config = getattr(transformers, f"{name}Config")(**tiny_config(architecture, **shape))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, f"{name}ForQuestionAnswering")(config)
        for parameter in model.parameters():  # wide weights: logits that tell answers apart
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def tiny_reader(
    directory: Path,
    architecture: str = "roberta",
    *,
    seed: int = 0,
    metadata: dict[str, object] | None = None,
    **shape: int,
) -> Path:
    """Write config.json, model.safetensors, tokenizer.json (and destila.json, if given) of a tiny random reader."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tiny_model(architecture, seed=seed, **shape).save_pretrained(directory)
    (directory / "tokenizer.json").write_text(_tokenizer_json(architecture), encoding="utf-8")
    if metadata is not None:
        (directory / "destila.json").write_text(json.dumps(metadata), encoding="utf-8")
    return directory
