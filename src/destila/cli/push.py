"""`destila push`: a finished run or an export becomes a repository of the hub; shown first, then asked about."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from destila.cli.result import show
from destila.config import PushSettings
from destila.core.errors import UserError
from destila.core.language import say
from destila.reporting.card_metadata import CARD_FILE
from destila.reporting.publish import Upload, gather, hub_token, publish


def run(settings: PushSettings) -> dict[str, Any]:
    """Show, ask, upload; print the repository and its commit.

    Raises:
        UserError: nothing that can be published, nobody logged in, a refusal by the user or by the hub.
    """
    uploads = gather(Path(settings.directory), settings.repository)
    print(_preview(uploads, settings), file=sys.stderr)
    found: dict[str, Any] = {
        "repository": settings.repository,
        "private": settings.private,
        "files": {upload.name: upload.size for upload in uploads},
        "commit": None,
    }
    if not settings.dry_run:
        token = hub_token(settings.repository)
        _confirm(settings)
        found["commit"] = publish(uploads, settings.repository, private=settings.private, token=token)
    done = f"uploaded: {settings.repository}, commit {found['commit']}"
    show(found, say("nothing was uploaded" if settings.dry_run else done), json=settings.json)
    return found


def _preview(uploads: Sequence[Upload], settings: PushSettings) -> str:
    """What would be uploaded, card included, as text."""
    width = max(len(upload.name) for upload in uploads)
    lines = [f"  {upload.name:{width}}  {upload.size:14,} bytes" for upload in uploads]
    card = next(upload.content for upload in uploads if upload.name == CARD_FILE)
    assert isinstance(card, bytes)
    total = sum(upload.size for upload in uploads) / 1e6
    kind = say("private" if settings.private else "public")
    amount = say(f"{len(uploads)} files, {total:.1f} MB")
    head = f"{settings.directory} -> {settings.repository} ({kind}): {amount}"
    return "\n".join([head, *lines, "", f"--- {CARD_FILE} ---", card.decode().rstrip(), "---"])


def _confirm(settings: PushSettings) -> None:
    if settings.yes:
        return
    if not sys.stdin.isatty():
        raise UserError("destila push", "asks before it uploads, and nobody can answer here", "Give --yes.")
    print(say(f"Upload this to {settings.repository}? [y/N] "), end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes", "s", "sí", "si"):
        raise UserError("destila push", "was called off", "Nothing was uploaded.")
