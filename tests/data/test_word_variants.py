"""Other forms of words: families by their beginning, in the tokens of the text."""

import numpy as np

from destila.data.synthetic.token_table import Lexicon
from destila.data.synthetic.word_variants import SEEN, WordForms
from destila.data.tokenizers import train_tokenizer

TEXT = " ".join(
    [
        "el club fundó la sede",
        "el club estableció la sede",
        "la fundación del club",
        "los fundadores, fundada en Lugo",
        "fundamentalmente",
        "Fundora",
    ]
    * SEEN
    + ["fundido una vez"]
)
TOKENIZER = train_tokenizer([TEXT], vocabulary_size=400)
LEXICON = Lexicon(TOKENIZER)
FORMS = WordForms(np.array(TOKENIZER.encode(TEXT, add_special_tokens=False).ids), LEXICON)


def texts(word: str) -> set[str]:
    return {LEXICON.text(tokens) for tokens in FORMS.of(word.encode())}


def test_forms_share_a_beginning_whatever_their_accents() -> None:
    assert texts("fundó") == {" fundación", " fundada"}
    assert texts("fundada") == {" fundó", " fundación", " fundadores"}


def test_rare_words_names_and_short_words_have_no_forms_and_are_none() -> None:
    assert " fundido" not in texts("fundada")
    assert " Fundora" not in texts("fundada")
    assert texts("Fundada") == texts("club") == texts("1932") == set()


def test_strangers_are_words_of_the_text() -> None:
    generator = np.random.default_rng(1)
    found = {LEXICON.text(FORMS.any(generator)) for _ in range(200)}
    assert " fundación" in found
    assert all(word.strip() in TEXT for word in found)


def test_synonyms_are_words_of_the_text_too() -> None:
    assert {LEXICON.text(tokens) for tokens in FORMS.synonyms("fundó".encode())} == {
        " estableció",
        " fundación",
        " fundadores",
    }
    assert {LEXICON.text(tokens) for tokens in FORMS.synonyms("estableció".encode())} >= {" fundó"}
    assert FORMS.synonyms(b"1932") == FORMS.synonyms(b"grupo") == []
