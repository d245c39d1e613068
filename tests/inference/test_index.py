"""Words of a question find those of the texts whatever accents and hidden characters either has."""

import pytest

pytest.importorskip("bm25s", reason="the extra documents is not installed")

from destila.core.characters import without_accents
from destila.inference.documents.index import PassageIndex

WORDS = (
    "dirigió nació escribió fundó construyó llegó ganó murió recibió publicó estudió trabajó comenzó creó vivió abrió "
    "árbol número país canción población música público teléfono inglés francés además también todavía después días "
    "había tenía podía sería hacía jardín corazón camión árboles números canciones médico página república economía "
    "histórico política españoles pingüino año niña mañana compañía"
)
COMMON = WORDS.split()
OTHERS = ["Un texto de relleno.", "Otra frase sin nada.", "Aquí se habla del tiempo."]


def index_of(*texts):
    return PassageIndex.of([(f"{number}.txt", text) for number, text in enumerate(texts)], 400)


def matched(index, question):
    return [passage.path for passage in index.best(question, 3) if passage.score > 0]


@pytest.fixture(scope="module")
def accented():
    return index_of(*OTHERS, *(f"Texto {word} fin." for word in COMMON))


@pytest.fixture(scope="module")
def bare():
    return index_of(*OTHERS, *(f"TEXTO {without_accents(word).upper()} FIN." for word in COMMON))


@pytest.mark.parametrize("word", COMMON)
def test_accents_are_optional_in_questions_and_in_texts(accented, bare, word):
    path = f"{len(OTHERS) + COMMON.index(word)}.txt"
    for index in (accented, bare):
        for asked in (word, without_accents(word), word.upper()):
            found = {passage.path: passage.score for passage in index.best(asked, len(index)) if passage.score > 0}
            assert path in found
            assert found[path] == max(found.values())


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("Dirigieron la orquesta.", "¿Quién dirigio?"),
        ("Nació en Lima.", "¿Dónde nacio?"),
        ("La biblio\u00adteca abre.", "biblioteca"),
        ("La biblio\u200bteca abre.", "bibliotecas"),
        ("La biblioteca abre.", "biblio\u00adteca"),
        ("\ufeffMadrid es grande.", "Madrid"),
        ("Un cami\u00ado\u0301n.", "camion"),
    ],
)
def test_other_forms_and_hidden_characters_are_bridged(text, question):
    assert matched(index_of(*OTHERS, text), question) == [f"{len(OTHERS)}.txt"]


def test_forms_are_kept_with_the_index(tmp_path):
    index = index_of(*OTHERS, "Dirigió la orquesta.")
    index.save(tmp_path / "index")
    loaded = PassageIndex.load(tmp_path / "index", [f"{number}.txt" for number in range(4)])
    assert loaded.best("dirigio", 4) == index.best("dirigio", 4)
    assert matched(loaded, "dirigio") == ["3.txt"]
    (tmp_path / "index" / "forms.json").unlink()
    with pytest.raises(FileNotFoundError):
        PassageIndex.load(tmp_path / "index", ["0.txt"])
