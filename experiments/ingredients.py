"""What each ingredient of a small reader is worth at one budget: its start, questions made of text, tokens, labels.

    python experiments/ingredients.py --text my-texts --train questions.json --dev dev.json [--weights '{law = 0.25}']

Every row is a plain `destila pretrain` and `destila finetune` of one small shape in directories of their own; a
finished one is not run again. All rows see the same labeled questions in the same order, unless their number is what
varies. Only questions that have an answer are learned and scored, and all must be answered: while a reader is weak, "no
answer" to everything scores best. Scores are of the last step, on questions that chose nothing. Writes ingredients.md
and ingredients.json.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from destila import Reader, finetune, pretrain
from destila.config import FinetuneSettings, PretrainSettings, VariationSettings
from destila.config.flags import parse_arguments
from destila.config.loader import read_toml
from destila.core.errors import UserError
from destila.core.formatting import with_interval
from destila.core.progress import on_stderr
from destila.core.runs import write_json, write_text
from destila.data.sources import load_examples, load_gold
from destila.data.squad import save
from destila.data.synthetic.augmentation import variations
from destila.evaluation.evaluate import compare, evaluate_reader, table
from destila.evaluation.predictions import answer_texts


@dataclass(frozen=True)
class Row:
    """One model: how it is pre-trained, if at all, and on how many questions it is fine-tuned.

    Attributes:
        steps: of pre-training, as a share of the budget; 0: none, a random model.
        asking: share of these that come last and ask as people do, by the file ASKING.
        knowing: whether they know synonyms and kinds of things, and leave out phrases instead of words.
        labels: share of the labeled questions.
        varied: whether these are seen once and in PASSES - 1 variations each, instead of PASSES times.
    """

    label: str
    initial: Literal["random", "matching"] = "matching"
    masking: float = 0.0
    cloze: float = 1.0
    keep_answer_sentence: float = 0.9
    steps: float = 1.0
    asking: float = 0.0
    knowing: bool = True
    labels: float = 1.0
    varied: bool = True

    @property
    def encoder(self) -> "Row":
        """What its encoder depends on: rows that differ in labels alone share one."""
        return replace(self, label="", labels=1.0, varied=True)


ROWS = {
    "labels": Row("labels alone, random start", initial="random", steps=0),
    "masked": Row("masked words", initial="random", masking=0.15, cloze=0.0),
    "recurring": Row("masked words and recurring spans", initial="random", masking=0.15, keep_answer_sentence=0.0),
    "phrases": Row("phrases whose sentence keep_answer_sentence", initial="random"),
    "start": Row("matching start, hardly any text", steps=0.01),
    "start-recurring": Row("matching start, recurring spans", keep_answer_sentence=0.0),
    "phrases-start": Row("matching start, phrases"),
    "recipe": Row("matching start, phrases, then as people ask: the recipe", asking=0.5),
    "words-dropped": Row("the recipe, whose questions drop words and know none", asking=0.5, knowing=False),
    "plain-labels": Row("the recipe, labels as they are", asking=0.5, varied=False),
    "half-tokens": Row("the recipe, half the tokens", steps=0.5, asking=0.5),
    "double-tokens": Row("the recipe, twice the tokens", steps=2.0, asking=0.5),
    "quarter-labels": Row("the recipe, a quarter of the labels", asking=0.5, labels=0.25),
    "no-text-quarter": Row("labels alone, a quarter of them", initial="random", steps=0, labels=0.25),
}
REFERENCE = "recipe"
PASSES = 4  # over the labeled questions
ASKING = "reader/raw-text/pretrain-cpu-asking"
SHAPE = ("--model.shape.layers", "4", "--model.shape.heads", "4", "--model.shape.hidden", "128",
         "--model.shape.feed_forward", "512")  # fmt: skip


def settings_of(arguments: argparse.Namespace) -> tuple[PretrainSettings, FinetuneSettings]:
    """What all rows share."""
    common = ["--training.batch_size", "32", "--training.precision", "fp32", "--training.keep_best", "false"]
    text = [part for name in arguments.text for part in ("--text.files", name)]
    encoder = parse_arguments(
        PretrainSettings,
        [*text, "--text.store", arguments.store or str(arguments.out / "text"), "--text.weights", arguments.weights,
         "--text.tokenizer", arguments.tokenizer, "--text.vocabulary_size", "8000", "--text.workers", "0",
         "--model.vector_passes", "1", *SHAPE, "--model.length", "128", "--model.positions", "192",
         "--training.steps", str(arguments.steps), "--training.learning_rate", "1e-3", "--dev-rows", "128", *common],
        command="destila pretrain",
    )  # fmt: skip
    reader = parse_arguments(
        FinetuneSettings,
        [*SHAPE, "--window.length", "192", "--window.stride", "64", "--training.learning_rate", "5e-4",
         "--model.dropout", "0.0",
         *common],
        command="destila finetune",
    )  # fmt: skip
    return encoder, reader


def encode(row: Row, settings: PretrainSettings, out: Path) -> str:
    """The directory of a row's encoder, trained unless another row has made it; "": it has none."""
    if not row.steps:
        return ""
    directory = out / next(other for other, known in ROWS.items() if known.encoder == row.encoder)
    steps, start = max(1, round(row.steps * settings.training.steps)), ""
    asked = round(row.asking * steps)
    cloze = replace(
        settings.cloze,
        share=row.cloze,
        keep_answer_sentence=row.keep_answer_sentence,
        dropped=0.7 if row.keep_answer_sentence else 0.0,
    )
    people = replace(settings.cloze, **read_toml(ASKING)["cloze"])
    if not row.knowing:
        people = replace(people, synonyms=0.0, kinds=0.0, clauses=0.0)
    parts = [("encoder", steps - asked, replace(cloze, interrogative=0.7)), ("encoder-asking", asked, people)]
    for part, count, questions in parts:
        output = directory / part
        if count and not (output / "model.safetensors").exists():
            pretrain(
                replace(
                    settings,
                    cloze=questions,
                    masking=replace(settings.masking, share=row.masking),
                    model=replace(settings.model, initial=row.initial, name=start),
                    text=replace(settings.text, tokenizer="" if start else settings.text.tokenizer),
                    training=replace(settings.training, steps=count),
                    output=str(output),
                    overwrite=True,
                )
            )
        start = str(output) if count else start
    return start


