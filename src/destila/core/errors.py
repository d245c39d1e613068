"""The one exception that users see: where it happened, what is wrong, what to do.

Everything that a user can get wrong raises `UserError`; the command line prints it without a traceback and leaves with
code 2. Any other exception is a bug of ours and leaves with code 1.
"""

from collections.abc import Sequence

SHOWN_PROBLEMS = 10


class UserError(Exception):
    """A mistake that the user can mend.

    Args:
        where: the file, directory, setting or argument that is wrong.
        problem: what is wrong with it, with the offending value.
        remedy: what to do about it, as a sentence.
    """

    def __init__(self, where: str, problem: str, remedy: str = "") -> None:
        super().__init__(where, problem, remedy)
        self.where, self.problem, self.remedy = where, problem, remedy

    def __str__(self) -> str:
        return sentence(self.where, self.problem, self.remedy)

    @classmethod
    def from_problems(cls, where: str, problems: Sequence[str], remedy: str = "") -> "UserError":
        """One error for all problems of a file; the first ten are shown."""
        if len(problems) == 1:
            return cls(where, problems[0], remedy)
        shown = "".join(f"\n  - {problem}" for problem in problems[:SHOWN_PROBLEMS])
        more = f"\n  - and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
        return cls(where, f"{len(problems)} problems:{shown}{more}", remedy)


def sentence(where: str, problem: str, remedy: str) -> str:
    """The three parts of an error as people read them."""
    joint = "\n" if "\n" in problem else " "
    stop = "" if problem.endswith(("?", "!")) else "."
    return f"{where}: {problem.rstrip('.')}{stop}{joint}{remedy}".rstrip()


class UnwritableError(UserError):
    """A place that the system lets nobody write to."""


class NotFiniteError(UserError):
    """A model whose scores are not finite numbers: broken, or, during training, diverged."""
