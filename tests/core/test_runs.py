"""Run directories and the promise that files appear whole or not at all."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from destila.core.errors import UserError
from destila.core.holds import lock
from destila.core.runs import Run, atomic_directory, atomic_file, read_json, write_json, write_text


def remains(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), atomic_file(path) as temporary:
        temporary.write_text("half")
        _ = 1 / 0
    assert path.read_text() == "old"
    assert remains(tmp_path) == ["a.txt"]


def test_a_failing_writer_leaves_no_directory(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_directory(tmp_path / "d") as temporary:
        (temporary / "x").write_text("half")
        _ = 1 / 0
    assert remains(tmp_path) == []


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    program = f"""
        import os, signal
        from pathlib import Path
        from destila.core.runs import atomic_file
        with atomic_file(Path({str(path)!r})) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert result.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("errno_name", "message"),
    [
        ("ENOSPC", "disk is full"),
        ("EROFS", "read-only"),
        ("EFBIG", "may not grow"),
        ("ENAMETOOLONG", "name is too long"),
    ],
)
def test_the_systems_refusals_are_users_errors(tmp_path: Path, errno_name: str, message: str) -> None:
    import errno

    with pytest.raises(UserError, match=message), atomic_file(tmp_path / "a"):
        raise OSError(getattr(errno, errno_name), "refused")
    assert remains(tmp_path) == []


def test_a_full_disk_for_real(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs privileges")
    try:
        write_text(tmp_path / "a", "old")
        with pytest.raises(UserError, match="disk is full"):
            write_text(tmp_path / "a", "x" * 200_000)
        assert (tmp_path / "a").read_text() == "old"
        assert remains(tmp_path) == ["a"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_file_where_a_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"):
        write_text(tmp_path / "file" / "run.json", "x")


def test_a_device_or_a_pipe_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_text(pipe, "through")
        assert os.read(reading, 100) == b"through"
    finally:
        os.close(reading)
    with pytest.raises(ZeroDivisionError), atomic_file(pipe) as temporary:
        temporary.write_text("half")
        _ = 1 / 0
    assert pipe.is_fifo()
    for path in (Path("/dev/full"), tmp_path / "link"):
        if path.name == "link":
            path.symlink_to("/dev/full")
        with pytest.raises(UserError, match="the disk is full"):
            write_text(path, "x")
        assert path.is_char_device()
    write_text(Path("/dev/null"), "x")
    assert Path("/dev/null").is_char_device()
    assert remains(tmp_path) == ["link", "pipe"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"):
        write_text(tmp_path / "a", "x")


def test_create_resume_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with pytest.raises(UserError, match="no run to resume"):
        Run.create(path, settings_text="a = 1", seed=1, resume=True)
    Run.create(path, settings_text="a = 1", seed=1).log({"step": 1})
    with pytest.raises(UserError, match=f"--resume {path}, replace it with --overwrite"):
        Run.create(path, settings_text="a = 1", seed=1)
    resumed = Run.create(path, settings_text="a = 2", seed=1, resume=True)
    assert (resumed.record["seed"], (path / "settings.toml").read_text()) == (1, "a = 1")
    resumed.keep_settings()
    assert (path / "settings.toml").read_text() == "a = 2"
    Run.create(path, settings_text="a = 2", seed=2, overwrite=True)
    assert read_json(path / "run.json")["seed"] == 2
    assert not (path / "metrics.jsonl").exists()


def test_a_run_of_another_process_is_left_alone_until_that_ends(tmp_path: Path) -> None:
    path = tmp_path / "run"
    program = f"""
        import os, sys, time
        from pathlib import Path
        from destila.core.runs import Run
        run = Run.create(Path({str(path)!r}), settings_text="a = 1", seed=1)
        if not os.fork():
            time.sleep(60)  # a helper that outlives it
        print("ready", flush=True)
        sys.stdin.readline()
        run.close()
        print("ready", flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        try:
            assert other.stdout.readline() == "ready\n"
            for more in ({"resume": True}, {"overwrite": True}, {}):
                with pytest.raises(UserError, match="is being written by another process"):
                    Run.create(path, settings_text="a = 2", seed=2, **more)
            assert (path / "settings.toml").read_text() == "a = 1"
            other.stdin.write("\n")
            other.stdin.flush()
            assert other.stdout.readline() == "ready\n"
            Run.create(path, settings_text="a = 2", seed=2, resume=True)
            Run.create(path, settings_text="a = 2", seed=2, overwrite=True)  # one's own is no other's
            other.kill()
            other.wait()
            assert read_json(path / "run.json")["seed"] == 2
        finally:
            os.killpg(other.pid, signal.SIGKILL)


def test_a_run_that_was_refused_is_free(tmp_path: Path) -> None:
    path = tmp_path / "run"
    Run.create(path, settings_text="a = 1", seed=1).close()
    with pytest.raises(UserError, match="holds a run already"):
        Run.create(path, settings_text="a = 1", seed=1)
    other = os.open(path, os.O_RDONLY)
    assert lock(other)
    os.close(other)


def test_a_killed_run_is_free_although_its_helpers_live(tmp_path: Path) -> None:
    path = tmp_path / "run"
    program = f"""
        import os, signal, time
        from pathlib import Path
        from destila.core.runs import Run
        run = Run.create(Path({str(path)!r}), settings_text="a = 1", seed=1)
        heard, said = os.pipe()
        if not os.fork():
            os.write(said, b"1")
            time.sleep(60)
        os.read(heard, 1)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], start_new_session=True)
    try:
        assert killed.wait() == -signal.SIGKILL
        Run.create(path, settings_text="a = 1", seed=1, resume=True)
    finally:
        os.killpg(killed.pid, signal.SIGKILL)


def test_a_run_behind_a_link_is_replaced_there(tmp_path: Path) -> None:
    (tmp_path / "big disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "big disk")
    Run.create(tmp_path / "run", settings_text="a = 1", seed=1).checkpoints.mkdir()
    Run.create(tmp_path / "run", settings_text="a = 2", seed=1, overwrite=True)
    assert (tmp_path / "run").is_symlink()
    assert sorted(path.name for path in (tmp_path / "big disk").iterdir()) == ["run.json", "settings.toml"]


def test_a_strangers_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="not a run"):
            Run.create(tmp_path, settings_text="", seed=1, overwrite=overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_metrics_after_a_step_and_torn_lines_are_forgotten(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", settings_text="", seed=1)
    for step in range(1, 6):
        run.log({"step": step})
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 2, "lo')
    run.forget_after(3)
    assert (run.path / "metrics.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n{"step": 3}\n'


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff"])
def test_unreadable_json_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.json"):
        read_json(path)


def test_json_round_trip(tmp_path: Path) -> None:
    value = {"ñ": ["¿qué?", 1.5, None]}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_of_a_directory_have_the_rights_that_the_umask_gives(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with atomic_directory(tmp_path / "d") as temporary:
            (temporary / "inner").mkdir()
            for name in ("a", "inner/b"):
                (temporary / name).write_text("x")
                (temporary / name).chmod(0o600)
    finally:
        os.umask(before)
    for name in ("a", "inner/b"):
        assert (tmp_path / "d" / name).stat().st_mode & 0o777 == 0o666 & ~umask
