"""`small` and the others by name: from a checkout, from the cache, or fetched from a release, verified by SHA-256."""

import hashlib
import logging
import os
import time
from pathlib import Path

from fervit.errors import ConfigError, ModelError, reason, redacted, request_reason
from fervit.files import cache_folder, file_digest, replacing
from fervit.formatting import file_size
from fervit.weights.layout import CONFIG
from fervit.weights.registry import MODELS, ReleasedFile, ReleasedModel, read_registry

log = logging.getLogger(__name__)

URL = "FERVIT_WEIGHTS_URL"
ASSET = "{asset}"  # in an address: the name of the file
SCHEMES = ("https://", "http://", "file://")
FOLDER = "weights"  # in the cache
TIMEOUT_S = 30.0
BLOCK_BYTES = 1 << 20
LITTER_AGE_S = 86_400  # younger files may be those of another process, which is fetching just now
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")  # as the Hub's own packages read them
YES = ("1", "true", "yes", "on")


def released_names() -> tuple[str, ...]:
    """Return the names under which models are released."""
    return tuple(read_registry().models)


def released_models() -> tuple[ReleasedModel, ...]:
    """Return the models that are released under a name, with files, licence and accuracy, in the order of their names.

    >>> [model.name for model in released_models()]
    ['inception', 'mobilenet', 'robust', 'small', 'wild']
    """
    return tuple(model for _, model in sorted(read_registry().models.items()))


def find_released(name: str, *, fetch: bool = True) -> Path | None:
    """Return the folder of a released model: in a checkout of fervit, in the cache, or fetched into it.

    Files in the cache are compared with their SHA-256 each time; a damaged one is fetched again.

    Args:
        name: one of `released_names`.
        fetch: whether what is not here is fetched; without it, None is returned.

    Raises:
        ModelError: the files cannot be fetched, or what came is not what was released.
    """
    checkout = MODELS / name
    if (checkout / CONFIG).is_file():
        return checkout
    model = read_registry().models[name]
    folder = cached_folder(model)
    missing = [file for file in model.files if not _is_whole(folder / file.name, file)]
    if missing and not fetch:
        return None
    if missing:
        _fetch(model, missing, folder)
    return folder


def cached_folder(model: ReleasedModel) -> Path:
    """Return where the cache keeps a released model; other weights of the same name have another folder."""
    return cache_folder() / FOLDER / f"{model.name}-{model.version}"


def weights_url() -> str:
    """Return the address of released files, with `{asset}` for their names: `FERVIT_WEIGHTS_URL`, or the registry's.

    An address without `{asset}` is that of a folder. Empty where there is none.

    Raises:
        ConfigError: `FERVIT_WEIGHTS_URL` is no address.
    """
    url = os.environ.get(URL, "").strip()
    if url and not url.lower().startswith(SCHEMES):
        raise ConfigError(f"{URL} is {redacted(url)!r}; expected an address that begins with {', '.join(SCHEMES)}")
    url = url or read_registry().url
    return url if ASSET in url or not url else f"{url.rstrip('/')}/{ASSET}"


def _is_whole(path: Path, file: ReleasedFile) -> bool:
    try:
        return path.stat().st_size == file.size and file_digest(path) == file.sha256
    except OSError:
        return False


def _fetch(model: ReleasedModel, files: list[ReleasedFile], folder: Path) -> None:
    """Fetch files into a folder.

    Raises:
        ModelError: see `find_released`.
    """
    url = weights_url()
    here = f"the model {model.name} is not here yet"
    ways = f"take models/{model.name} of fervit's repository (git clone) and name that folder"
    if any(os.environ.get(name, "").strip().lower() in YES for name in OFFLINE):
        raise ModelError(f"{here}, and HF_HUB_OFFLINE is set: unset it to fetch it once, or {ways}")
    if not url:
        raise ModelError(
            f"{here}, and no release of fervit has put its weights anywhere so far: {ways}, or set {URL} to where you "
            "have put the files that scripts/publish_weights.py lists"
        )
    log.warning("%s: fetching %s into %s, once", model.name, file_size(sum(file.size for file in files)), folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for litter in folder.glob(".*"):  # of processes that were killed
            if time.time() - litter.stat().st_mtime > LITTER_AGE_S:
                litter.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(_cannot_keep(folder, error)) from error
    for file in files:
        _fetch_file(file, url.replace(ASSET, file.asset), folder, ways)


def _fetch_file(file: ReleasedFile, url: str, folder: Path, ways: str) -> None:
    """Fetch one file; it has its name only when its SHA-256 is that of the registry."""
    import http.client
    import urllib.error  # here, as it takes several ms, and most models are files

    try:
        with replacing(folder / file.name) as beside:
            digest, size = _download(url, beside, most=file.size)
            if (digest, size) != (file.sha256, file.size):
                raise ModelError(
                    f"{redacted(url)} is not {file.name} as it was released: {size:,} bytes with the SHA-256 "
                    f"{digest[:12]}..., expected {file.size:,} with {file.sha256[:12]}...; try again, or {ways}"
                )
    except urllib.error.HTTPError as error:
        why = "the release that should have it is not there" if error.code == http.client.NOT_FOUND else error.reason
        raise ModelError(
            f"{redacted(url)} cannot be fetched ({error.code}: {why}): {ways}, or set {URL} to where its files are"
        ) from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        why = request_reason(error)
        raise ModelError(
            f"{redacted(url)} cannot be reached ({why}): connect to the internet and try again, or {ways}"
        ) from error
    except OSError as error:
        raise ModelError(_cannot_keep(folder, error)) from error


def _download(url: str, path: Path, *, most: int) -> tuple[str, int]:
    """Write what an address has into a file; return its SHA-256 and size. Beyond `most` bytes, it stops."""
    import urllib.request

    digest, size = hashlib.sha256(), 0
    request = urllib.request.Request(url, headers={"User-Agent": "fervit"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response, path.open("wb") as file:
        while size <= most and (block := response.read(BLOCK_BYTES)):
            file.write(block)
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def _cannot_keep(folder: Path, error: OSError) -> str:
    return f"cannot write weights to {folder} ({reason(error)}): free some space, or set FERVIT_CACHE to another folder"
