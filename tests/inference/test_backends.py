"""Which backend runs a model, how many threads it gets, and what broken files lead to."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from destila.config import ExportSettings
from destila.config.loader import resolve
from destila.core import cpus
from destila.core.errors import UserError
from destila.inference.backends import load_backend
from destila.inference.reader import Reader
from tiny import TEXTS, tiny_examples, tiny_reader

pytest.importorskip("openvino")
export = pytest.importorskip("destila.cli.export")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("backends")
    tiny_reader(root / "torch", metadata={"window": {"length": 48, "stride": 8, "max_answer_tokens": 10}})
    for format in ("onnx", "openvino"):
        values = {"model": str(root / "torch"), "output": str(root / format), "format": format}
        export.run(resolve(ExportSettings, values))
    return root


@pytest.fixture
def copy(exports: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Copies an export, so that a test may break it."""

    def copied(format: str) -> Path:
        target = tmp_path / format
        target.mkdir()
        for file in (exports / format).iterdir():
            (target / file.name).write_bytes(file.read_bytes())
        return target

    return copied


def test_answers_do_not_depend_on_the_backend(exports: Path) -> None:
    pairs = [(example.question, example.context) for example in tiny_examples()]
    answers = {name: Reader.load(exports / name).rank(pairs, top_k=3) for name in ("torch", "onnx", "openvino")}
    spans = {name: [[(answer.start, answer.end) for answer in row] for row in found] for name, found in answers.items()}
    assert spans["torch"] == spans["onnx"] == spans["openvino"]


def test_every_length_is_answered_up_to_the_last_position(exports: Path) -> None:
    torch, openvino = (load_backend(str(exports / name)).model for name in ("torch", "openvino"))
    for tokens in (1, 15, 16, 17, 112, 120, 127, 128):  # 128 positions: 120 + 16 would be too many
        ids, mask = np.full((2, tokens), 7), np.ones((2, tokens), np.int64)
        for wanted, found in zip(torch.logits(ids, mask), openvino.logits(ids, mask), strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_logits_stay_after_the_next_call(exports: Path, name: str) -> None:
    model = load_backend(str(exports / name)).model
    mask = np.ones((1, 16), np.int64)
    start, _ = model.logits(np.full((1, 16), 7), mask)
    kept = start.copy()
    model.logits(np.full((1, 16), 9), mask)
    np.testing.assert_array_equal(start, kept)


@pytest.mark.usefixtures("messages_on_stderr")
def test_the_fastest_is_chosen_and_the_choice_is_told(
    exports: Path,
    copy,
    capsys: pytest.CaptureFixture[str],  # type: ignore[no-untyped-def]
) -> None:
    load_backend(str(exports / "onnx"))
    assert capsys.readouterr().err == "", "there was nothing to choose"
    both = copy("onnx")
    for file in (exports / "torch").iterdir():
        if file.suffix == ".safetensors":
            (both / file.name).write_bytes(file.read_bytes())
    assert type(load_backend(str(both)).model).__name__ == "OnnxModel"
    assert "run by onnx, the fastest of those installed; it also has files for torch" in capsys.readouterr().err
    assert type(load_backend(str(both), "torch").model).__name__ == "TorchModel"
    with pytest.raises(UserError, match=r"holds no model for openvino.*onnx and torch"):
        load_backend(str(both), "openvino")


@pytest.mark.parametrize(("format", "file"), [("onnx", "model.onnx"), ("openvino", "openvino.bin")])
def test_cut_files_are_refused(copy, format: str, file: str) -> None:  # type: ignore[no-untyped-def]
    directory = copy(format)
    content = (directory / file).read_bytes()
    (directory / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=rf"{file} has [\d,]+ bytes instead of [\d,]+") as caught:
        load_backend(str(directory))
    assert caught.value.where == str(directory)


@pytest.mark.parametrize(("format", "file"), [("onnx", "model.onnx"), ("openvino", "openvino.xml")])
def test_files_that_are_no_models_are_refused(copy, format: str, file: str) -> None:  # type: ignore[no-untyped-def]
    directory = copy(format)
    size = (directory / file).stat().st_size
    (directory / file).write_bytes(b"\x00" * size)
    with pytest.raises(UserError, match="cannot be loaded by") as caught:
        load_backend(str(directory))
    assert caught.value.where.endswith(file)
    assert "destila export" in caught.value.remedy


def test_foreign_models_are_refused(copy) -> None:  # type: ignore[no-untyped-def]
    onnx = pytest.importorskip("onnx")
    directory = copy("onnx")
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Identity", ["pixels"], ["label"])
    graph = onnx.helper.make_graph([node], "g", [value("pixels", 1, [1])], [value("label", 1, [1])])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, directory / "model.onnx")
    metadata = json.loads((directory / "destila.json").read_text())
    (directory / "destila.json").write_text(json.dumps(metadata | {"files": {}}))
    with pytest.raises(UserError, match="takes pixels and gives label"):
        load_backend(str(directory))


def test_unknown_precisions_are_refused(copy) -> None:  # type: ignore[no-untyped-def]
    directory = copy("openvino")
    (directory / "destila.json").write_text('{"precision": "int2"}')
    with pytest.raises(UserError, match="precision is 'int2', not one of fp32, bf16, int8"):
        load_backend(str(directory))


