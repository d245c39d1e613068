"""The page's own JavaScript in Node.js: for comparisons of many strings, which need no browser."""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NODE = shutil.which("node")
# Evaluates one function a line, with one argument, as a browser's page does.
DRIVER = """
import { createInterface } from "node:readline";
globalThis.window = globalThis;
for await (const line of createInterface({ input: process.stdin })) {
  const { source, argument } = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await (0, eval)(`(${source})`)(argument)) ?? null };
  } catch (error) {
    answer = { error: String(error?.stack ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\\n");
}
"""


class Modules:
    """A Node.js that has modules loaded: every name that they export is a global one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def evaluate(self, source: str, argument: Any = None) -> Any:
        """What a JavaScript function gives for an argument; both ways as JSON."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"source": source, "argument": argument}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["value"]


@contextlib.contextmanager
def modules(directory: Path, names: list[str], *, copy: Path) -> Iterator[Modules]:
    """Load the modules `names` of a directory, copied to `copy`, where Node.js sees what kind of scripts they are."""
    assert NODE is not None
    shutil.copytree(directory, copy)
    (copy / "package.json").write_text('{"type": "module"}')
    loading = "".join(f'Object.assign(globalThis, await import("./{name}.js"));\n' for name in names)
    (copy / "driver.js").write_text(loading + DRIVER)
    command = [NODE, str(copy / "driver.js")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            yield Modules(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=60)
