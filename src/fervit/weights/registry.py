"""Released weights by name: `registry.json`, which says where a release puts them, and what they must be.

`scripts/publish_weights.py` writes the file from the folders in `models/`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fervit.errors import ModelError, reason
from fervit.weights.layout import SHA256

REGISTRY = Path(__file__).parent / "registry.json"
MODELS = Path(__file__).parents[3] / "models"
"""The released model folders, where fervit runs from a checkout of its repository."""
PLAIN = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class ReleasedFile:
    """A file of a released model.

    Attributes:
        name: in the model's folder.
        asset: in the release, whose files have no folders.
        sha256: hex digest of its bytes.
        size: bytes.
    """

    name: str
    asset: str
    sha256: str
    size: int


@dataclass(frozen=True)
class ReleasedModel:
    """A model that is released under a name.

    Attributes:
        name: by which it is opened.
        files: what its folder consists of.
        arch: its architecture.
        licence: of the weights.
        trained_on: names and terms of the data that it learnt from, in words.
        figures: accuracy by split, 0..1, as its card has it.
    """

    name: str
    files: tuple[ReleasedFile, ...]
    arch: str = ""
    licence: str = ""
    trained_on: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def version(self) -> str:
        """The first digits of a digest of all files: what tells these weights from others of the same name."""
        text = "".join(f"{file.name} {file.sha256}\n" for file in self.files)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Registry:
    """All released models.

    Attributes:
        url: where a release puts its files: an address with `{asset}` in it, or empty before the first release.
        models: by name.
    """

    url: str
    models: Mapping[str, ReleasedModel]


@cache
def read_registry(path: Path = REGISTRY) -> Registry:
    """Read the registry.

    Raises:
        ModelError: it is damaged.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        models = {name: _read_model(name, entry) for name, entry in values["models"].items()}
        return Registry(str(values["url"]), models)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is damaged ({reason(error)}): install fervit again") from error


def _read_model(name: str, entry: Mapping[str, Any]) -> ReleasedModel:
    files = tuple(
        ReleasedFile(file, str(known["asset"]), str(known["sha256"]), int(known["size"]))
        for file, known in entry["files"].items()
    )
    for file in files:
        if not (PLAIN.fullmatch(file.name) and PLAIN.fullmatch(file.asset) and SHA256.fullmatch(file.sha256)):
            raise ValueError(f"{name}: {file.name} is no plain name with a SHA-256")
    return ReleasedModel(
        name,
        files,
        arch=str(entry["arch"]),
        licence=str(entry["licence"]),
        trained_on=tuple(map(str, entry["trained_on"])),
        figures={split: float(value) for split, value in entry["figures"].items()},
    )


def registry_text(registry: Registry) -> str:
    """Return the content of `registry.json`."""
    models = {
        name: {
            "arch": model.arch,
            "licence": model.licence,
            "trained_on": list(model.trained_on),
            "figures": dict(model.figures),
            "files": {
                file.name: {"asset": file.asset, "sha256": file.sha256, "size": file.size} for file in model.files
            },
        }
        for name, model in sorted(registry.models.items())
    }
    return json.dumps({"url": registry.url, "models": models}, indent=2, ensure_ascii=False) + "\n"
