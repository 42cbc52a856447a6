"""The files of a model folder that are read, and the refusal of all that reaches further: code, pickles, other folders.

A folder is somebody else's: nothing in it is run, and nothing that it names is read but safetensors files in itself.
"""

import json
from pathlib import Path, PurePath, PureWindowsPath

from fervit.errors import ModelError, reason
from fervit.files import is_pickle, open_regular, read_regular

CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
MAX_JSON = 16_000_000  # bytes; the index of a model with 100,000 tensors has 10 MB
MAX_SHARDS = 1000
MAX_DEPTH = 20  # of lists and objects within each other


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


def find_folder(name: str) -> Path:
    """Return the folder of a model: `name` itself, or where the Hub's files are cached, fetched if they are not.

    Raises:
        OSError: the Hub cannot be reached, or has no such model or file.
        ModelError: its index names what is no weights file.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    folder = Path(hf_hub_download(name, CONFIG)).parent
    commit = folder.name  # of the other files, too, should somebody push in between
    for optional in (PROCESSOR, ADAPTER):
        try:
            hf_hub_download(name, optional, revision=commit)
        except EntryNotFoundError:
            continue
    try:
        hf_hub_download(name, WEIGHTS, revision=commit)
    except EntryNotFoundError:
        index = Path(hf_hub_download(name, INDEX, revision=commit))
        for shard in _shards(index):
            hf_hub_download(name, shard, revision=commit)
    return folder


def find_weights(folder: Path) -> list[Path]:
    """Return the safetensors files that hold a folder's weights: one, or those that its index names.

    Raises:
        ModelError: the folder has no configuration, is an adapter, has no such weights, or they lie elsewhere.
    """
    if not (folder / CONFIG).is_file():
        raise ModelError(f"{folder} is no model folder: it has no {CONFIG}")
    if (folder / ADAPTER).exists():
        raise ModelError(
            f"{folder} is an adapter ({ADAPTER}), whose weights belong onto those of another model: "
            "merge them (peft's merge_and_unload), and save the result"
        )
    if (folder / WEIGHTS).exists() or not (folder / INDEX).exists():
        files = [folder / WEIGHTS]
    else:
        _check_inside(folder / INDEX, folder)
        files = [folder / shard for shard in _shards(folder / INDEX)]
    _check_inside(folder / CONFIG, folder)
    for file in files:
        _check_weights(file, folder)
    return files


def _shards(index: Path) -> list[str]:
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


def _check_weights(file: Path, folder: Path) -> None:
    """Refuse a weights file that is missing, special, outside of the folder, or a pickle by another name."""
    try:
        _check_inside(file, folder)
        with open_regular(file) as opened:
            magic = opened.read(4)
    except FileNotFoundError:
        raise ModelError(f"{folder} holds {_instead_of(file, folder)}; fervit reads {file.name}") from None
    except OSError as error:
        raise ModelError(f"cannot read {file}: {reason(error)}") from error
    if is_pickle(file, magic):
        raise ModelError(f"{file} is a pickle, which can run code when read; convert it to safetensors")


def _instead_of(file: Path, folder: Path) -> str:
    """Return what a folder holds where a file of weights is missing."""
    pickles = sorted(path.name for path in folder.iterdir() if is_pickle(path))
    if pickles:
        return f"only {pickles[0]}, a pickle, which can run code when read"
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    return f"no {file.name}, only {others[0]}" if others else "no weights"


def _check_inside(file: Path, folder: Path) -> None:
    """Refuse a link that leads out of the folder; the Hub's cache keeps its files in `blobs/`, beside `snapshots/`."""
    allowed = [folder.resolve()]
    if allowed[0].parent.name == "snapshots":
        allowed.append(allowed[0].parents[1] / "blobs")
    target = file.resolve()
    if not any(target.is_relative_to(place) for place in allowed):
        raise ModelError(f"{file} is a link that leads out of its folder, to {target}: copy the file to its place")
