"""Settings are read when they are used, and each has one name."""

import subprocess
import sys

import pytest

from destila import config


def test_every_name_leads_to_its_settings():
    assert sorted(config.__all__) == sorted(name for names in config._NAMES.values() for name in names)
    for module, names in config._NAMES.items():
        home = f"destila.config.{module}"
        assert {getattr(getattr(config, name), "__module__", home) for name in names} == {home}
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        config.Nothing  # noqa: B018


def test_a_short_command_reads_no_settings_of_others():
    code = "import sys; from destila.config import AnswerSettings; print(*sys.modules)"
    read = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "destila.config.answer" in read
    assert not {f"destila.config.{name}" for name in ("adapt", "distill", "pretrain", "report", "mcp")} & set(read)
