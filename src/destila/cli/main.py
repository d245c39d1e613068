"""The command line: one settings dataclass and one `run(settings)` per verb, nothing that the Python API lacks.

stdout carries the result, stderr the progress. Exit codes: 0 done, 2 the user's mistake, 1 our bug, 75 a time slice
is over and 128 + n signal n came (both after saving: resume). `bench --pareto` leaves with 1 where nothing keeps the
budget. Modules are imported only when their verb is called.
"""

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from destila.config.flags import parse_arguments, tell_as_typed, typed_names
from destila.core.errors import UserError
from destila.core.language import language_of, say, say_error, speak
from destila.core.progress import on_stderr
from destila.core.runs import destila_version, refusal
from destila.core.suggestions import nearest

# verb -> (module under destila.cli, its settings class, one line of help)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "data check": ("data_check", "DataCheckSettings", "check every answer of a data set against its context"),
    "data fetch": ("data_fetch", "DataFetchSettings", "download a named data set"),
    "data convert": ("data_convert", "DataConvertSettings", "convert between SQuAD JSON, JSONL and Parquet"),
    "data augment": ("data_augment", "DataAugmentSettings", "labelled questions -> more of them to train on"),
    "pretrain": ("pretrain", "PretrainSettings", "raw text -> encoder"),
    "finetune": ("finetune", "FinetuneSettings", "encoder + questions -> teacher"),
    "distill": ("distill", "DistillSettings", "teacher + questions -> student"),
    "trim": ("trim", "TrimSettings", "multilingual model -> one with only the tokens that your texts use"),
    "evaluate": ("evaluate", "EvaluateSettings", "score models or predictions"),
    "export": ("export", "ExportSettings", "reader -> ONNX or OpenVINO, proven to answer the same"),
    "report": ("report", "ReportSettings", "one page: scores, curves, errors, cost, how to repeat it"),
    "card": ("card", "CardSettings", "the model card of a run or an export"),
    "push": ("push", "PushSettings", "upload a reader to the Hugging Face hub"),
    "bench": ("bench", "BenchSettings", "time readers against each other"),
    "answer": ("answer", "AnswerSettings", "answer a question from a text"),
    "serve": ("serve", "ServeSettings", "answer over HTTP, with a page for people"),
}


# library -> the extra that brings it
EXTRAS = {
    "torch": "train",
    "transformers": "train",
    "accelerate": "train",
    "safetensors": "train",
    "pyarrow": "data",
    "jinja2": "report",
    "markupsafe": "report",
}


def usage() -> str:
    """The overview that `destila --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  destila {verb:{width}}  {say(text)}" for verb, (_, _, text) in COMMANDS.items()]
    return "\n".join(
        [
            say("usage: destila VERB [--config FILE.toml] [--setting value]..."),
            "",
            *lines,
            "",
            say("destila VERB --help shows every setting; destila --version the version."),
        ]
    )


def dispatch(arguments: Sequence[str]) -> None:
    """Run one command line.

    Raises:
        UserError: the user's mistake.
    """
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(usage())
        return
    if arguments[0] == "--version":
        print(f"destila {destila_version()}")
        return
    verb = " ".join(arguments[:2]) if arguments[0] == "data" else arguments[0]
    if verb in ("data", "data --help", "data -h"):
        print(usage())
        return
    if verb not in COMMANDS:
        raise UserError(verb, f"no such verb{nearest(verb, list(COMMANDS))}", "destila --help lists them.")
    module, settings_name, _ = COMMANDS[verb]
    settings_class = getattr(import_module("destila.config"), settings_name)
    settings = parse_arguments(settings_class, arguments[len(verb.split()) :], command=f"destila {verb}")
    try:
        command = import_module(f"destila.cli.{module}")
    except ModuleNotFoundError as error:
        raise _missing(f"destila {verb}", error) from error
    try:
        with on_stderr():
            command.run(settings)
    except UserError as error:
        tell_as_typed(error, typed_names(settings_class, arguments))
        raise


def _missing(where: str, error: ModuleNotFoundError) -> Exception:
    """What to install for a verb whose libraries are not here; a module of our own that is missing is a bug."""
    name = (error.name or "").partition(".")[0]
    if name not in EXTRAS:
        return error
    return UserError(where, f"needs {name}, which is not installed", f"pip install 'destila[{EXTRAS[name]}]'")


def main() -> None:
    """Entry point of the `destila` command."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a letter shows its code instead of failing
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    speak(language_of(os.environ))
    try:
        try:
            dispatch(sys.argv[1:])
        except SystemExit:  # of --help, say
            sys.stdout.flush()
            raise
        sys.stdout.flush()
    except UserError as error:
        message = say_error(error)
        print(message if message.startswith("destila ") else f"destila: {message}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output left; Python must not complain about it at exit
        sys.stdout = None
        sys.exit(0)
    except OSError as error:  # standard output, or a place that nobody thought of
        if (reason := refusal(error)) is None:
            raise
        if error.filename is None:
            reason = f"cannot be written: {error.strerror}", "Send it elsewhere; it is not complete."
        place = str(error.filename or "standard output")
        print(f"destila: {say_error(UserError(place, *reason))}", file=sys.stderr)
        sys.stdout = None  # as above: what is still in its buffer cannot be written either
        sys.exit(2)
    except KeyboardInterrupt:
        print(say("destila: interrupted"), file=sys.stderr)
        sys.exit(130)
