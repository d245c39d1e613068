"""The plots of docs/results.md, drawn from its own tables, so that a figure stands in one place.

    python scripts/plots.py     write docs/plots/*.svg anew

A plot takes the first table of a section in which its column stands. A cell gives its first number; in brackets behind
it may stand an interval, of which the upper end is drawn. Rows without a number are left out.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from destila.core.errors import UserError
from destila.core.runs import write_text
from destila.reporting.svg import Bar, Dot, bar_chart, scatter_chart

DOCS = Path(__file__).parents[1] / "docs"
NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")


@dataclass(frozen=True)
class Plot:
    """A plot of one section's table.

    Attributes:
        name: of the file; `section`: heading of the section.
        column: heading of the values; `across`: of the horizontal ones of a curve, else bars are drawn.
        title, axis: what stands above and below.
    """

    name: str
    section: str
    column: str
    title: str
    axis: str
    across: str = ""
    logarithmic: bool = False


PLOTS = (
    Plot("reading", "The bundled model", "must answer: F1 / EM", "F1 where it must answer (n = 1,419)", "F1, %"),
    Plot("exports", "Exports agree", "`models/reader`: same text", "Same answer as torch (n = 1,942)", "%"),
    Plot("answering", "Answering: teacher and student, torch, OpenVINO and ONNX", "p50, 384 tokens",
         "One question of 384 tokens, two cores", "ms, each line ten times the last", logarithmic=True),
    Plot("peers", "Against what one would write otherwise", "questions/s", "Readers, two cores", "questions a second"),
    Plot("cold", "A cold `destila answer`", "the paper's student, 384 tokens", "From a cold shell to the answer", "s"),
    Plot("cutting", "Cutting a text before a language model reads it", "answers that stay, %",
         "Sentences that the answer needs (n = 300)", "tokens cut, %", across="tokens cut, %"),
    Plot("server", "The server under load", "per second", "Requests a second, 64 clients", "requests/s"),
    Plot("load", "How long an answer takes at a given load", "p99, ms", "99 of 100 answers come within, by load",
         "requests a second", across="asked a second", logarithmic=True),
    Plot("step", "A training step against the published loop", "examples/s", "Training, two cores", "examples/s"),
    Plot("full-size", "Full size runs", "seconds", "The paper's sizes on two cores", "s, each line ten times the last",
         logarithmic=True),
)  # fmt: skip


def tables_of(document: str, section: str) -> list[list[list[str]]]:
    """The tables of a section, each as its rows of cells, the heading first and without the line under it.

    Raises:
        UserError: there is no such section.
    """
    heading = re.search(rf"^(##+) {re.escape(section)}$", document, re.M)
    if heading is None:
        raise UserError(section, "is no section of docs/results.md", "Mend PLOTS in scripts/plots.py.")
    body = re.split(rf"^#{{2,{len(heading[1])}}} ", document[heading.end() :], maxsplit=1, flags=re.M)[0]
    blocks = re.findall(r"(?:^\|.*\n)+", body + "\n", re.M)
    return [
        [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.splitlines()]
        for block in blocks
    ]


def plain(cell: str) -> str:
    """A cell without signs of Markdown."""
    return re.sub(r"[*`]", "", cell)


def number_of(cell: str) -> tuple[float, float] | None:
    """(value, upper end of its interval) of a cell; without an interval twice the value, without a number None."""
    found = [float(number.replace(",", "")) for number in NUMBER.findall(plain(cell))]
    if not found:
        return None
    has_interval = re.match(rf"\s*{NUMBER.pattern} \[{NUMBER.pattern}, {NUMBER.pattern}\]", plain(cell))
    return found[0], found[2] if has_interval else found[0]


def drawn(plot: Plot, document: str) -> str:
    """The plot as the text of an SVG file.

    Raises:
        UserError: its section has no such column.
    """
    wanted = {plot.column, plot.across or plot.column}
    tables = [table for table in tables_of(document, plot.section) if wanted <= set(table[0])]
    if not tables:
        raise UserError(plot.name, f"finds no column {plot.column!r}", "Mend PLOTS in scripts/plots.py.")
    head, _, *rows = tables[0]
    value = head.index(plot.column)
    shown = [(row, found) for row in rows if (found := number_of(row[value]))]
    if not plot.across:
        bars = [Bar(label_of(row[0]), *found, plain(row[value])) for row, found in shown]
        return bar_chart(bars, title=plot.title, axis=plot.axis, logarithmic=plot.logarithmic)
    across = head.index(plot.across)
    dots = [
        Dot(label_of(row[0]), at[0], found[0], 1.0, on_line=True, chosen="as it comes" in row[0])
        for row, found in shown
        if (at := number_of(row[across]))
    ]
    return scatter_chart(
        dots, title=plot.title, x_axis=plot.axis, y_axis=plot.column, largest=5.0, logarithmic=plot.logarithmic
    )


def label_of(cell: str) -> str:
    """What stands beside a bar: a row's name; of a long one neither what is in parentheses nor what follows a comma."""
    name = plain(cell)
    if len(cell) > 40:
        name = re.sub(r"\s*\([^)]*\)(?! *\w)", "", name)
    return name.split(",")[0][:44] if len(name) > 44 else name


def main() -> None:
    """Write all plots."""
    document = (DOCS / "results.md").read_text(encoding="utf-8")
    for plot in PLOTS:
        path = DOCS / "plots" / f"{plot.name}.svg"
        path.parent.mkdir(exist_ok=True)
        write_text(path, drawn(plot, document))
        print(path)


if __name__ == "__main__":
    main()
