"""Settings of the commands that read data, score models and answer questions."""

from dataclasses import field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from destila.config.documents import DocumentSettings, FolderSettings
from destila.config.fields import (
    Count,
    CountOrZero,
    NonNegative,
    Positive,
    Seed,
    Share,
    ThresholdCriterion,
    positional,
    settings,
    strings,
)
from destila.core.errors import UserError


@settings
class RunTimeSettings:
    """What runs a model: the same choice wherever one is asked."""

    backend: Literal["auto", "torch", "onnx", "openvino"] = "auto"
    """What runs the model; auto: the fastest that is installed of those that it has files for."""
    threads: CountOrZero = 0
    """Threads of the run time; 0: one for each core that this process may use."""


@settings
class AnsweringSettings(RunTimeSettings):
    """When a reader says that a text holds no answer."""

    must_answer: bool = False
    """Always give the best span; never "no answer"."""
    no_answer_threshold: float | None = None
    """Say "no answer" where it stands so many logits above the best span; none: as the model's destila.json says."""
    max_error: Share | None = None
    """Give only answers of which at most this share is wrong, as destila calibrate promised; none: no such promise."""


@settings
class EvaluateSettings(RunTimeSettings):
    """Score models, or a file of predictions, on a data set."""

    model: list[str] = strings()
    """Local directory or hub id; several are compared with the first. None: the bundled model."""
    revision: str | None = None
    """Commit of the hub repository."""
    data: list[str] = strings()
    """Files or named sources to evaluate on."""
    from_predictions: str | None = None
    """Score this {id: text} file instead of a model, as the official scripts do; "" means no answer."""
    predictions: str | None = None
    """Write each model's {id: text} predictions here (with several models: NAME gets the model's number)."""
    overwrite: bool = False
    """Replace a file of predictions that exists."""
    repair: bool = False
    """Score with mended gold answers, and without those that cannot be mended; false: as they were published."""
    fit_threshold: ThresholdCriterion | None = None
    """Fit the no-answer threshold on this data and score with it. f1: the threshold with the best F1; equal-errors: the
    one that refuses as many of the answerable questions as it answers of the same questions asked of another paragraph
    of the article, which is what people want of a reader that is weak."""
    write: bool = False
    """Put the fitted threshold into the model's destila.json."""
    window_length: CountOrZero = 0
    """Tokens of one model input; 0: as the model's destila.json says, else 384."""
    seed: Seed = 1
    """Seed of the bootstrap."""
    resamples: Annotated[int, Ge(100)] = 2000
    """Resamples of the bootstrap."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""


@settings
class AnswerSettings(AnsweringSettings):
    """Answer a question from a text, or many from a file."""

    question: str | None = positional(default=None)
    """The question."""
    context: str | None = None
    """File with the text (.txt, .md, .html, .pdf, .docx), or a folder of them; - reads standard input as text."""
    model: str | None = None
    """Local directory or hub id; none: the bundled model."""
    revision: str | None = None
    """Commit of the hub repository."""
    top_k: Count = 1
    """How many answers."""
    input: str | None = None
    """JSONL file of {"question": ..., "context": ...} lines; - reads standard input."""
    output: str | None = None
    """JSONL file of answers, one line per question, in order; the same command goes on after a kill."""
    overwrite: bool = False
    """Begin the output anew, also if it is finished or was begun from something else."""
    ray_workers: CountOrZero = 0
    """Answer a file with so many readers on a Ray cluster, or on this machine if there is none; 0: without Ray."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""
    documents: DocumentSettings = field(default_factory=DocumentSettings)
    """What reading one file may cost."""
    folder: FolderSettings = field(default_factory=FolderSettings)
    """How a folder is searched."""

    @property
    def options(self) -> dict[str, Any]:
        """How the model is run and when it refuses: keyword arguments of `Reader.load`."""
        names = ("backend", "revision", "must_answer", "no_answer_threshold", "max_error")
        return {name: getattr(self, name) for name in names}

    def check(self) -> None:
        """Refuse what gives nothing to answer, or nothing to answer from.

        Raises:
            UserError: names all that is missing or too much.
        """
        problems = []
        if self.input is None:
            problems += ["no question"] * (self.question is None)
            problems += ["no text to answer from"] * (not self.context)
            problems += ["--output goes with --input"] * (self.output is not None)
        elif self.question is not None or self.context is not None:
            problems.append("--input brings its own questions and contexts; leave QUESTION and --context out")
        if problems:
            usage = "Usage: destila answer QUESTION --context FILE|-, or destila answer --input FILE --output FILE."
            raise UserError.from_problems("destila answer", problems, usage)
        if self.question is not None and not self.question.strip():
            raise UserError("the question", "is empty", "Ask something.")
        if any("\ud800" <= letter <= "\udfff" for letter in self.question or ""):
            remedy = "Set the terminal to UTF-8, or put the question into a file."
            raise UserError("the question", "is not valid UTF-8", remedy)


@settings
class DataCheckSettings:
    """Check data files: every answer against its context, ids, encodings; counts before and after repair."""

    files: list[str] = positional(default_factory=list)
    """SQuAD JSON, JSONL or Parquet files, or named sources."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""


@settings
class DataFetchSettings:
    """Download a named source into the cache, or say how to put the file there by hand."""

    name: str = positional()
    """squad-es-v1.1, squad-es-v2.0, xquad-es, mlqa-es or sqac; with /train, /dev or /test for one file of it."""
    cache: str | None = None
    """Directory of the cache; none: $DESTILA_CACHE, else ~/.cache/destila."""
    timeout: Positive = 30.0
    """Seconds to wait for the server."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""


