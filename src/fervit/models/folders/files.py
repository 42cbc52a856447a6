"""The refusal of all in a model folder that reaches further: code, pickles, other folders.

A folder is somebody else's: nothing in it is run, and nothing that it names is read but safetensors files in itself.
"""

from pathlib import Path

from fervit.errors import ModelError, reason
from fervit.files import is_pickle, open_regular
from fervit.weights.layout import ADAPTER, CONFIG, INDEX, WEIGHTS, list_shards


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
        files = [folder / shard for shard in list_shards(folder / INDEX)]
    _check_inside(folder / CONFIG, folder)
    for file in files:
        _check_weights(file, folder)
    return files


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
    for place in (allowed[0], *allowed[0].parents[:2]):  # the model, or the ensemble that it is a member of
        if place.parent.name == "snapshots":
            allowed.append(place.parents[1] / "blobs")
    target = file.resolve()
    if not any(target.is_relative_to(place) for place in allowed):
        raise ModelError(f"{file} is a link that leads out of its folder, to {target}: copy the file to its place")