RUN_WITHOUT = """
import sys
sys.modules[{missing!r}] = None
from destila.cli.main import main
sys.argv = ["destila", "answer", "¿Quién fundó Lima?", "--context", {context!r}, "--model", {model!r}, "--json"]
try:
    main()
finally:
    heavy = ("torch", "transformers", "pydantic", "openvino_telemetry.main")
    print(" ".join(name for name in heavy if sys.modules.get(name)))
"""


def answered_without(missing: str, model: Path, context: Path) -> subprocess.CompletedProcess[str]:
    program = RUN_WITHOUT.format(missing=missing, context=str(context), model=str(model))
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_answering_loads_neither_torch_nor_transformers(exports: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "text.txt").write_text(TEXTS[0], encoding="utf-8")
    result = answered_without("nothing", exports / name, tmp_path / "text.txt")
    assert result.returncode == 0, result.stderr
    *answers, loaded = result.stdout.splitlines()
    assert loaded == ""
    assert json.loads("".join(answers))["answers"]


SIGNAL_AFTER_A_READER = """
import signal, sys, threading
from destila.inference.reader import Reader

signal.signal(signal.SIGTERM, lambda *_: print("heard", flush=True))
readers = [Reader.load(sys.argv[1])]
let_go = threading.Thread(target=readers.clear)
let_go.start()
let_go.join()
signal.raise_signal(signal.SIGTERM)
print(Reader.load(sys.argv[1]).rank([("\u00bfQu\u00e9?", "Un texto.")], top_k=1)[0][0].text)
"""


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_a_process_hears_signals_after_another_thread_let_go_of_a_reader(exports: Path, name: str) -> None:
    command = [sys.executable, "-c", SIGNAL_AFTER_A_READER, str(exports / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split("\n")[0]) == (0, "heard"), done.stderr


@pytest.mark.parametrize(
    ("missing", "name", "remedy"),
    [
        ("openvino", "openvino", "destila[openvino]"),
        ("onnxruntime", "onnx", "pip install 'destila'"),
        ("torch", "torch", "destila[train]"),
    ],
)
def test_a_missing_run_time_is_named_with_what_to_install(
    exports: Path, tmp_path: Path, missing: str, name: str, remedy: str
) -> None:
    (tmp_path / "text.txt").write_text(TEXTS[0], encoding="utf-8")
    result = answered_without(missing, exports / name, tmp_path / "text.txt")
    assert result.returncode == 2, result.stderr
    assert f"{missing} is missing" in result.stderr
    assert remedy in result.stderr


@pytest.mark.parametrize("kind", ["empty", "unfinished", "parts"])
def test_a_directory_without_a_model_says_so_before_torch_is_missed(tmp_path: Path, kind: str) -> None:
    directory, expected = tmp_path / "model", "holds no model; expected config.json, model.safetensors"
    directory.mkdir()
    if kind == "unfinished":
        (directory / "run.json").write_text('{"status": "interrupted", "verb": "finetune"}')
        (directory / "settings.toml").write_text("")
        expected = f"Finish it: destila finetune --resume {directory}"
    elif kind == "parts":
        (directory / "config.json").write_text("{}")
        expected = "has no model.safetensors and no tokenizer.json"
    (tmp_path / "text.txt").write_text(TEXTS[0], encoding="utf-8")
    result = answered_without("torch", directory, tmp_path / "text.txt")
    assert result.returncode == 2, result.stderr
    assert expected in result.stderr
    assert "torch is missing" not in result.stderr


# ---------------------------------------------------------------------------------------------------- cores
@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1.0),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "150000 100000"}, 1.5),
        (
            {
                "proc/self/cgroup": "3:memory:/m\n2:cpu,cpuacct:/a\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "2:cpu:/host/path\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({}, None),
    ],
)
def test_quotas_of_control_groups_bound_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], quota: float | None
) -> None:
    monkeypatch.setattr(cpus.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpus.usable_cores(tmp_path) == (8 if quota is None else -(-quota // 1))


def test_threads_can_be_set(exports: Path) -> None:
    for threads in (1, 0):
        model = load_backend(str(exports / "onnx"), threads=threads).model
        wanted = threads or cpus.usable_cores()
        assert model.session.get_session_options().intra_op_num_threads == wanted  # type: ignore[attr-defined]


def test_more_threads_than_cores_are_not_started_and_one_line_says_so(
    exports: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], messages_on_stderr: None
) -> None:
    monkeypatch.setattr(cpus, "usable_cores", lambda: 3)
    for wanted, taken in ((1, 1), (2, 2), (3, 3), (0, 3)):
        assert cpus.thread_count(wanted) == taken
    assert capsys.readouterr().err == ""
    loads = [load_backend(str(exports / "onnx"), threads=1000).model for _ in range(2)]
    assert [each.session.get_session_options().intra_op_num_threads for each in loads] == [3, 3]  # type: ignore[attr-defined]
    said = "threads: 1,000 are more than the cores that this process may use; 3 taken.\n"
    assert capsys.readouterr().err == said
    for wrong in (-1, "2", 1.5, True, None):
        with pytest.raises(UserError, match=f"threads: is {wrong!r}"):
            cpus.thread_count(wrong)  # type: ignore[arg-type]
