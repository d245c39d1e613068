"""The verbs of the command line: what each does, and where its settings and its module are."""

from importlib import import_module
from typing import Any

from destila.core.errors import UserError
from destila.core.language import say

VERBS = {
    "data check": "check every answer of a data set against its context",
    "data fetch": "download a named data set",
    "data convert": "convert between SQuAD JSON, JSONL and Parquet",
    "data augment": "labeled questions -> more of them to train on",
    "data generate": "a folder of documents -> questions about them",
    "annotate": "a page where a person marks questions and answers in documents",
    "pretrain": "raw text -> encoder",
    "finetune": "encoder + questions -> teacher",
    "distill": "teacher + questions -> student",
    "adapt": "reader + a folder of documents -> a reader that knows them",
    "trim": "multilingual model -> one with only the tokens that your texts use",
    "evaluate": "score models or predictions",
    "calibrate": "the probability that an answer is right, and a promise of how many are wrong",
    "certify": "check what is guaranteed of a reader, and write down what held",
    "export": "reader -> ONNX or OpenVINO, proven to answer the same",
    "report": "one page: scores, curves, errors, cost, how to repeat it",
    "card": "the model card of a run or an export",
    "push": "upload a reader to the Hugging Face hub",
    "bench": "time readers against each other",
    "answer": "answer a question from a text",
    "serve": "answer over HTTP, with a page for people",
    "mcp": "answer the questions of agents: tools over the Model Context Protocol",
}
# library -> the extra that brings it
EXTRAS = {
    "torch": "train",
    "transformers": "train",
    "accelerate": "train",
    "safetensors": "train",
    "pyarrow": "data",
    "fastapi": "serve",
    "prometheus_client": "serve",
    "uvicorn": "serve",
    "jinja2": "report",
    "markupsafe": "report",
    "mcp": "mcp",
}


def usage() -> str:
    """The overview that `destila --help` prints."""
    width = max(map(len, VERBS))
    lines = [f"  destila {verb:{width}}  {say(text)}" for verb, text in VERBS.items()]
    head = say("usage: destila VERB [--config FILE.toml] [--setting value]...")
    foot = say("destila VERB --help shows every setting; destila --version the version.")
    return "\n".join([head, "", *lines, "", foot])


def settings_class(verb: str) -> Any:
    """The settings of a verb: `DataCheckSettings` of `data check`."""
    return getattr(import_module("destila.config"), f"{verb.title().replace(' ', '')}Settings")


def module_of(verb: str) -> Any:
    """The module of a verb: `destila.cli.data_check` of `data check`; imported now.

    Raises:
        UserError: its libraries are not installed. (A module of our own that is missing is a bug.)
    """
    try:
        return import_module(f"destila.cli.{verb.replace(' ', '_')}")
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in EXTRAS:
            raise
        remedy = f"pip install 'destila[{EXTRAS[name]}]'"
        raise UserError(f"destila {verb}", f"needs {name}, which is not installed", remedy) from error
