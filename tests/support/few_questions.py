"""The project's own questions, but few of them: for tests in which they only have to be there."""

from pathlib import Path

from destila.data.sources import spread
from destila.data.squad import read, save

ROOT = Path(__file__).parents[2]


def few_questions(directory: Path, *, each: int = 20, test: int = 60) -> None:
    """Write data/nativa/{train,dev,test}.json into a directory."""
    (directory / "data" / "nativa").mkdir(parents=True)
    for name in ("train", "dev", "test"):
        file = Path("data", "nativa", f"{name}.json")
        save(spread(read(ROOT / file, repair=False)[0], test if name == "test" else each), directory / file)
