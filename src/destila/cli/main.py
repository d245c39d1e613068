"""The command line: one settings dataclass and one `run(settings)` per verb, nothing that the Python API lacks.

stdout carries the result, stderr the progress. Exit codes: 0 done, 2 the user's mistake, 1 our bug, 75 a time slice
is over and 128 + n signal n came (both after saving: resume). `bench --pareto` leaves with 1 where nothing keeps the
budget. Modules are imported only when their verb is called.
"""

import os
import sys
from collections.abc import Sequence

from destila.cli.verbs import VERBS, module_of, settings_class, usage
from destila.config.flags import parse_arguments, tell_as_typed, typed_names
from destila.core.characters import harmless
from destila.core.errors import UserError
from destila.core.language import language_of, say, say_error, speak
from destila.core.progress import on_stderr, ready_streams
from destila.core.runs import destila_version, refusal
from destila.core.suggestions import nearest


def dispatch(arguments: Sequence[str]) -> None:
    """Run one command line.

    Raises:
        UserError: the user's mistake.
    """
    verb = " ".join(arguments[: 2 if arguments and arguments[0] == "data" else 1])
    if verb in ("", "--help", "-h", "help", "data", "data --help", "data -h"):
        print(usage())
        return
    if verb == "--version":
        print(f"destila {destila_version()}")
        return
    if verb not in VERBS:
        raise UserError(verb, f"no such verb{nearest(verb, list(VERBS))}", "destila --help lists them.")
    arguments = arguments[len(verb.split()) :]
    settings = parse_arguments(settings_class(verb), arguments, command=f"destila {verb}")
    command = module_of(verb)
    try:
        with on_stderr():
            command.run(settings)
    except UserError as error:
        tell_as_typed(error, typed_names(settings_class(verb), arguments))
        raise


def main() -> None:
    """Entry point of the `destila` command."""
    ready_streams()
    speak(language_of(os.environ))
    try:
        try:
            dispatch(sys.argv[1:])
        finally:  # also after --help
            sys.stdout.flush()
    except UserError as error:
        message = harmless(say_error(error))
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
