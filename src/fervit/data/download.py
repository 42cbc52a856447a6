"""Fetch FER2013 where its own sources offer it, and check what came."""

import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fervit.data.dataset import SPLITS, Dataset
from fervit.data.source_files import one_line
from fervit.errors import DataError, MissingExtra, unknown
from fervit.labels import FER7, canonical

KAGGLE_ID = "msambare/fer2013"
KAGGLE_ADDRESS = "https://www.kaggle.com"
TIMEOUT_S = 10.0

# Goodfellow et al. 2013, ICML challenge: images per label, FER7 order.
FER2013_COUNTS = {
    "train": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "public_test": (467, 56, 496, 895, 653, 415, 607),
    "private_test": (491, 55, 528, 879, 594, 416, 626),
}


def download(name: str, *, hub: str | None = None, data_hash: str | None = None) -> tuple[Path | str, Dataset]:
    """Fetch a data set from Kaggle, or from the Hub under the id `hub`, and check its counts.

    Args:
        name: `fer2013`.
        hub: a Hub id to take it from.
        data_hash: content hash that must come out, or its beginning. FER2013 circulates as csv and as JPEG
            files, whose pixels differ a little, so no single hash fits all.

    Returns:
        What `load` takes (the folder it was put in, or the Hub id) and the loaded, checked data set.

    Raises:
        DataError: the name is unknown, the source cannot be reached, or what came is not FER2013.
        MissingExtra: the packages of `fervit[download]` are not installed.
    """
    if name not in DOWNLOADS:
        raise DataError(unknown("data set", name, DOWNLOADS))
    source, dataset = DOWNLOADS[name](hub)
    if data_hash is not None and not dataset.data_hash.startswith(data_hash.strip().lower()):
        raise DataError(
            f"{source} has the content hash {dataset.data_hash}, expected {data_hash}: other pixels, labels or order"
        )
    return source, dataset


def check_fer2013(dataset: Dataset) -> None:
    """Compare the images per split and label with FER2013's.

    Raises:
        DataError: they differ (the message names the first difference), or images are not 48 x 48 and grey.
    """
    if tuple(map(canonical, dataset.labels)) != FER7:
        raise DataError(f"{dataset.name} is not FER2013: its labels are {', '.join(dataset.labels)}")
    if dataset.images.shape[1:] != (48, 48, 1):
        height, width, channels = dataset.images.shape[1:]
        raise DataError(f"{dataset.name} is not FER2013: its images are {height} x {width} x {channels}")
    if dataset.skipped:
        raise DataError(f"{dataset.name}: {len(dataset.skipped)} images cannot be read; download it again")
    for k, split in enumerate(SPLITS):
        found = np.bincount(dataset.targets[dataset.split_ids == k], minlength=len(FER7))
        for label, count, expected in zip(FER7, found.tolist(), FER2013_COUNTS[split], strict=True):
            if count != expected:
                raise DataError(
                    f"{dataset.name} is not the whole of FER2013: {count} images of {label} in {split}, "
                    f"expected {expected}; download it again"
                )


def _download_fer2013(hub: str | None) -> tuple[Path | str, Dataset]:
    from fervit.data import load

    source: Path | str = _from_kaggle(KAGGLE_ID) if hub is None else hub
    dataset = load(source)
    check_fer2013(dataset)
    return source, dataset


def _from_kaggle(handle: str) -> Path:
    try:
        import kagglehub
    except ImportError as error:
        raise MissingExtra("downloading from Kaggle", "download") from error
    _check_reachable(KAGGLE_ADDRESS)
    try:
        return Path(kagglehub.dataset_download(handle))
    except Exception as error:  # requests, urllib3 and kagglehub's own, by version
        raise DataError(
            f"{handle} could not be downloaded from Kaggle ({one_line(error)}); get it at "
            f"{KAGGLE_ADDRESS}/datasets/{handle} with a browser, unpack it and pass the folder"
        ) from error


def _check_reachable(address: str) -> None:
    """Fail fast and clearly offline: kagglehub itself retries for minutes."""
    request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "fervit"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            return
    except urllib.error.HTTPError:
        return  # a refusal, too, shows that the site can be reached
    except (OSError, ValueError) as error:
        cause = getattr(error, "reason", error)  # urllib wraps the system's error
        raise DataError(f"{address} cannot be reached ({cause}); connect to the internet and try again") from error


DOWNLOADS: dict[str, Callable[[str | None], tuple[Path | str, Dataset]]] = {"fer2013": _download_fer2013}
