"""The table of a data set's card, against what the data set holds."""

import re
from collections.abc import Mapping, Sequence


def check_counts(card: str, counts: Mapping[str, Sequence[int]]) -> list[int]:
    """Each file's row, and the last one of all together, say its counts. Returns those of all together."""
    total = [sum(column) for column in zip(*counts.values(), strict=True)]
    for label, expected in [*((f"`{name}.json`", found) for name, found in counts.items()), ("together", total)]:
        row = next(line for line in card.splitlines() if line.startswith(f"| {label} |"))
        cells = [int(re.match(r"\d+", cell.strip()).group()) for cell in row.split("|")[2:-1]]  # type: ignore[union-attr]
        assert cells == list(expected), label
    return total
