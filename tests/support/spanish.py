"""Sentences with names, numbers and repetitions, and texts made of them: what the tests of pre-training read."""

import random

NAMES = ("Lucía Medrano", "Tomás Arrieta", "la doctora Vives", "Íñigo Ortúzar", "Ángela Peña", "el capitán Salas")
PLACES = ("Villarreal", "Ñuble", "Córdoba", "San José", "Puerto Escondido", "Ávila")
THINGS = ("el puente colgante", "la biblioteca municipal", "el mercado de abastos", "la estación", "el observatorio")
PATTERNS = (
    "{name} inauguró {thing} de {place} en {year}.",
    "¿Quién recuerda hoy que {name} vivió en {place} hasta {year}?",
    "Según el censo de {year}, {place} tenía {number} habitantes; hoy son más.",
    "«No volveré a {place}», dijo {name} cuando cerró {thing} (corría el año {year}).",
    "Las obras costaron {number} pesos, un {decimal} % más de lo previsto por {name}.",
    "A las 10:30, {thing} abre sus puertas: la entrada vale {decimal} euros y dura todo el día.",
    "En {place} llueve poco, aunque en {year} cayeron {decimal} litros por metro cuadrado.",
    "{name} y otros vecinos de {place} pidieron que {thing} llevara el nombre de la ciudad.",
)


def sentence(generator: random.Random) -> str:
    """One sentence; names, places and years come from short lists, so that they recur."""
    text = generator.choice(PATTERNS).format(
        name=generator.choice(NAMES),
        place=generator.choice(PLACES),
        thing=generator.choice(THINGS),
        year=generator.choice((1887, 1912, 1936, 1978)),
        number=f"{generator.randint(1, 99)}.{generator.randint(100, 999)}",
        decimal=f"{generator.randint(1, 90)},{generator.randint(1, 9)}",
    )
    return text[:1].upper() + text[1:]


def paragraph(generator: random.Random, sentences: int = 6) -> str:
    """Some sentences in one line."""
    return " ".join(sentence(generator) for _ in range(sentences))


def text(seed: int, *, documents: int = 6, paragraphs: int = 12) -> str:
    """A text file: a paragraph a line, a blank line between documents."""
    generator = random.Random(seed)
    made = ["\n".join(paragraph(generator) for _ in range(paragraphs)) for _ in range(documents)]
    return "\n\n".join(made) + "\n"
