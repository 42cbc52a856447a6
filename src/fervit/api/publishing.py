"""`fervit.push`: a model folder onto the Hugging Face Hub, with its exported form, and compared with what arrived."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from fervit.errors import ConfigError, MissingExtra, ModelError, quoted, reason
from fervit.files import as_path, file_digest

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from fervit.data import Dataset
    from fervit.licences import Licence

UPLOADED = ("*.json", "*.safetensors", "README.md", "members/*/*.json", "members/*/*.safetensors", "onnx/*.onnx")
"""What of a model folder is pushed: not the log of a run, nor its checkpoints."""
OF_A_RUN = frozenset({"run.json", "seeds.json"})  # they name places on this machine


class PushKeywords(TypedDict, total=False):
    """How a model is pushed.

    Attributes:
        private: make the repository private, where it does not exist yet.
        branch: the branch that is pushed to; None takes the main branch.
        message: of the commit.
        onnx: also push `onnx/model.onnx`, which transformers.js and installations without PyTorch run.
        data: also push `onnx/model_quantized.onnx`, calibrated and judged on this data set.
        dry_run: only say what would be pushed.
    """

    private: bool
    branch: str | None
    message: str | None
    onnx: bool
    data: "str | Path | Dataset | None"
    dry_run: bool


@dataclass(frozen=True)
class PushedFile:
    """A file that was pushed: its name in the repository, its size in bytes, and its SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Pushed:
    """What was pushed.

    Attributes:
        repo: the repository `owner/name`.
        files: those of the model.
        url: where the repository is; empty for a dry run.
        commit: its hash; empty for a dry run.
        notes: in words, what was not pushed, and why.
        trained_on: the licences of what the model has learnt from.
    """

    repo: str
    files: tuple[PushedFile, ...]
    url: str = ""
    commit: str = ""
    notes: tuple[str, ...] = ()
    trained_on: "tuple[Licence, ...]" = ()


def push(model: str | Path, repo: str, **options: Unpack[PushKeywords]) -> Pushed:
    """Push a model folder to the Hugging Face Hub, and compare what arrived with what is here.

    The log of a run and its checkpoints stay here. With `onnx`, the exported model is pushed beside the weights, where
    transformers.js and installations without PyTorch look for it. You need to be logged in (`hf auth login`), or
    `HF_TOKEN` with write access.

    >>> import fervit
    >>> fervit.push("runs/mine", "me/mine", private=True).url  # doctest: +SKIP
    'https://huggingface.co/me/mine'

    Args:
        model: a model folder (an ensemble's too), or a name.
        repo: `owner/name`; it is made where it does not exist yet.
        **options: `private`, `branch`, `message`, `onnx` (True by default), `data` (a data set: also push 8 bits,
            calibrated and judged on it) and `dry_run`.

    Returns:
        The address, the commit, and name, size and SHA-256 of each file.

    Raises:
        ModelError: the model cannot be read or exported, the Hub refuses it or cannot be reached, or a file that
            arrived there is another one than here.
        ConfigError: `repo` is no `owner/name`.
        MissingExtra: huggingface_hub, or what the export needs, is not installed.
    """
    from fervit.inference.model_files import find_folder, folder_licences
    from fervit.weights.hub import parse_hub_id

    parsed = parse_hub_id(str(repo))
    if parsed is None or parsed.revision is not None:
        raise ConfigError(f"expected the repository as owner/name, got {quoted(repo)}")
    if find_spec("huggingface_hub") is None:
        raise MissingExtra("pushing to the Hub", "hub")
    folder = find_folder(as_path(model, "a model", ModelError))
    with tempfile.TemporaryDirectory(prefix="fervit-push-") as scratch:
        ready = Path(scratch)
        notes = _prepare(folder, ready, options)
        paths = sorted(path for path in ready.rglob("*") if path.is_file())
        files = [PushedFile(p.relative_to(ready).as_posix(), p.stat().st_size, file_digest(p)) for p in paths]
        pushed = Pushed(parsed.repo, tuple(files), notes=tuple(notes), trained_on=folder_licences(folder))
        if options.get("dry_run", False):
            return pushed
        with _explained(parsed.repo):
            url, commit = _upload(ready, pushed, options)
    return replace(pushed, url=url, commit=commit)


