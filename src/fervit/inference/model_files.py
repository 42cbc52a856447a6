"""Which file or folder a model's name means, and the refusal of what is no model."""

import hashlib
from pathlib import Path

from fervit.config.architectures import SCRATCH
from fervit.errors import DataError, ModelError, reason
from fervit.files import ASSETS, file_digest, is_pickle, open_regular, read_json
from fervit.licences import Licence, licences_of, union
from fervit.metadata import check_trained_on
from fervit.weights.hub import fetch, parse_hub_id
from fervit.weights.named import find_released, released_names

SHIPPED_MODELS = ("mobilenet", "tiny", "mobilenet_int8")  # by name, in place of a path; the first is the default
SHIPPED = "shipped"  # as starting weights: the Transformer that is bundled with this installation


def default_model() -> Path:
    """Return the path of the shipped ONNX model.

    Raises:
        ModelError: this installation has none.
    """
    return _shipped(SHIPPED_MODELS[0])


def find_model(model: str | Path | None, *, revision: str | None = None) -> Path:
    """Return the file or folder of a model: the default for None, one by its name or Hub id, else the path itself.

    A file or folder of that name takes precedence. What is released under a name, or lies on the Hub, is fetched where
    it is not here yet: see `fervit.weights`.

    Args:
        model: a path, a name in `model_names()`, or a Hub id `owner/name` or `owner/name@revision`.
        revision: branch, tag or commit of a model of the Hub.

    Raises:
        ModelError: this installation has none of that name, it cannot be fetched, or the path cannot be looked at; or
            `revision` is given for what is no model of the Hub.
        MissingExtra: it is on the Hub, and huggingface_hub is not installed.
    """
    path, hub_id = default_model() if model is None else Path(model), None
    try:
        exists = path.exists()
    except OSError as error:  # such as a name that is too long
        raise ModelError(f"cannot read {path}: {reason(error)}") from error
    name = model if isinstance(model, str) else path.as_posix()  # a path forgets a leading dot, which a text may have
    if not exists:
        hub_id = parse_hub_id(name, revision)
    if revision is not None and hub_id is None:
        raise ModelError(f"revision= is of a model of the Hub (owner/name), and {name} is none: leave it out")
    if hub_id is not None:
        return fetch(hub_id)
    if exists or name not in model_names():
        return path
    return _shipped(name) if name in SHIPPED_MODELS else find_released_model(name)


def model_names() -> tuple[str, ...]:
    """Return the names that stand for models in place of a path: of those that come with fervit, and of the others."""
    return tuple(dict.fromkeys((*SHIPPED_MODELS, *released_names())))


def find_released_model(name: str) -> Path:
    """Return the folder of a released model, fetched where it is not here yet.

    Raises:
        ModelError: see `fervit.weights.named.find_released`.
    """
    folder = find_released(name)
    assert folder is not None  # as it is fetched
    return folder


def find_folder(model: str | Path) -> Path:
    """Return the folder of a model: one by its name or Hub id, fetched if needed, else the path itself.

    Raises:
        ModelError: that model is bundled as an ONNX file only, or it cannot be fetched.
        MissingExtra: it is on the Hub, and huggingface_hub is not installed.
    """
    path, name = Path(model), model if isinstance(model, str) else model.as_posix()
    if path.exists():
        return path
    if name not in model_names():
        hub_id = parse_hub_id(name)
        return path if hub_id is None else fetch(hub_id)
    folder = ASSETS / name
    if (folder / "config.json").is_file():
        return folder
    if name in released_names():
        return find_released_model(name)
    raise ModelError(
        f"{name} comes with the package as an ONNX file only; a model folder is needed here: "
        f"{name.removesuffix('_int8')}"
    )


def shipped_checkpoint() -> Path:
    """Return the path of the shipped model folder, the Transformer `tiny`, to start training from.

    Raises:
        ModelError: this installation has none.
    """
    return _asset("tiny", "start from a Hub id or a model folder instead")


def starting_weights(init: str | Path) -> str | Path:
    """Return what training starts from: the shipped Transformer's folder for `shipped` or its name, else `init` itself.

    Raises:
        ModelError: `shipped`, and this installation has none, or a shipped model that is no folder.
    """
    if str(init) == SHIPPED:
        return shipped_checkpoint()
    return find_folder(init) if Path(init).as_posix() in model_names() else init


