"""onnxruntime-web for the page without a server: only the tested version is taken, and what goes wrong is told."""

import shutil
import tarfile

import pytest

from destila.core.errors import UserError
from destila.export.web import runtime as web_runtime


def test_only_the_tested_run_time_is_taken(runtime, tmp_path):
    with pytest.raises(UserError, match=r"npm pack onnxruntime-web@[\d.]+ && tar"):
        web_runtime.onnxruntime_web(str(tmp_path))
    for path in runtime.iterdir():
        shutil.copy(path, tmp_path)
    assert set(web_runtime.onnxruntime_web(str(tmp_path))) == {web_runtime.SCRIPT, web_runtime.BINARY}
    with open(tmp_path / web_runtime.BINARY, "r+b") as file:
        file.write(b"?")
    with pytest.raises(UserError, match=f"{web_runtime.BINARY} is not that of"):
        web_runtime.onnxruntime_web(str(tmp_path))


def fake_npm(directory, script):
    directory.mkdir()
    (directory / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (directory / "npm").chmod(0o755)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (None, "npm, which fetches it, is not installed"),
        ("echo 'npm error code ENOTFOUND' >&2; exit 1", r"npm cannot fetch it \(code ENOTFOUND\)"),
        ('/bin/cp "$0.tgz" "$4/onnxruntime-web-VERSION.tgz"', "npm gave another package"),
    ],
    ids=["no npm", "no network", "another package"],
)
def test_npm_that_is_missing_fails_or_lies_is_told_and_leaves_nothing(tmp_path, monkeypatch, script, problem):
    monkeypatch.setenv("DESTILA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    if script:
        fake_npm(tmp_path / "bin", script.replace("VERSION", web_runtime.VERSION))
        with tarfile.open(tmp_path / "bin" / "npm.tgz", "w:gz") as archive:
            archive.add(__file__, f"package/dist/{web_runtime.SCRIPT}")
    with pytest.raises(UserError, match=problem) as caught:
        web_runtime.onnxruntime_web()
    assert "--runtime" in caught.value.remedy or "another registry" in caught.value.remedy
    assert not (tmp_path / "cache").exists()
