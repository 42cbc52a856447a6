# mypy: disallow-untyped-calls=False
"""The members of an ensemble or a soup: checked, named, read, and what they predict on public_test."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from fervit.data.labelling.matching import explain_missing, match_models
from fervit.data.mixtures.mixture import Mixture
from fervit.errors import ConfigError, ModelError
from fervit.evaluation.prediction import predict_dataset
from fervit.folders import holds_nothing, locked
from fervit.labels import canonical
from fervit.models import TorchClassifier
from fervit.models.checkpoint import read_checkpoint, spec_of
from fervit.models.folders.config import read_config
from fervit.models.mixture import mixture_spec
from fervit.probabilities import check_probs
from fervit.types import ModelSpec
from fervit.weights.layout import ENSEMBLE_FILE, MEMBERS

SOUP_FILE = "soup.json"  # what distinguishes a soup's folder from any other model's

Progress = Callable[[int, int], None]
"""Called with the images done and the images in all."""


@dataclass(frozen=True)
class Output:
    """Where an ensemble or a soup is written.

    Attributes:
        folder: the folder to write.
        overwrite: whether an ensemble or a soup that is already there is replaced.
        command: the command line, for the model card.
    """

    folder: Path
    overwrite: bool = False
    command: str = ""


@dataclass(frozen=True, eq=False)
class Members:
    """The models that are combined, in the order in which they were given.

    Attributes:
        names: M different ones.
        probs: `(M, N, K)` what they predict for the faces of public_test.
        weights: `(M,)`, summing to 1; 0 for members that were left out.
    """

    names: Sequence[str]
    probs: np.ndarray
    weights: np.ndarray


def check_members(folders: Sequence[Path], out: Output) -> None:
    """Refuse what would fail or destroy something later.

    Raises:
        ConfigError: there are fewer than two members, one is given twice, or the output is in the way or one of them.
        ModelError: a member is no model folder.
    """
    if len(folders) < 2:
        raise ConfigError(f"an ensemble needs two members or more, got {len(folders)}")
    places = [folder.resolve() for folder in folders]
    target = out.folder.resolve()
    for k, (folder, place) in enumerate(zip(folders, places, strict=True)):
        if place in places[:k]:
            raise ConfigError(f"{folder} is given twice; weights say how much a member counts")
        if not folder.is_dir():
            found = "is an exported file" if folder.is_file() else "does not exist"
            raise ModelError(f"{folder} {found}: the members of an ensemble are model folders")
        if (folder / ENSEMBLE_FILE).is_file():
            raise ModelError(f"{folder} is an ensemble itself: name its members, the folders in {folder / MEMBERS}")
        if target == place or target in place.parents or place in target.parents:
            raise ConfigError(f"--out {out.folder} and the member {folder} lie in one another: take another folder")
    _check_replaceable(out)


@contextmanager
def output_folder(out: Output) -> Iterator[None]:
    """Hold the folder that an ensemble or a soup is written to, from before the members are read.

    Raises:
        ConfigError: it is in the way, in use or cannot be written; see `fervit.folders.locked`.
    """
    with locked(out.folder):
        _check_replaceable(out)  # again: what it holds may have changed until now
        yield


def _check_replaceable(out: Output) -> None:
    """Raise `ConfigError` where the output folder holds something that must not be replaced."""
    folder = out.folder
    if folder.is_file():
        raise ConfigError(f"{folder} is a file; --out takes a folder")
    if holds_nothing(folder):
        return
    if not any((folder / name).is_file() for name in (ENSEMBLE_FILE, SOUP_FILE)):
        raise ConfigError(f"{folder} exists and is no ensemble of fervit's, so it is not replaced: take another folder")
    if not out.overwrite:
        raise ConfigError(f"{folder} exists; add --overwrite to replace it")


def check_data(spec: ModelSpec, data: Mixture) -> Mixture:
    """Return the data with the members' labels, in its own order and spelling; see `match_models`.

    Raises:
        ModelError: only one of them has a label.
        DataError: the data has one label.
    """
    data = replace(data, parts=tuple(match_models(part, spec.labels) for part in data.parts))
    ours, theirs = ({canonical(name) for name in labels} for labels in (spec.labels, data.labels))
    if ours != theirs:
        extra = [name for name in data.labels if canonical(name) not in ours]
        hint = f" ({explain_missing(extra, data.labels, spec.labels)})" if extra else ""
        raise ModelError(
            f"{data.name} and the members have different labels (only one of them has "
            f"{', '.join(sorted(ours ^ theirs))}); choose weights on data that has all of theirs{hint}"
        )
    return data


def unique_names(specs: Sequence[ModelSpec], folders: Sequence[Path]) -> list[str]:
    """Return different names for the members: their own, those of their folders, or else the folders' paths."""
    own = [spec.name or folder.name for spec, folder in zip(specs, folders, strict=True)]
    for names in (own, [folder.name for folder in folders]):
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def read_rounded(folder: Path) -> tuple[PreTrainedModel, ModelSpec]:
    """Read a member with its weights rounded to float16, as they are going to be stored."""
    model, spec = read_checkpoint(folder)
    return model.half().float(), spec


def members_spec(folders: Sequence[Path]) -> ModelSpec:
    """Return what a mixture of models is, from their folders' JSON files alone.

    Raises:
        ModelError: a folder cannot be read, or the models have different labels or crop faces differently.
    """
    return mixture_spec([spec_of(read_config(folder), folder) for folder in folders], name="")


def predict_members(folders: Sequence[Path], data: Mixture, progress: Progress | None = None) -> np.ndarray:
    """Return `(M, N, K)` probabilities of models, one in memory at a time, columns in the data's order."""
    count, predicted = len(data), []
    for k, folder in enumerate(folders):
        tick = None if progress is None else (lambda done, _, k=k: progress(k * count + done, len(folders) * count))
        probs = predict_mixture(TorchClassifier(*read_rounded(folder)), data, progress=tick)
        predicted.append(check_probs(probs, data.targets)[0])
    return np.stack(predicted)


def predict_mixture(classifier: TorchClassifier, data: Mixture, *, progress: Progress | None = None) -> np.ndarray:
    """Return `(N, K)` probabilities of the images of all parts, see `predict_dataset`."""
    probs, before = [], 0
    for part in data.parts:
        tick = None if progress is None else (lambda done, _, before=before: progress(before + done, len(data)))
        probs.append(predict_dataset(classifier, part, progress=tick))
        before += len(part)
    return np.concatenate(probs)
