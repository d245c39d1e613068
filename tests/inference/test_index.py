"""Words of a question find those of the texts whatever accents and hidden characters either has."""

import math

import numpy as np
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
        ("La o\ufb01cina abre.", "oficina"),
        ("Un con\ufb02icto.", "conflictos"),
        ("La ﾊﾞ \uff4d\uff45\uff53\uff41.", "mesa"),
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


def test_stems_accents_case_and_the_words_that_make_a_question():
    index = index_of("Las canciones antiguas.", "El que lo dijo fue él.", "FUNDÓ la ciudad.", "Un camio\u0301n.")
    assert [index.best(q, 1)[0].path for q in ("¿Qué canción?", "¿Quién la fundo?", "CAMIONES")] == [
        "0.txt",
        "2.txt",
        "3.txt",
    ]
    assert [passage.score for passage in index.best("¿Quién? ¿Cuándo? ¿Qué?", 2)] == [0, 0]


def test_scores_are_those_of_bm25():
    texts = ["gato perro gato", "perro", "pez gato pájaro loro", "loro loro"]
    bags = [f"{number} {text}".split() for number, text in enumerate(texts)]  # the file's name counts
    index = index_of(*texts)
    mean = np.mean([len(bag) for bag in bags])

    def score(bag, word):  # Lucene's variant, written out
        df = sum(word in other for other in bags)
        return (
            math.log(1 + (len(bags) - df + 0.5) / (df + 0.5))
            * bag.count(word)
            / (bag.count(word) + 1.5 * (1 - 0.75 + 0.75 * len(bag) / mean))
        )

    expected = {f"{n}.txt": score(bag, "gato") + score(bag, "loro") for n, bag in enumerate(bags)}
    found = {passage.path: passage.score for passage in index.best("gato loro", 4)}
    assert found == pytest.approx(expected, rel=1e-5)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_a_files_name_counts_and_equal_scores_keep_the_order(tmp_path):
    index = PassageIndex.of([("a/uno.txt", "Texto."), ("convenio_2023.pdf", "Texto."), ("b.txt", "Texto.")], 200)
    assert [passage.path for passage in index.best("¿Qué dice el convenio?", 3)] == [
        "convenio_2023.pdf",
        "a/uno.txt",
        "b.txt",
    ]
    index.save(tmp_path / "index")
    index.save(tmp_path / "index")  # another process was faster
    loaded = PassageIndex.load(tmp_path / "index", ["a/uno.txt", "convenio_2023.pdf", "b.txt"])
    assert loaded.best("convenio", 3) == index.best("convenio", 3)