def _prepare(folder: Path, ready: Path, options: PushKeywords) -> list[str]:
    """Put what is pushed into a folder; return what is not, in words.

    Raises:
        ModelError: it is no model folder, or cannot be read or exported.
    """
    from fervit.export.javascript import unknown_kind, write_onnx
    from fervit.models import load_checkpoint
    from fervit.weights.layout import ENSEMBLE_FILE

    load_checkpoint(folder)  # nothing is pushed that nobody can open
    for pattern in UPLOADED:
        for path in folder.glob(pattern):
            if path.name not in OF_A_RUN and path.is_file():
                target = ready / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    notes = [] if (folder / "README.md").is_file() else ["there is no model card (README.md) to push"]
    data = options.get("data")
    if not options.get("onnx", True):
        if data is not None:
            raise ConfigError("the data set is for onnx/model_quantized.onnx, and no ONNX file is wanted: leave it out")
        return notes
    if (folder / ENSEMBLE_FILE).is_file():
        return [*notes, "an ensemble is not exported: transformers.js cannot open one"]
    dataset = None
    if data is not None:
        from fervit.api.opening import loaded

        dataset = loaded(data)
    shutil.rmtree(ready / "onnx", ignore_errors=True)  # what lies there may be of other weights
    write_onnx(folder, ready, dataset)
    unknown = unknown_kind(folder)
    return notes if unknown is None else [*notes, unknown]


def _upload(ready: Path, pushed: Pushed, options: PushKeywords) -> tuple[str, str]:
    """Push a folder; return where the repository is, and the commit."""
    from huggingface_hub import CommitOperationAdd, HfApi, constants

    api, branch = HfApi(endpoint=constants.ENDPOINT), options.get("branch")
    url = api.create_repo(pushed.repo, private=options.get("private", False), exist_ok=True)
    if branch is not None:
        api.create_branch(pushed.repo, branch=branch, exist_ok=True)
    operations = [CommitOperationAdd(file.name, str(ready / file.name)) for file in pushed.files]
    message = options.get("message") or "Push a model of fervit"
    done = api.create_commit(pushed.repo, operations, commit_message=message, revision=branch)
    _compare(api, ready, pushed, done.oid)
    return str(url), done.oid


def _compare(api: "HfApi", ready: Path, pushed: Pushed, commit: str) -> None:
    """Compare the hashes of what the Hub has with the files here.

    Raises:
        ModelError: a file is missing there, or another one.
    """
    from huggingface_hub.hf_api import RepoFile

    names = [file.name for file in pushed.files]
    there = {entry.path: entry for entry in api.get_paths_info(pushed.repo, names, revision=commit)}
    for file in pushed.files:
        entry = there.get(file.name)
        if not isinstance(entry, RepoFile):
            raise ModelError(f"{pushed.repo} lacks {file.name} after it was pushed; push again")
        known = _blob_id(ready / file.name) if entry.lfs is None else file.sha256
        found = entry.blob_id if entry.lfs is None else entry.lfs.sha256
        if found != known:
            raise ModelError(f"{file.name} arrived at {pushed.repo} as another file than it is here; push again")


def _blob_id(path: Path) -> str:
    """Return the hash that git has for the content of a small file."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """Turn the Hub's errors into one line that says what to do, and keep its progress bars to terminals."""
    from huggingface_hub import constants, errors

    from fervit.weights.hub import quiet_unless_watched

    try:
        with quiet_unless_watched():
            yield
    except ModelError:
        raise
    except errors.OfflineModeIsEnabled as error:
        raise ModelError(f"{repo} cannot be pushed while HF_HUB_OFFLINE is set: unset it") from error
    except (errors.HfHubHTTPError, errors.LocalTokenNotFoundError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403) or isinstance(error, errors.LocalTokenNotFoundError):
            raise ModelError(
                f"{constants.ENDPOINT} does not let you push to {repo}: log in with `hf auth login`, or set HF_TOKEN "
                "to a token with write access to it"
            ) from error
        raise ModelError(f"{constants.ENDPOINT} refuses to take {repo}: {reason(error)}") from error
    except Exception as error:  # of httpx, hf_xet and the system, by version
        cause = error.__cause__ or error  # what failed, where huggingface_hub only says for which file
        raise ModelError(f"{repo} cannot be pushed to {constants.ENDPOINT}: {reason(cause)}") from error
