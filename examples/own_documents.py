"""Ask a folder of your own documents: PDF, Word, HTML, Markdown and text files, with file, page and sentence.

    pip install 'destila[documents]'
    python examples/own_documents.py "¿Quién dirige la biblioteca?" my-folder

Files are parsed once and kept in a cache; each hostile format is parsed in a process of its own (docs/documents.md).
"""

import argparse
import tempfile
from pathlib import Path

from destila import Reader
from destila.inference.documents.folder import Folder

QUESTION = "¿Quién dirige la biblioteca?"
FILES = {
    "biblioteca.md": "# La biblioteca\n\nAbrió el 14 de mayo de 1987. La dirige Carmen Ledesma desde entonces.\n",
    "mercado.html": "<html><body><h1>El mercado</h1><p>El mercado abre de ocho a dos.</p></body></html>",
    "puente.txt": "El puente viejo se construyó en 1752 y fue restaurado en 1998.\n",
}


def main() -> None:
    """Open a folder, and ask all of it at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", nargs="?", default=QUESTION)
    parser.add_argument("folder", nargs="?", help="none: a folder of three files that this script writes")
    parser.add_argument("--model", help="directory or hub id; none: the bundled model")
    given = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        if not given.folder:
            for name, content in FILES.items():
                Path(temporary, name).write_text(content, encoding="utf-8")
        reader, folder = Reader.load(given.model), Folder.open(given.folder or temporary)
        for found in folder.answers(reader, given.question, top_k=3):
            text = "(no answer)" if found.answer.text is None else found.answer.text
            place = "" if found.file is None else f"   {Path(found.file).name}: {found.sentence}"
            print(f"{found.answer.score:.3f}  {text}{place}")
        folder.close()


if __name__ == "__main__":
    main()
