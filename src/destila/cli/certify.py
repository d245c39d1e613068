"""`destila certify`: check what is guaranteed of a reader, and write into its destila.json and its card what held."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from destila.cli.result import show
from destila.config import CertifySettings
from destila.core.language import say
from destila.evaluation.certification import Certificate, certify, is_local
from destila.reporting.card import is_unchanged, write_card
from destila.reporting.card_metadata import CARD_FILE


def run(settings: CertifySettings) -> None:
    """Check, write, and print each guarantee; leave with 1 where one does not hold."""
    found = certify(settings=settings)
    written = settings.write and is_local(settings.model)
    if written and (Path(settings.model or "") / CARD_FILE).exists() and is_unchanged(Path(settings.model or "")):
        write_card(Path(settings.model or ""))
    result = {**asdict(found), "passed": found.passed}
    show(result, "\n".join(_lines(found, written=written)), json=settings.json)
    if not found.passed:
        sys.exit(1)


def _lines(found: Certificate, *, written: bool) -> Iterator[str]:
    precision, questions = found.precision, found.questions
    yield say(f"{found.model}, run by {found.backend} in {precision}: {questions:,} questions of {found.data}")
    for check in found.checks:
        verdict = "not checked" if check.passed is None else "pass" if check.passed else "FAIL"
        detail = f"; {say(check.detail)}" if check.detail else ""
        yield f"{say(verdict)}: {say(check.name)} ({check.n:,} {say(check.of)}){detail}"
    if written:
        yield say(f"written to the destila.json of {found.model}")
