"""Documents, an agent that asks about them, and the server that it asks: what the tests of `destila mcp` share."""

import asyncio
import json
import os
import sys
import threading
from pathlib import Path

from mcp import Client

from papers import pdf, word_paragraphs

SECONDS = 60.0  # for a call; the machine may be busy

# name -> paragraphs; of the PDF, pages
TEXTS = {
    "puente.txt": [
        "El puente de Alconada fue construido en 1874 por la ingeniera Matilde Orozco.",
        "Mide 312 metros de largo y cruza el río Tormes. El alcalde lo inauguró en otoño.",
    ],
    "museo.md": [
        "# Museo del Vidrio",
        "El museo abre de martes a domingo, de diez a seis. La entrada general cuesta 7 euros.",
        "Su directora es Carmen Ibáñez desde 2019. ¿Café? Sí: «El Horno» 😀, en el sótano.",
    ],
    "contrato.docx": [
        "El arrendatario pagará una fianza de dos mensualidades.",
        "El contrato dura cinco años y vence el 30 de junio de 2028.",
    ],
    "faro.html": ["El faro de Punta Nariga se encendió en 1997.", "Su torre tiene cincuenta metros de altura."],
    "informe.pdf": [
        "La empresa Solaria Norte tuvo ventas de 48 millones de euros.",
        "La fábrica de Lugo emplea a 230 personas y produce paneles solares.",
        "El presidente, Andrés Villalba, anunció un dividendo de dos euros por acción.",
    ],
}
QUESTIONS = {  # question -> where its answer stands
    "¿Quién construyó el puente de Alconada?": "puente.txt",
    "¿Cuánto mide el puente?": "puente.txt",
    "¿Cuánto cuesta la entrada general del museo?": "museo.md",
    "¿Quién es la directora del museo?": "museo.md",
    "¿Cuándo vence el contrato?": "contrato.docx",
    "¿Cuánto dura el contrato?": "contrato.docx",
    "¿Cuándo se encendió el faro de Punta Nariga?": "faro.html",
    "¿Cuánto vendió la empresa Solaria Norte?": "informe.pdf",
    "¿Cuántas personas emplea la fábrica de Lugo?": "informe.pdf",
    "¿Quién anunció un dividendo?": "informe.pdf",
}

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}


def write_documents(place):
    """A root, docs, with documents, beside what must never be read."""
    docs, secret = place / "docs", place / "docs-secret"  # the name of one begins with that of the other
    for folder in (docs, docs / "sub", secret):
        folder.mkdir()
    for name, parts in TEXTS.items():
        html = f"<html><body>{''.join(f'<p>{part}</p>' for part in parts)}</body></html>"
        content = {
            ".docx": lambda parts=parts: word_paragraphs(*parts),
            ".pdf": lambda parts=parts: pdf(*[[part] for part in parts]),
            ".html": lambda html=html: html.encode(),
        }.get(Path(name).suffix, lambda parts=parts: "\n\n".join(parts).encode())
        (docs / name).write_bytes(content())
    (docs / "tabla.csv").write_text("a,b\n")
    (docs / "roto.pdf").write_bytes(b"nada")
    for folder in (secret, place):
        (folder / "clave.txt").write_text("La clave de la caja es Zanahoria.")
    (docs / "enlace.txt").symlink_to(secret / "clave.txt")
    (docs / "carpeta").symlink_to(secret, target_is_directory=True)
    (docs / "vinculo.txt").symlink_to(docs / "puente.txt")


class Agent:
    """A client that lives on a thread, with a server that it starts, or of an address."""

    def __init__(self, server):
        self.began, self.error, self.server = threading.Event(), None, server
        self.thread = threading.Thread(target=lambda: asyncio.run(self.live()))
        self.thread.start()
        assert self.began.wait(SECONDS)
        if self.error:
            raise self.error

    async def live(self):
        self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with Client(self.server, read_timeout_seconds=SECONDS) as self.client:
                self.began.set()
                await self.over.wait()
        except BaseException as error:
            self.error = error
        finally:
            self.began.set()

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(SECONDS)

    def call(self, tool, **arguments):
        """What a tool says: its structured result."""
        result = self.do(self.client.call_tool(tool, arguments))
        assert not result.is_error, result.content
        assert json.loads(result.content[0].text) == result.structured_content, "older clients get the same as text"
        return result.structured_content

    def refused(self, tool, **arguments):
        """What a tool complains of, and the server still answers."""
        result = self.do(self.client.call_tool(tool, arguments))
        assert result.is_error
        assert result.structured_content is None
        (content,) = result.content
        assert "Traceback" not in content.text
        assert "Zanahoria" not in content.text
        return content.text

    def leave(self):
        self.loop.call_soon_threadsafe(self.over.set)
        self.thread.join(SECONDS)
        assert self.error is None


def command(place, *flags):
    return [sys.executable, "-m", "destila", "mcp", "--root", str(place / "docs"), "--threads", "1", *flags]


def environment(place):
    return {**os.environ, "DESTILA_CACHE": str(place / "cache"), "DESTILA_LANG": "en"}