def labeled(row: Row, arguments: argparse.Namespace) -> tuple[list[str], int]:
    """Files with the questions of a row, written unless they are there, and the passes over them."""
    examples = [example for example in load_examples(arguments.train) if example.answers]
    examples = examples[: round(row.labels * arguments.labels)]
    plain, varied = (arguments.out / f"{kind}-{len(examples)}.json" for kind in ("labels", "varied"))
    if not plain.exists():
        save(examples, plain)
    if not row.varied:
        return [str(plain)], PASSES
    if not varied.exists():
        save(variations(examples, VariationSettings(copies=PASSES - 1)), varied)
    return [str(plain), str(varied)], 1


def train(name: str, row: Row, arguments: argparse.Namespace) -> None:
    """Train the reader of a row, unless it is there."""
    encoder, reader = settings_of(arguments)
    output = arguments.out / name / "reader"
    if (output / "model.safetensors").exists():
        return
    start = encode(row, encoder, arguments.out)
    # A reader without an encoder reads the tokens of the others.
    tokenizer = "" if start else str(arguments.out / REFERENCE / "encoder")
    model = replace(reader.model, name=start, tokenizer=tokenizer)
    files, epochs = labeled(row, arguments)
    data, training = replace(reader.data, train=files), replace(reader.training, epochs=epochs)
    finetune(replace(reader, model=model, data=data, training=training, output=str(output), overwrite=True))


def evaluate(names: list[str], arguments: argparse.Namespace) -> None:
    """Score all readers, and write the table."""
    examples = [example for example in load_gold(arguments.dev) if example.answers]
    examples = examples[:: max(1, len(examples) // arguments.questions)]  # evenly, so that every article is there
    texts, rows = {}, {}
    for name in names:
        reader = Reader.load(str(arguments.out / name / "reader"))
        reader.no_answer_threshold = None
        reports, predictions = evaluate_reader(reader, examples, model=name, data=" ".join(arguments.dev))
        texts[name], rows[name] = answer_texts(predictions), reports[0]
    lines, facts = [], {}
    for name, report in rows.items():
        found: dict[str, Any] = {"label": ROWS[name].label, "f1": report.f1, "f1_ci": report.f1_ci, "em": report.em}
        against = ""
        if name != REFERENCE and REFERENCE in texts:
            pair = (REFERENCE, texts[REFERENCE]), (name, texts[name])
            found["against_recipe"] = compare(examples, *pair, normalizer=report.normalizer)["f1"]
            gain = found["against_recipe"]
            against = with_interval(gain["difference"], gain["ci"], sign="+", digits=1)
        f1 = with_interval(report.f1, report.f1_ci, digits=1)
        lines.append([ROWS[name].label, f1, f"{report.em:.1f}", against])
        facts[name] = found
    text = table(["", "F1", "EM", "F1 against the recipe"], lines)
    write_text(arguments.out / "ingredients.md", text + "\n")
    write_json(arguments.out / "ingredients.json", {"n": len(examples), "rows": facts})
    print(f"{text}\n{len(examples)} questions, intervals clustered by article")


def main() -> None:
    """Train what is missing, then score."""
    parser = argparse.ArgumentParser(description="What the ingredients of a small teacher are worth.")
    parser.add_argument("--text", action="append", required=True)
    parser.add_argument("--train", action="append", required=True)
    parser.add_argument("--dev", action="append", required=True)
    parser.add_argument("--weights", default="{}", help="of the text's sources, a TOML table")
    parser.add_argument("--store", default="", help="of the tokenized text; none: beside the results")
    parser.add_argument("--tokenizer", default="", help="directory of one to use; none: train one")
    parser.add_argument("--steps", type=int, default=1000, help="of pre-training, of 32 rows of 128 tokens")
    parser.add_argument("--labels", type=int, default=4000, help="labeled questions")
    parser.add_argument("--questions", type=int, default=600, help="questions to score on, about")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--out", type=Path, default=Path("runs/ingredients"))
    arguments = parser.parse_args()
    order = sorted(arguments.rows, key=lambda name: name != REFERENCE)  # its tokenizer serves those without text
    try:
        with on_stderr():
            for name in order:
                train(name, ROWS[name], arguments)
            evaluate(arguments.rows, arguments)
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
