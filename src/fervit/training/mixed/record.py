"""What `run.json` says of the data that a run learns from, data set by data set."""

import hashlib

import numpy as np

from fervit.data.dataset import PUBLIC_TEST, SPLITS, TRAIN
from fervit.data.mixtures.leaks import Leaks
from fervit.data.mixtures.mixture import Mixture
from fervit.training.run_folder import DataRecord, Source


def describe_data(data: Mixture, kept: np.ndarray, leaks: Leaks | None) -> DataRecord:
    """Return what `run.json` says of the data.

    Args:
        data: all data sets with all their splits.
        kept: `(N,)` bool over the rows of the train split: they are learnt from.
        leaks: what was found of `TrainConfig.drop_leaks`; None where nothing was looked for.
    """
    sources = _sources(data, kept, leaks)
    record: DataRecord = {
        "name": data.name,
        "hash": data.data_hash,
        "n_train": int(kept.sum()),
        "n_val": sum(source["n_val"] for source in sources),
        "sources": sources,
    }
    if votes := [part.votes for part in data.parts if part.votes is not None]:
        record["votes"] = hashlib.sha256(b"".join(own.tobytes() for own in votes)).hexdigest()
    return record


def _sources(data: Mixture, kept: np.ndarray, leaks: Leaks | None) -> list[Source]:
    train, validation = SPLITS.index(TRAIN), SPLITS.index(PUBLIC_TEST)
    ends = np.cumsum([int((part.split_ids == train).sum()) for part in data.parts])
    found = np.zeros(len(kept), bool) if leaks is None else leaks.rows
    sources: list[Source] = []
    rows = np.split(np.arange(len(kept)), ends[:-1])
    for name, (part, weight), own in zip(data.part_names, data.weighted, rows, strict=True):
        targets = part.targets[part.split_ids == train][kept[own]]
        counts = np.bincount(targets, minlength=len(part.labels)).tolist()
        source: Source = {
            "name": name,
            "hash": part.data_hash,
            "licence": part.licence,
            "weight": weight,
            "n_train": len(targets),
            "n_val": int((part.split_ids == validation).sum()),
            "classes": dict(zip(part.labels, counts, strict=True)),
        }
        if leaks is not None:
            source["leaks"] = int(found[own].sum())
        sources.append(source)
    return sources
