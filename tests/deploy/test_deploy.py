"""The container and the unit: linted by the tools of the trade, and their command run as they would run it."""

import json
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from serving import JSON, until

ROOT = Path(__file__).parents[2]
CONTAINERFILE, UNIT = ROOT / "deploy" / "Containerfile", ROOT / "deploy" / "destila.service"
BASE_MEGABYTES = 53  # gcr.io/distroless/python3-debian12, unpacked, as its README says ("around 50 MB")


def test_the_containerfile_passes_hadolint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, CONTAINERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    root = CONTAINERFILE.read_text(encoding="utf-8").replace("python3-debian12:nonroot", "python3-debian12:latest")
    wrong = subprocess.run([hadolint, "-"], input=root, capture_output=True, text=True)
    assert wrong.returncode != 0  # the linter looks


def test_the_unit_passes_systemds_own_check(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd")
    unit = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/destila/bin/destila", shutil.which("true") or "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    scored = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit], capture_output=True, text=True
    )
    assert scored.returncode == 0, scored.stdout[-300:]  # at most 2.0 of 10, "OK"


READ_ONLY = "mount --make-rprivate / && mount -o remount,ro,bind /"
# As --cap-drop=all.
POWERLESS = "setpriv --bounding-set=-all --inh-caps=-all --no-new-privs env -i PYTHONDONTWRITEBYTECODE=1"


def commands() -> tuple[list[str], list[str]]:
    """What the container runs, and how it asks whether that is well; both with this Python."""
    text = CONTAINERFILE.read_text(encoding="utf-8")
    listed = dict(re.findall(r"^( *[A-Z]+) (\[.*\])$", text, re.MULTILINE))
    entry, command, health = (json.loads(listed[word]) for word in ("ENTRYPOINT", "CMD", "  CMD"))
    return [sys.executable, *entry[1:], *command], [sys.executable, *health[1:]]


def test_the_command_answers_without_capabilities_on_a_root_that_cannot_be_written(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "--mount", "sh", "-c", READ_ONLY], capture_output=True).returncode:
        pytest.skip("no mount namespace can be made here")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    served, probe = commands()
    served = [{"8000": port, "0.0.0.0": "127.0.0.1"}.get(word, word) for word in served]
    probe = [word.replace(":8000", f":{port}") for word in probe]
    shell = f'{READ_ONLY} && cd / && exec {POWERLESS} PYTHONPATH="$0" "$@"'
    with (tmp_path / "said").open("w") as said:
        server = subprocess.Popen(["unshare", "--mount", "sh", "-c", shell, str(ROOT / "src"), *served], stderr=said)
    try:
        until(lambda: subprocess.run(probe, capture_output=True).returncode == 0 or server.poll() is not None, 60)
        assert server.poll() is None, (tmp_path / "said").read_text()
        body = json.dumps(
            {"question": "¿Quién fundó Lima?", "context": "Lima fue fundada por Francisco Pizarro en 1535."}
        )
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/v1/answer", body.encode(), JSON)
        with urllib.request.urlopen(asked, timeout=20) as answered:
            assert json.load(answered)["results"][0]["answers"][0]["text"] == "Francisco Pizarro"
    finally:
        server.terminate()
        server.wait(20)
    assert subprocess.run(probe, capture_output=True).returncode != 0  # the probe notices


def test_what_the_container_holds_is_small() -> None:
    """Bytes of the base install with the server, and of the bundled model, with the image that they are laid on."""
    wanted, seen, total = ["destila[serve]"], set[str](), 0
    while wanted:
        name, extras = re.fullmatch(r"([\w.-]+)(?:\[([\w,-]+)\])?.*", wanted.pop()).groups()  # type: ignore[union-attr]
        key = (name.lower().replace("_", "-"), extras)
        if key in seen:
            continue
        seen.add(key)  # type: ignore[arg-type]
        found = distribution(name)
        if name != "destila":
            files = {file for file in found.files or () if not re.search(r"(^|/)tests/|\.(pyx|c|h)$", str(file))}
            total += sum(
                path.stat().st_size for file in files if (path := Path(str(found.locate_file(file)))).is_file()
            )
        wanted += [each for each in found.requires or () if applies(each, extras)]
    total += sum(path.stat().st_size for path in (ROOT / "src").rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert 100 < total / 1e6 + BASE_MEGABYTES <= 300, total


def applies(requirement: str, extras: str | None) -> bool:
    """Whether a requirement counts here, with these extras."""
    marker = Requirement(requirement).marker
    return marker is None or any(marker.evaluate({"extra": each}) for each in (extras or "").split(","))
