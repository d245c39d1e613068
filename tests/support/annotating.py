"""Two passages, one of them with characters beyond UTF-16's units, and questions to decide about them."""

from destila.data.generation.drafts import Passage
from tiny import example

LIMA = "Lima 🏛️👩🏽‍🚒 fue fundada por Francisco Pizarro el 18 de enero de 1535. Hoy es la capital 🇵🇪 del Perú."
RIVER = "El río Amazonas nace en los Andes y desemboca en el océano Atlántico; mide unos 6992 kilómetros."
PASSAGES = [Passage("lima.txt", LIMA), Passage("río.txt", RIVER)]
SUGGESTIONS = [
    example("quién", "¿Quién fundó Lima?", LIMA, "Francisco Pizarro", title="lima.txt"),
    example("cuándo", "¿Cuándo se fundó?", LIMA, "18 de enero", title="lima.txt"),
    example("alcalde", "¿Quién es su alcalde?", LIMA, title="lima.txt"),
    example("nace", "¿Dónde nace?", RIVER, "Andes", title="río.txt"),
]
