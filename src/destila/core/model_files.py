"""Which files a model's directory holds: whoever finds, fetches, copies, hashes, measures or uploads a model asks here.

A local directory may also hold older weights (`PICKLES`); they are never fetched and never uploaded.
"""

from pathlib import Path

from destila.core.errors import UserError

CONFIG_FILE, METADATA_FILE = "config.json", "destila.json"
TOKENIZER_FILE = "tokenizer.json"
# Where the names of special tokens stand, the first to be believed most.
TOKENIZER_CONFIG_FILE, SPECIAL_TOKENS_FILE = "tokenizer_config.json", "special_tokens_map.json"
# What an older model has in the place of tokenizer.json.
VOCABULARIES = ("vocab.json", "vocab.txt", "merges.txt", "sentencepiece.bpe.model", "tokenizer.model", "spm.model")

TORCH_WEIGHTS, TORCH_INDEX = "model.safetensors", "model.safetensors.index.json"
TORCH_SHARDS = "model-?????-of-?????.safetensors"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
PICKLES = (PICKLE, PICKLE_INDEX, "pytorch_model-*.bin")
ONNX_FILE = "model.onnx"
ONNX_WEIGHTS = f"{ONNX_FILE}.data"  # of a large model; onnxruntime maps it into memory
OPENVINO_FILE, OPENVINO_WEIGHTS = "openvino.xml", "openvino.bin"

# run time -> its weights
WEIGHTS = {
    "openvino": (OPENVINO_FILE, OPENVINO_WEIGHTS),
    "onnx": (ONNX_FILE, ONNX_WEIGHTS),
    "torch": (TORCH_WEIGHTS, TORCH_INDEX, TORCH_SHARDS),
}
TOKENIZER_FILES = (TOKENIZER_FILE, TOKENIZER_CONFIG_FILE, SPECIAL_TOKENS_FILE, "added_tokens.json", *VOCABULARIES)
# The order matters to who copies: a directory with a config.json passes for a model, so that comes last.
MODEL_FILES = (*(name for names in WEIGHTS.values() for name in names), *TOKENIZER_FILES, METADATA_FILE, CONFIG_FILE)


def find_files(directory: Path, patterns: tuple[str, ...] = MODEL_FILES) -> list[Path]:
    """The files of a directory that match, in the order of the patterns."""
    return [path for pattern in patterns for path in sorted(directory.glob(pattern)) if path.is_file()]


def torch_weights(directory: Path) -> list[Path]:
    """The files with a model's weights for torch: one, or shards with their index; empty: it has none."""
    if (whole := directory / TORCH_WEIGHTS).is_file():
        return [whole]
    return find_files(directory, (TORCH_INDEX, TORCH_SHARDS)) if (directory / TORCH_INDEX).is_file() else []


def refuse_pointers(directory: Path) -> None:
    """Refuse files that a clone without Git LFS holds in the place of a model's: a few lines that name the real ones.

    Raises:
        UserError: names them.
    """
    pointers = [path.name for path in find_files(directory) if _begins(path, b"version https://git-lfs.github.com/")]
    if pointers:
        problems = [f"{name} is a pointer of Git LFS, not the file itself" for name in pointers]
        raise UserError.from_problems(str(directory), problems, "Run git lfs pull there, or download the files.")


def _begins(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start
