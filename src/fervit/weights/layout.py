"""The files of a model folder: their names, its JSON files, and the weights files that an index names."""

import json
import re
from pathlib import Path, PurePath, PureWindowsPath

from fervit.errors import ModelError, reason
from fervit.files import read_regular

CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
ENSEMBLE_FILE, MEMBERS = "ensemble.json", "members"  # of an ensemble: its file, and the folder that its models lie in
ONNX = "onnx/model.onnx"  # where transformers.js looks for the exported model
ONNX_QUANTISED = "onnx/model_quantized.onnx"  # and for the one in 8 bits
MAX_JSON = 16_000_000  # bytes; the index of a model with 100,000 tensors has 10 MB
MAX_SHARDS = 1000
MAX_DEPTH = 20  # of lists and objects within each other
SHA256 = re.compile(r"[0-9a-f]{64}")


def folder_name(folder: Path) -> str:
    """Return what to call the model in a folder: the folder's name, or `owner/name` in the cache of the Hub.

    >>> folder_name(Path("hub/models--owner--name/snapshots/3f2a")), folder_name(Path("runs/mine"))
    ('owner/name', 'mine')
    """
    if folder.parent.name == "snapshots" and len(folder.parts) > 2:
        kind, _, repo = folder.parents[1].name.partition("--")
        if kind == "models" and "--" in repo:
            return repo.replace("--", "/", 1)
    return folder.name


def read_object(path: Path) -> dict[str, object]:
    """Return the object that a JSON file of a model holds.

    Raises:
        FileNotFoundError: there is no such file.
        ModelError: it is too large, nested too deeply, no JSON, or no object.
    """
    try:
        values = json.loads(read_regular(path, limit=MAX_JSON))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ModelError(f"{path} is not readable: {reason(error)}") from error
    except RecursionError:
        raise ModelError(f"{path} is not readable: expected at most {MAX_DEPTH} lists within each other") from None
    except ValueError as error:
        raise ModelError(f"{path} is not readable: {reason(error)}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} is not readable: expected a JSON object")
    return values


def list_shards(index: Path) -> list[str]:
    """Return the names of the files that an index lists, each of them that of a safetensors file beside it."""
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{index} names no weights (weight_map)")
    if strange := [name for name in weight_map.values() if not _is_plain(name)]:
        raise ModelError(f"{index} names {str(strange[0])[:100]!r}; expected safetensors files beside it")
    names = sorted(set(weight_map.values()))
    if len(names) > MAX_SHARDS:
        raise ModelError(f"{index} names {len(names):,} files; expected at most {MAX_SHARDS:,}")
    return names


def _is_plain(name: object) -> bool:
    """Return whether a name is that of a safetensors file in the same folder, on every system."""
    parts = (PurePath(name).parts, PureWindowsPath(name).parts) if isinstance(name, str) else ()
    return bool(parts) and all(part == (name,) for part in parts) and str(name).endswith(".safetensors")