def describe_weights(init: str | Path) -> tuple[str, str]:
    """Return what to call starting weights on a model card, and their licence where they state one.

    A folder or a file of this machine is called by its name, or by its model's: where it lies is private, and helps
    nobody else. A Hub id, `scratch` or words are themselves.
    """
    path = Path(init)
    name, licence = str(init), ""
    if path.is_dir():
        values = _own_values(path)
        name, licence = str(values.get("name") or path.resolve().name), str(values.get("licence") or "")
        if path.resolve().parent == ASSETS.resolve():
            name += ", which comes with fervit"
    elif path.is_file() or path.is_absolute():
        name = path.name
    return name, licence


def folder_licences(weights: str | Path) -> tuple[Licence, ...]:
    """Return the licences of what a model folder was trained on, without reading its weights.

    Those of an ensemble are its members', too. Of a weights file, the folder around it speaks; what fervit has not
    written says nothing.

    Raises:
        ModelError: the folder names licences that are none.
    """
    path = Path(weights)
    folder = path.parent if path.is_file() else path
    said = [_own_values(place) for place in (folder, *sorted(folder.glob("members/*")))]
    said.append(_values_in(folder / "ensemble.json", "spec"))
    for values in said:
        try:
            check_trained_on(values.get("trained_on", []))
        except ModelError as error:
            raise ModelError(f"{folder}: {error}") from error
    return union(*map(licences_of, said))


def _own_values(folder: Path) -> dict[str, object]:
    """Return what fervit wrote into a model folder's configuration; nothing where it did not."""
    return _values_in(folder / "config.json", "fervit")


def _values_in(file: Path, key: str) -> dict[str, object]:
    """Return the object under a key of a JSON file; nothing where there is none."""
    try:
        values = read_json(file).get(key)
    except (DataError, AttributeError):
        return {}
    return values if isinstance(values, dict) else {}


def check_starting_weights(init: str | Path) -> None:
    """Refuse starting weights that are neither a file, a folder, a Hub id nor `scratch`, before anything reads them.

    Raises:
        ModelError: they are missing, or a pickle (which can run code when read).
    """
    path = Path(init)
    if str(init) == SCRATCH:
        return
    if is_pickle(path):
        raise ModelError(f"{init} is a pickle, which can run code when read; convert it to safetensors")
    if not path.exists() and parse_hub_id(path.as_posix()) is None:
        raise ModelError(f"no weights at {init} (expected a safetensors file, a model folder or a Hub id owner/name)")


def model_hash(path: Path) -> str:
    """Return the hex SHA-256 of a model: of the exported file's bytes, or of a folder's weights and settings."""
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    if path.is_dir():  # but not what else lies in the folder of a run: its log, its checkpoints
        folders = [path, *sorted(path.glob("members/*"))]
        files = [file for folder in folders for file in sorted(folder.iterdir()) if _is_model_file(file)]
    digests = [file_digest(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def check_file(path: Path) -> None:
    """Refuse, before anything reads it, what is no ONNX file.

    Raises:
        ModelError: nothing is there, it is a folder, empty, or a pickle (which can run code when read).
    """
    if path.is_dir():
        raise ModelError(
            f"{path} is a model folder: `fervit export {path} --out model.onnx` makes the file to run, "
            "or pip install 'fervit[train]' to run the folder itself"
        )
    try:
        with open_regular(path) as file:
            magic = file.read(4)
    except FileNotFoundError:
        named = f"; by name there are {', '.join(model_names())}" if path.name == str(path) and not path.suffix else ""
        raise ModelError(f"no model at {path}{named}") from None
    except OSError as error:
        raise ModelError(f"cannot read {path}: {reason(error)}") from error
    if is_pickle(path, magic):
        raise ModelError(
            f"{path} is a pickle, which can run code when read; fervit takes ONNX files and safetensors folders"
        )
    if path.suffix.lower() == ".safetensors":
        raise ModelError(f"{path} holds weights only: name its folder, or export that with `fervit export`")
    if not magic:
        raise ModelError(f"{path} is empty (0 bytes)")


def _shipped(name: str) -> Path:
    return _asset(f"{name}.onnx", "name one with --model FILE.onnx (`fervit export FOLDER --out FILE.onnx` makes one)")


def _asset(name: str, remedy: str) -> Path:
    path = ASSETS / name
    if not path.exists():
        raise ModelError(f"this installation of fervit has no model ({path} is missing): {remedy}")
    return path


def _is_model_file(file: Path) -> bool:
    return file.suffix == ".safetensors" or file.name in ("config.json", "preprocessor_config.json", "ensemble.json")
