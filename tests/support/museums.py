"""A folder of museums, what a language model was recorded to say of them, and how it is asked: what tests share."""

import json
from pathlib import Path
from typing import Any

import destila
from destila.data.generation.drafts import Drafts, Passage
from destila.data.generation.prompts import drafts_of
from language_model import LanguageModel

KEY = "sk-secreto-1234567890"
TOWNS = ("Almagro", "Béjar", "Cuéllar", "Daroca", "Estella", "Frómista", "Gáldar", "Haro", "Ibi", "Jaca")


def text(town: str, number: int) -> str:
    return (
        f"El museo de {town} abrió sus puertas en {1901 + number} gracias a la viuda de un relojero. Guarda "
        f"{300 + number} relojes de torre, y lo dirige Carmen Ledesma{number}. La entrada cuesta {number + 2} euros."
    )


def reply(town: str, number: int) -> str:
    """What was recorded of a model: good questions, a paraphrased answer, an easy question, a wrong one."""
    asked = [
        ("quién", f"¿Quién está al frente de la colección de {town}?", f"Carmen Ledesma{number}"),
        ("cuándo", f"¿En qué año se inauguró la colección de {town}?", str(1901 + number)),
        ("cuánto", f"¿Cuánto hay que pagar para visitar la colección de {town}?", f"{number + 2} euros"),
        ("qué", f"¿Qué profesión tenía el marido en la historia de {town}?", "un fabricante de relojes"),
        ("quién", f"¿Quién guarda {300 + number} relojes de torre y lo dirige?", f"Carmen Ledesma{number}"),
        ("dónde", f"¿Dónde nació la benefactora de {town}?", ""),
    ]
    entries = [
        {"tipo": kind, "pregunta": question, "tiene_respuesta": bool(answer), "respuesta": answer}
        for kind, question, answer in asked
    ]
    return json.dumps({"preguntas": entries}, ensure_ascii=False)


RECORDED = {f"museo de {town} ": reply(town, number) for number, town in enumerate(TOWNS)}


def write_folder(folder: Path) -> None:
    """A file for each town."""
    folder.mkdir()
    for number, town in enumerate(TOWNS):
        (folder / f"{town}.txt").write_text(text(town, number), encoding="utf-8")


def generate(model: LanguageModel | None, output: str = "out.json", **more: Any) -> destila.Generated:
    asked = {"url": model.url, "model": "recorded"} if model else {}
    generator = {**asked, "wait": 0.01, "timeout": 0.5, **more.pop("generator", {})}
    chosen = {"agreement": 0.0, "question_word": 1.0, "answer_length": 1.0, **more.pop("filters", {})}
    return destila.generate("folder", output, generator=generator, filters=chosen, cache="cache", **more)


def on_disk(place: Path) -> bytes:
    """All that lies under a directory, names included."""
    return b"".join(
        str(path).encode() + (path.read_bytes() if path.is_file() else b"") for path in sorted(place.rglob("*"))
    )


class RecordedMaker:
    """Makes the recorded questions without a server."""

    def make(self, passage: Passage) -> Drafts:
        """What was recorded of a passage."""
        said = next(said for piece, said in RECORDED.items() if piece in passage.text)
        return Drafts(drafts_of(said) or ())
