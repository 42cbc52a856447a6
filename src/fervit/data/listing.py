"""What a source lists before its images are decoded: labels, splits and names."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fervit.data.cache import content_hash
from fervit.data.dataset import Dataset
from fervit.data.decode import Contents, decode_all, describe_failed
from fervit.data.labelling.rules import NO_RULES, LabelRules
from fervit.data.labelling.values import UNLABELLED, SourceLabels, order_labels
from fervit.data.splits import make_splits


@dataclass(frozen=True)
class ReadOptions:
    """How a source is read.

    Attributes:
        size_px: side to squash images to; see `decode_all`.
        rules: what the user says about labels. Readers refuse labels without names at once where there are no rules
            that may name them; `apply_rules` does the rest.
        need_labels: False for pre-training, which reads the images of train alone.
    """

    size_px: int | None = None
    rules: LabelRules = NO_RULES
    need_labels: bool = True

    @property
    def key(self) -> str:
        """What of this changes the decoded data: the end of a cache entry's name."""
        return ("" if self.size_px is None else f"-{self.size_px}px") + ("" if self.need_labels else "-unlabelled")


@dataclass(frozen=True)
class Listing:
    """The rows of a source, in its order.

    Attributes:
        name: name of the data set.
        where: the source, for messages.
        labels: the label of each row.
        split_ids: `(N,)` int8 indices into `SPLITS`, or None where the source has no splits; see `make_splits`.
        sources: name per row, for messages.
        notes: what was decided about the source so far, in words.
        as_saved: whether fervit wrote the source, so that its splits are as their owner wants them.
        subjects: the person on the image of each row, where the source says who it is; or None.
        licence: see `Dataset.licence`.
    """

    name: str
    where: str
    labels: SourceLabels
    split_ids: np.ndarray | None
    sources: list[str]
    notes: tuple[str, ...] = ()
    as_saved: bool = False
    subjects: list[str] | None = None
    licence: str = ""


def index_labels(labels: SourceLabels) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the label set, in the data set's order, and `(N,)` int64 targets."""
    names = order_labels([*labels.names, *labels.declared])
    index = {name: k for k, name in enumerate(names)}
    return names, np.array([index[name] for name in labels.names], dtype=np.int64)


def assemble(listing: Listing, contents: Contents, store: Path, options: ReadOptions) -> Dataset:
    """Decode the images into the folder `store` and return the data set; see `decode_all`.

    Raises:
        DataError: no image can be read, or the disk is full.
    """
    decoded = decode_all(contents, store, size_px=options.size_px)
    unreadable, skipped = describe_failed(decoded.failed, listing.sources, listing.where)
    labels, targets = index_labels(listing.labels)
    split_ids = listing.split_ids
    made_up: list[str] = []
    unlabelled = not options.need_labels or {name.lower() for name in labels} <= UNLABELLED
    if split_ids is None or not (unlabelled or listing.as_saved):
        split_ids, made_up = make_splits(split_ids, contents)
    kept = decoded.kept
    return Dataset(
        name=listing.name,
        labels=labels,
        images=decoded.images,
        targets=targets[kept],
        split_ids=split_ids[kept],
        rows=kept,
        data_hash=content_hash(decoded.images, targets[kept], split_ids[kept]),
        sources=[listing.sources[row] for row in kept],
        skipped=skipped,
        notes=(*listing.notes, *listing.labels.notes, *made_up, *unreadable),
        codes=listing.labels.codes,
        subjects=None if listing.subjects is None else [listing.subjects[row] for row in kept],
        licence=listing.licence,
        drawn_splits=listing.split_ids is None,
    )
