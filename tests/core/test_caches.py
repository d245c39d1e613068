"""A cache that cannot be written costs a line, not the result."""

import logging
from pathlib import Path

import pytest

from destila.core.caches import optional, temporary, with_cache
from destila.core.errors import UserError
from destila.core.runs import write_text


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """A directory that cannot be made, because a file stands in its way."""
    (tmp_path / "file").write_text("I am no directory")
    return tmp_path / "file" / "cache"


def test_a_cache_is_used_where_it_can_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert with_cache(tmp_path / "cache", lambda place: write_text(place / "a", "x") or place) == tmp_path / "cache"
    assert (tmp_path / "cache" / "a").read_text() == "x"
    assert caplog.text == ""


def test_else_a_temporary_one_takes_its_place_and_one_line_says_so(
    blocked: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    places = [with_cache(blocked, lambda place: write_text(place / "a", "x") or place) for _ in range(3)]
    assert len({*places}) == 1, "what was kept for a moment serves again"
    assert (places[0] / "a").read_text() == "x"
    assert len(caplog.records) == 1
    assert f"{blocked}: cannot be written: a file stands" in caplog.text
    assert "nothing is kept" in caplog.text


def test_other_errors_are_not_of_the_cache(blocked: Path, tmp_path: Path) -> None:
    for problem in (UserError("model", "is broken"), ZeroDivisionError()):
        with pytest.raises(type(problem)):
            with_cache(tmp_path, lambda _, problem=problem: (_ for _ in ()).throw(problem))
    with pytest.raises(UserError, match="cannot be written"):
        with_cache(tmp_path / "cache", lambda _: write_text(blocked / "a", "x"))


def test_what_can_be_made_again_is_left_unwritten_with_a_line(blocked: Path, caplog: pytest.LogCaptureFixture) -> None:
    with optional("the digest"):
        write_text(blocked / "a", "x")
    assert f"{blocked / 'a'}: cannot be written" in caplog.text
    assert "the digest is not kept" in caplog.text
    with pytest.raises(ZeroDivisionError), optional("the digest"):
        _ = 1 / 0


def test_a_temporary_directory_is_this_users_alone(tmp_path: Path) -> None:
    assert temporary(tmp_path, "is mine").stat().st_mode & 0o077 == 0
