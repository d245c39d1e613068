"""How to load a model, and the commands that make it again, from the records of its runs."""

import shlex

from destila.core.runs import destila_version
from destila.core.strict_json import dumps
from destila.reporting.provenance import Provenance, lineage, shown_place

# The setting that names a parent, by its role and the command.
NAMED_BY = {
    "teacher": {"distill": "--teacher.name"},
    "starting point": {"distill": "--student.name", "finetune": "--model.name", "pretrain": "--model.name"},
}


def repeat_commands(model: Provenance) -> list[str]:
    """The command lines that make the model again, in order, from the settings that were written down.

    `settings.toml` holds every setting resolved, so that they do not depend on defaults that may change. Each makes a
    directory beside the old one, and what comes after it is made of the new one.
    """
    commands, made = list[str](), set[str]()
    for one in lineage(model):
        if one.has_run and one.verb:
            parts = ["destila", one.verb, "--config", one.settings_file, "--output", _again(one)]
            for parent in one.parents:
                if parent.name in made and parent.role in NAMED_BY:
                    flag = NAMED_BY[parent.role].get(one.verb, "")
                    parts += [flag, _again(parent)] if flag else []
            commands.append(shlex.join(parts))
            made.add(one.name)
        exported = [parent for parent in one.parents if parent.role == "exported from"]
        if exported and "format" in one.metadata:
            form, precision = str(one.metadata["format"]), str(one.metadata.get("precision", "fp32"))
            source = _again(exported[0]) if exported[0].name in made else shown_place(exported[0].name)
            parts = ["destila", "export", "--model", source, "--output", _again(one)]
            commands.append(shlex.join([*parts, "--format", form, "--precision", precision]))
            made.add(one.name)
    return commands


def _again(model: Provenance) -> str:
    """Where a model is made again: beside the old one, or among the runs if that is not here."""
    place = shown_place(model.name).rstrip("/") if model.is_local else f"runs/{model.name}"
    return f"{place}-again"


def reader_snippet(name: str | None) -> str:
    """The lines of Python that load a reader (None: the one that ships) and ask it."""
    argument = "" if name is None else dumps(name)
    return "\n".join(
        [
            "from destila import Reader",
            "",
            f"reader = Reader.load({argument})  # Destila {destila_version()}",
            'answer = reader.answer("¿Quién...?", text)',
            "print(answer.text, answer.start, answer.end, answer.score)  # text is None: no answer",
        ]
    )
