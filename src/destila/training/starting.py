"""The models that a run starts from: loaded by name, their commits on the hub noted, and found again by `--resume`.

A name without a revision means whatever the hub holds today, and a run may be resumed tomorrow: so it goes on with the
commit that run.json noted when it started.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from destila.config import ModelSettings, PretrainedModelSettings, RunSettings
from destila.core.runs import RUN_FILE, read_json
from destila.models.files import LoadedModel, load_reader
from destila.models.growth import grow


def load_start(settings: RunSettings, name: str, *, revision: str | None = None, dropout: float) -> LoadedModel:
    """Load a model to start from; a run that is resumed goes on with the commit that it started with.

    Raises:
        UserError: as `load_reader` does.
    """
    path, repository = Path(settings.output) / RUN_FILE, name.partition("@")[0]
    record = read_json(path) if settings.resume and path.exists() else {}
    commit = record.get("source", {}).get("commits", {}).get(repository)
    if commit:
        return load_reader(repository, revision=commit, dropout=dropout)
    return load_reader(name, revision=revision, dropout=dropout)


def grown(reader: LoadedModel, model: ModelSettings | PretrainedModelSettings, *, seed: int) -> LoadedModel:
    """The model at the shape of the settings, if they ask for that.

    Raises:
        UserError: as `grow` does.
    """
    return replace(reader, model=grow(reader.model, model.shape, seed=seed)) if model.grow else reader


def commits(*readers: LoadedModel) -> dict[str, Any]:
    """What `source` in run.json and destila.json says of readers that came from the hub; empty if none did."""
    found = {reader.name: reader.commit for reader in readers if reader.commit}
    return {"commits": found} if found else {}