@settings
class DataConvertSettings:
    """Convert a data file; the output's ending gives the format: .json (SQuAD), .jsonl, .parquet."""

    source: str = positional()
    """File or named source to read."""
    target: str = positional()
    """File to write."""
    repair: bool = False
    """Mend answers that do not match their context, drop those that cannot be mended."""
    overwrite: bool = False
    """Replace the target if it exists."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""


@settings
class VariationSettings:
    copies: Count = 3
    """Variations of each question."""
    names: Share = 0.6
    """Share of the names that are others, the same in question and context."""
    numbers: Share = 0.6
    """Share of the numbers that are others, likewise."""
    synonyms: Share = 0.3
    """Share of a question's words that one of the same meaning replaces, where one is known."""
    moved: Share = 0.6
    """Share of the contexts whose sentences change places."""
    left_out: Share = 0.5
    """Share of the contexts that lose sentences other than the answer's."""
    distractors: Share = 0.3
    """How often sentences of other contexts stand before the context, and how often after it."""
    typed: Share = 0.5
    """Share of the questions that are written as people type: small letters, no accents or marks, slips."""
    plain: Share = 0.1
    """Share of the contexts in small letters or without accents."""
    opening: Share = 0.5
    """Share of the contexts that are cut to open with the answer, where it opens one of their sentences."""
    seed: Seed = 1
    """Of everything that is drawn."""


@settings
class DataAugmentSettings:
    """Write more training questions: other names, numbers, words and neighbors, the answer where it was."""

    files: list[str] = positional(default_factory=list)
    """SQuAD JSON, JSONL or Parquet files, or named sources."""
    output: str = ""
    """File to write; its ending gives the format: .json (SQuAD), .jsonl, .parquet."""
    overwrite: bool = False
    """Replace the output if it exists."""
    variation: VariationSettings = field(default_factory=VariationSettings)
    """What changes, and how much of it."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""


@settings
class ExportSettings:
    """Write a reader in a form that answers fast without torch, and prove that it still answers the same."""

    model: str = ""
    """Local directory or hub id of the reader; for web, none: the bundled model."""
    revision: str | None = None
    """Commit of the hub repository."""
    output: str = ""
    """Directory to write."""
    format: Literal["onnx", "openvino", "web"] = "onnx"
    """onnx: runs with the base install; openvino: faster on x86 processors, needs the openvino extra; web: a page that
    runs the reader in the browser, a folder for any static server."""
    precision: Literal["fp32", "bf16", "int8"] | None = None
    """Arithmetic: fp32 equals torch; bf16 (openvino only) and int8 are faster and must pass the accuracy gate. None:
    fp32; for web, that of the reader's own ONNX export, or int8 if it is none."""
    runtime: str | None = None
    """Directory with the files of onnxruntime-web (web); none: the cache, where npm puts them."""
    data: list[str] = strings()
    """Files or named sources to measure the loss of bf16 and int8 on, and to calibrate int8 on."""
    max_examples: CountOrZero = 1000
    """Use so many examples, evenly spread over the data; 0: all."""
    max_loss: NonNegative = 0.5
    """The accuracy gate: the most F1, in points, that bf16 or int8 may lose."""
    calibration_windows: Count = 300
    """Windows that the ranges of int8 activations are measured on (openvino)."""
    skip_accuracy: bool = False
    """Write bf16 or int8 without measuring what it costs."""
    overwrite: bool = False
    """Replace an export that is in `output` already."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""


@settings
class BenchSettings(RunTimeSettings):
    """Time readers against each other: latency, throughput, cold start, memory, disk."""

    model: list[str] = strings()
    """Local directory or hub id; give it several times: speedups are relative to the first. None: what ships."""
    lengths: list[Count] = field(default_factory=lambda: [384, 192])
    """Tokens of the timed queries, question and special tokens included."""
    rounds: Count = 20
    """Timed queries of each model and length; the models take turns, so that drift of the machine cancels out."""
    batch: Count = 16
    """Questions that are asked at once to measure queries per second."""
    cold: bool = True
    """Measure cold start, peak memory and installed size in a fresh process for each model."""
    plot: str | None = None
    """Write the latencies (with --pareto quality against latency) as an SVG picture here."""
    pareto: bool = False
    """Choose among the models, their exports beside them and all run times, by quality, latency and size."""
    data: list[str] = strings()
    """With --pareto: files or named sources to judge quality on."""
    max_examples: CountOrZero = 1000
    """With --pareto: judge on so many questions, drawn from the data; 0: on all."""
    max_ms: Positive | None = None
    """With --pareto: longest median time of a query of the first of `lengths`."""
    max_mb: Positive | None = None
    """With --pareto: largest size of the files that a reader needs."""
    min_f1: Annotated[float, Ge(0), Le(100)] = 0.0
    """With --pareto: least F1, in percent; then the fastest is chosen that reaches it, else the best."""
    json: bool = False
    """Print the result as JSON, and nothing else on standard output."""
