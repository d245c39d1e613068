"""What a finished run leaves, made by hand: what the tests of cards and of pushing share."""

import json
from pathlib import Path

from tiny import tiny_reader

METADATA = {
    "window": {"length": 96, "stride": 8, "max_answer_tokens": 10},
    "no_answer_threshold": None,
    "version": "0.1.0",
    "source": {"command": "finetune", "model": "random", "data": []},
}


def run_directory(path: Path, *, train: list[str], **record: object) -> Path:
    """What a finished run leaves, made by hand."""
    path = tiny_reader(path, metadata={**METADATA, "source": {**METADATA["source"], "data": train}})
    environment = {"cores": 2, "processor": "Some CPU", "python": "3.11.7", "libraries": {"torch": "2.13.0"}}
    run = {"status": "finished", "version": "0.1.0", "seed": 1, "started": 0.0, "device": "cpu", "seconds": 7200.0}
    (path / "run.json").write_text(json.dumps({**run, "environment": environment, **record}))
    settings = (
        f"[model]\nname = ''\n[data]\ntrain = {json.dumps(train)}\n[training]\nsteps = 12\nepochs = 3.0\nseed = 1\n"
    )
    (path / "settings.toml").write_text(settings)
    return path
