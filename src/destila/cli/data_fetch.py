"""`destila data fetch`: download a named data set and say where its files are, under which license."""

from pathlib import Path
from typing import Any

from destila.cli.result import show
from destila.config import DataFetchSettings
from destila.data.download import digest
from destila.data.sources import cache_directory, fetch, find, unknown


def run(settings: DataFetchSettings) -> list[Path]:
    """Fetch one file of a named data set, or all of them; what is in the cache already is only checked.

    Raises:
        UserError: no such name, or it cannot be had; says where to put the file by hand.
    """
    sources = find(settings.name)
    if not sources:
        raise unknown(settings.name)
    cache = Path(settings.cache).expanduser() if settings.cache else cache_directory()
    paths = [fetch(source, cache=cache, timeout=settings.timeout) for source in sources]
    width = max(len(source.key) for source in sources)
    entries, lines = list[dict[str, Any]](), list[str]()
    for source, path in zip(sources, paths, strict=True):
        lines.append(f"{source.key:{width}}  {path.stat().st_size:12,} bytes  {source.license:13}  {path}")
        entry = {"name": source.key, "path": str(path), "bytes": path.stat().st_size, "sha256": digest(path)}
        entries.append(entry | {"license": source.license, "address": source.address})
    show({"files": entries}, "\n".join(lines), json=settings.json)
    return paths
