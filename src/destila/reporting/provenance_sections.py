"""The sections about where the models come from: training, layers, mistakes, cost, data and licenses, how to repeat."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from destila.core.formatting import NOTHING, count, date, duration, share, small, words
from destila.core.records import Missing
from destila.core.strict_json import dumps, finite
from destila.data.sources import find
from destila.evaluation.errors import KINDS, VERSUS
from destila.inference.places import SHIPPED, SHIPPED_NAME
from destila.reporting import svg
from destila.reporting.card_metadata import LICENSE_IDS, license_of, unsettled
from destila.reporting.document import Block, Browser, Code, Paragraph, Picture, Pictures, Section, Table
from destila.reporting.facts import Curve, Facts, LayerAgreement, Matrix, ModelFacts, RunFacts
from destila.reporting.provenance import Provenance, all_data, all_licenses
from destila.reporting.repeat import reader_snippet, repeat_commands

CURVE_KINDS = {
    "loss": "the loss and its terms before their weights",
    "dev": "on dev",
    "other": "learning rate, gradient and speed",
}


# ---------------------------------------------------------------------------------------------------- training
def training(facts: Facts) -> Section:
    """The curves of every run behind the models."""
    blocks: list[Block] = []
    for run in facts.runs:
        if run.curves:
            blocks += _curves(run)
    missing = [
        model.label for model in facts.models if not model.origin.has_run and not _has_curves(facts, model.origin)
    ]
    if missing:
        blocks.append(Paragraph(f"No training run is here for {words(missing)}, so there are no curves of it."))
    return Section("training", "How it learned", tuple(blocks))


def _has_curves(facts: Facts, origin: Provenance) -> bool:
    """Whether the run of the model, or of that which it was exported from, is among the runs."""
    known = {run.origin.name for run in facts.runs}
    return any(parent.name in known for parent in origin.parents if parent.role == "exported from")


def _curves(run: RunFacts) -> list[Block]:
    blocks: list[Block] = [Paragraph(f"{run.label} ({run.origin.verb or 'run'}), {count(run.steps)} steps.")]
    for kind, what in CURVE_KINDS.items():
        drawn = [curve for curve in run.curves if curve.kind == kind]
        if drawn:
            blocks.append(Pictures(tuple(_curve(run.label, curve) for curve in drawn)))
            blocks.append(_curve_table(f"{run.label}: {what}", drawn))
    return blocks


def _curve(label: str, curve: Curve) -> Picture:
    first, last = curve.points[0], curve.points[-1]
    description = (
        f"{curve.name} over the steps of {label}: {small(first[1])} at step {first[0]}, {small(last[1])} at step "
        f"{last[0]}, lowest {small(curve.low[1])} at step {curve.low[0]}, highest {small(curve.high[1])} at step "
        f"{curve.high[0]}."
    )
    return svg.curves(
        [(curve.name, curve.points)], title=f"{label}: {curve.name}", description=description, across="step"
    )


def _curve_table(caption: str, drawn: Sequence[Curve]) -> Table:
    rows = tuple(
        (
            curve.name,
            count(curve.count),
            small(curve.points[0][1]),
            f"{small(curve.low[1])} (step {curve.low[0]:,})",
            f"{small(curve.high[1])} (step {curve.high[0]:,})",
            small(curve.points[-1][1]),
        )
        for curve in drawn
    )
    return Table(caption, ("Number", "Values", "First", "Lowest", "Highest", "Last"), rows)


# ---------------------------------------------------------------------------------------------------- layers
def inside(facts: Facts) -> Section:
    """How alike teacher and student are, layer by layer."""
    found = facts.agreement
    title = "How alike they are inside"
    if isinstance(found, Missing):
        return Section("inside", title, (Paragraph(f"Not computed: {found.reason}"),))
    whose = "its run mapped it to" if found.trained else "the uniform map gives it"
    words_note = (
        "Their tokenizers differ, so the tokens of a word are taken together, and those of the question. "
        if found.unit == "words"
        else ""
    )
    text = (
        f"{found.student} and {found.teacher} read the same {found.windows} windows ({found.tokens:,} {found.unit}). "
        f"{words_note}Hidden "
        "states of different widths are compared by linear CKA (1: the same up to a rotation and a scale), attention "
        "by 1 minus the Jensen-Shannon divergence of the mean over heads, in bits (1: the same). Each layer stands "
        f"beside the teacher's that {whose}."
    )
    rows = tuple(_layer(found, layer) for layer in range(len(found.mapping)))
    head = ("Student's layer", "Teacher's", "Hidden states", "Attention", "Most alike")
    note = "Layer 0 is the embedding output, which has no attention. Most alike: the teacher's layer of highest CKA."
    table = Table("Agreement with the teacher, layer by layer", head, rows, note=note)
    shown = (
        _heatmap("Agreement of hidden states", found, found.hidden, first=0),
        _heatmap("Agreement of attention", found, found.attention, first=1),
    )
    return Section("inside", title, (Paragraph(text), Pictures(shown), table))


def _layer(found: LayerAgreement, layer: int) -> tuple[str, ...]:
    """What one layer of the student agrees with."""
    mapped, hidden = found.mapping[layer], found.hidden[layer]
    attention = f"{found.attention[layer - 1][mapped - 1]:.3f}" if layer else NOTHING
    return str(layer), str(mapped), f"{hidden[mapped]:.3f}", attention, str(hidden.index(max(hidden)))


def _heatmap(title: str, found: LayerAgreement, matrix: Matrix, *, first: int) -> Picture:
    mapping = found.mapping[first:]
    mean = sum(row[column - first] for row, column in zip(matrix, mapping, strict=True)) / len(mapping)
    description = (
        f"Every layer of {found.student} with every layer of {found.teacher}; {mean:.3f} on average between those that "
        "belong together."
    )
    return svg.heatmap(matrix, mapping, first=first, title=title, description=description)


# ---------------------------------------------------------------------------------------------------- mistakes
def mistakes(facts: Facts) -> Section:
    """The browser of errors, and how many there are of each kind."""
    found, scored = facts.mistakes, facts.questions["scored"]
    kinds = tuple(
        (f"{name}: {KINDS[name]}", count(number), share(number / scored)) for name, number in found.kinds.items()
    )
    blocks: list[Block] = [
        Paragraph(
            f"{count(found.total)} of {count(scored)} questions on which {facts.subject}"
            + (f" or {facts.reference}" if facts.reference else "")
            + f" is not exactly right by the {facts.normalizer} rules."
            + _unplaced(facts)
        ),
        Table("Kinds of error", (f"What {facts.subject} does", "Questions", "of all"), kinds),
    ]
    if facts.reference:
        versus = tuple((VERSUS[name], count(number), share(number / scored)) for name, number in found.versus.items())
        table = Table(
            f"{facts.subject} (the model) and {facts.reference} (the reference)",
            ("Who is wrong", "Questions", "of all"),
            versus,
        )
        blocks.append(table)
    models = (("model", facts.subject), *((("reference", facts.reference),) if facts.reference else ()))
    blocks.append(Browser(found, models))
    return Section("errors", "What it gets wrong", tuple(blocks))


def _unplaced(facts: Facts) -> str:
    number = facts.questions["answers without a place"]
    text = "as published do not stand in their text: they are not marked there, and no error is placed by them."
    return f" {count(number)} right answers {text}" if number else ""


# ---------------------------------------------------------------------------------------------------- cost
def cost(facts: Facts) -> Section:
    """Time and energy of the runs."""
    if not facts.runs:
        text = "No training run is here, so nothing is known of its time, and energy cannot be estimated."
        return Section("cost", "What it cost to make", (Paragraph(text),))
    rows: tuple[tuple[str, ...], ...] = tuple(
        (
            run.label,
            run.origin.verb or "?",
            run.origin.status,
            run.origin.device or run.origin.environment.get("processor", "?"),
            count(run.steps),
            duration(run.origin.seconds) + ("*" if run.origin.paused else ""),
            f"{run.energy.kilowatt_hours:.4g} kWh" if run.energy else NOTHING,
        )
        for run in facts.runs
    )
    if len(facts.runs) > 1:
        rows = (*rows, _total(facts.runs))
    starred = any(run.origin.paused for run in facts.runs)
    note = "* from the start to the last line of metrics, pauses included." if starred else ""
    head = ("Run", "Command", "State", "Device", "Steps", "Time", "Energy, estimated")
    table = Table("Time, and an estimate of energy", head, rows, frozenset({0, 1, 2, 3}), note)
    assumptions: dict[str, list[str]] = {}
    for run in facts.runs:
        if run.energy:
            assumptions.setdefault(run.energy.assumption, []).append(run.label)
    estimate = "Energy is an estimate, not a measurement: time multiplied by an assumed power. "
    estimate += " ".join(f"{words(labels)}: {assumption}." for assumption, labels in assumptions.items())
    return Section("cost", "What it cost to make", (table, Paragraph(estimate)))


def _total(runs: Sequence[RunFacts]) -> tuple[str, ...]:
    """The row of all runs together, as far as their times and powers are known."""
    seconds = [run.origin.seconds for run in runs if run.origin.seconds is not None]
    energy = [run.energy.kilowatt_hours for run in runs if run.energy]
    sums = (duration(sum(seconds)) if seconds else NOTHING, f"{sum(energy):.4g} kWh" if energy else NOTHING)
    return ("together", *[""] * 4, *sums)


# ---------------------------------------------------------------------------------------------------- use and repeat
def data(facts: Facts) -> Section:
    """What it was made of and judged on, under which licenses."""
    subject = facts.model(facts.subject).origin
    used = [*all_data(subject), *facts.judged]
    rows = tuple(
        (item.name, item.use, source.name, source.license or "not stated", source.attribution or "not stated")
        for item in used
        for source in item.sources
    )
    table = Table("Data", ("File or name", "Used for", "Holds", "License", "To be named"), rows, frozenset(range(5)))
    return Section("data", "Data and licenses", (Paragraph(_license_sentence(subject)), table))


def license_answer(subject: Provenance) -> str:
    """Whether one may use a model, by the licenses of what it was trained on."""
    used = all_data(subject)
    if not used:
        return "Nobody says. Nothing here says which data it was trained on: ask whoever gave it to you."
    license, _ = license_of(used)
    if license == "other":
        open_cases = [f"{one.name} ({one.license or 'no license stated'})" for one in unsettled(used)]
        return f"To try it, yes; for more, ask first about {words(open_cases)}."
    name = {hub_id: name for name, hub_id in LICENSE_IDS.items()}[license]
    return (
        f"Yes, also commercially: the weights carry {name}, the strictest license of their training data. Name those "
        "who made the data."
    )


def _license_sentence(subject: Provenance) -> str:
    """What the licenses of the data behind a model say about using it."""
    found, text = all_licenses(subject), license_answer(subject)
    stated = [license for license in found if license]
    if stated:
        text += " Whom to name stands in the last column."
    if any("-SA" in license for license in stated):
        text += " Some data are share-alike (SA): who passes weights on does so under the same license."
    if any("-NC" in license for license in stated):
        text += " Some are not for commercial use (NC)."
    if unknown := [source.name for source in found.get("", [])]:
        text += (
            f" No license is stated for {words(unknown)}: find it out before you use the weights for more than a trial."
        )
    return f"{text} Destila's code is under Apache-2.0."


def repeat(facts: Facts) -> Section:
    """How to load it, check the numbers, and make everything again."""
    subject = facts.model(facts.subject)
    ships = subject.name == SHIPPED_NAME or Path(subject.name).resolve() == SHIPPED
    blocks: list[Block] = [Code("Load it in Python", reader_snippet(None if ships else subject.name), "python")]
    model = "" if ships else f" --model {subject.name}"
    blocks.append(Code("Ask it from the shell", f"destila answer '¿Quién...?' --context text.txt{model}", "sh"))
    if not facts.limited:
        title = "Score the predictions beside this page again, without any model"
        blocks.append(Code(title, "\n".join(_check(facts, model) for model in facts.models), "sh"))
    blocks.append(Code("Make this report again", facts.command, "sh"))
    if commands := repeat_commands(subject.origin):
        blocks.append(Code(f"Make {subject.label} again, from the settings of its runs", "\n".join(commands), "sh"))
        if away := _missing_data(subject.origin):
            blocks.append(Paragraph(f"Needed for that, and not here: {words(away)}. What they hold stands under Data."))
    else:
        blocks.append(Paragraph(f"No run of {subject.label} is here, so the commands that made it are not known."))
    for run in facts.runs:
        blocks.append(Code(f"{run.label}: command and environment", _environment(run), "text", folded=True))
        blocks.append(Code(f"{run.label}: settings", run.origin.settings_text, "toml", folded=True))
    blocks.append(Code("Where this report was made", dumps(dict(facts.environment), indent=2), "json", folded=True))
    if subject.origin.metadata:
        about = dumps(finite(subject.origin.metadata), indent=2)
        blocks.append(Code(f"{subject.label}: destila.json", about, "json", folded=True))
    return Section("repeat", "Load it, repeat it", tuple(blocks))


def _missing_data(origin: Provenance) -> list[str]:
    """What a model was made of that is neither a file here nor a data set with a name."""
    names = dict.fromkeys(item.name for item in all_data(origin) if item.use != "judged")
    return [name for name in names if not find(name) and not Path(name).exists()]


def _check(facts: Facts, model: ModelFacts) -> str:
    """The command that scores the raw predictions of a model."""
    path = Path(facts.directory, model.predictions).with_suffix(".json")
    data = [part for item in facts.judged for part in ("--data", item.name)]
    options = ["--seed", str(facts.seed), "--resamples", str(facts.resamples), *["--repair"] * facts.repaired]
    return shlex.join(["destila", "evaluate", "--from-predictions", str(path), *data, *options])


def _environment(run: RunFacts) -> str:
    origin = run.origin
    lines = [f"command  {origin.command}", f"started  {date(origin.started)}", f"seed     {origin.seed}"]
    lines += [f"version  {origin.version}", f"device   {origin.device or 'not recorded'}"]
    return "\n".join([*lines, dumps(finite(origin.environment), indent=2)])
