"""What a source lists before its images are decoded: labels, splits and names."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fervit.data.cache import content_hash
from fervit.data.dataset import Dataset
from fervit.data.decode import Contents, describe_failed
from fervit.data.labelling.conventions import Convention
from fervit.data.labelling.values import UNLABELLED, SourceLabels, order_labels
from fervit.data.photos.cutting import FaceCutter
from fervit.data.photos.reading import read_faces
from fervit.data.splitting.draw import Material, make_splits, small_grey
from fervit.data.splitting.groups import Grouping, group_names
from fervit.label_rules import NO_RULES, LabelRules


class EncodedRead(Exception):
    """Ends the reading of a source whose encoded images alone were wanted."""


@dataclass(frozen=True)
class ReadOptions:
    """How a source is read.

    Attributes:
        size_px: side to squash images to; see `decode_all`.
        rules: what the user says about labels. Readers refuse labels without names at once where there are no rules
            that may name them; `apply_rules` does the rest.
        need_labels: False for pre-training, which reads the images of train alone.
        convention: what numbers mean, and how file names tell the person, where the user named the source's form.
        grouping: which images stay on one side of a split that fervit draws, beside those of one person.
        fractions: of the three splits, to divide all images anew; None to draw only what a source lacks.
        cutter: cuts the faces out of photos; None where the images are face crops.
        part: of a file that holds several data sets, the name of the one that is wanted; None takes all.
        encoded: called with the encoded images in place of decoding them, see `assemble`.
    """

    size_px: int | None = None
    rules: LabelRules = NO_RULES
    need_labels: bool = True
    convention: Convention | None = None
    grouping: Grouping | None = None
    fractions: tuple[float, float, float] | None = None
    cutter: FaceCutter | None = None
    part: str | None = None
    encoded: Callable[[Contents], None] | None = None

    @property
    def key(self) -> str:
        """What of this changes the decoded data: the end of a cache entry's name."""
        size = "" if self.size_px is None else f"-{self.size_px}px"
        cut = "" if self.cutter is None else f"-cut{self.cutter.key}"
        return size + cut + self.csv_key + self._part_key

    @property
    def _part_key(self) -> str:
        part = "" if self.part is None else f"-part-{hashlib.sha256(self.part.encode()).hexdigest()[:16]}"
        return part + ("" if self.encoded is None else "-encoded")  # what is encoded is never stored, see `assemble`

    @property
    def csv_key(self) -> str:
        """The same for images that keep their size."""
        said = repr((self.convention, self.grouping, self.fractions))
        plain = (self.convention, self.grouping, self.fractions) == (None, None, None)
        digest = "" if plain else f"-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
        return ("" if self.need_labels else "-unlabelled") + digest


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
        groups: the value of the column that `--group-by` names, for each row; or None.
        draw_by: a text for each row that its split is drawn by in place of its content, which is what is drawn from
            where an image is cut out of another; or None.
        cropped: whether fervit wrote the source, so that its images are face crops.
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
    groups: list[str] | None = None
    draw_by: list[str] | None = None
    cropped: bool = False


def index_labels(labels: SourceLabels) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the label set, in the data set's order, and `(N,)` int64 targets."""
    names = order_labels([*labels.names, *labels.declared])
    index = {name: k for k, name in enumerate(names)}
    return names, np.array([index[name] for name in labels.names], dtype=np.int64)


def label_names(listing: Listing) -> tuple[str, ...]:
    """Return the names of the label set, for messages: those of the source's convention where labels are numbers."""
    names, _ = index_labels(listing.labels)
    return tuple(listing.labels.codes.names.get(name, name) for name in names)


def assemble(listing: Listing, contents: Contents, store: Path, options: ReadOptions) -> Dataset:
    """Decode the images into the folder `store` and return the data set; see `decode_all`.

    Raises:
        DataError: no image can be read, or the disk is full.
        EncodedRead: the encoded images were wanted, and were handed over. Nothing is decoded, or stored by the cache.
    """
    if options.encoded is not None:
        options.encoded(contents)
        raise EncodedRead
    count, cutter = len(listing.sources), options.cutter
    decoded, face_counts, of_photos = read_faces(
        contents, count, store, cutter, options.size_px, cropped=listing.cropped or listing.draw_by is not None
    )
    unreadable, skipped = describe_failed(decoded.failed, listing.sources, listing.where)
    labels, targets = index_labels(listing.labels)
    kept = decoded.kept
    split_ids = None if listing.split_ids is None else listing.split_ids[kept]
    made_up: list[str] = []
    unlabelled = not options.need_labels or {name.lower() for name in labels} <= UNLABELLED
    if split_ids is None or options.fractions or not (unlabelled or listing.as_saved):
        material = _material(listing, kept, contents, options)
        split_ids, made_up = make_splits(split_ids, material, options.fractions)
    made_up += idle_grouping(options, made_up)
    return Dataset(
        name=listing.name,
        labels=labels,
        images=decoded.images,
        targets=targets[kept],
        split_ids=split_ids,
        rows=kept,
        data_hash=content_hash(decoded.images, targets[kept], split_ids),
        sources=[listing.sources[row] for row in kept],
        skipped=skipped,
        notes=(*listing.notes, *listing.labels.notes, *made_up, *unreadable, *of_photos),
        codes=listing.labels.codes,
        subjects=None if listing.subjects is None else [listing.subjects[row] for row in kept],
        licence=listing.licence,
        drawn_splits=listing.split_ids is None and options.fractions is None,
        face_counts=face_counts,
        detector="" if face_counts is None or options.cutter is None else options.cutter.detector,
    )


def _material(listing: Listing, kept: np.ndarray, contents: Contents, options: ReadOptions) -> Material:
    """Return what the splits of the rows that could be read are drawn from.

    Raises:
        DataError: `--group-by` fits nothing in the source.
    """
    _, targets = index_labels(listing.labels)
    readable = np.zeros(len(targets), bool)
    readable[kept] = True

    def readable_contents() -> Iterator[bytes]:
        return (content for content, stays in zip(contents(), readable, strict=True) if stays)

    def drawn_by() -> Iterator[bytes]:
        assert listing.draw_by is not None
        return (listing.draw_by[row].encode("utf-8", "surrogateescape") for row in kept)

    return Material(
        label_names(listing),
        targets[kept],
        readable_contents if listing.draw_by is None else drawn_by,
        lambda: small_grey(readable_contents()),
        *groups_of(listing, kept, options),
    )


def idle_grouping(options: ReadOptions, made_up: list[str]) -> list[str]:
    """Return in words that `--group-by` changes nothing, where no split is drawn."""
    if options.grouping is None or made_up:
        return []
    return [
        f"--group-by {options.grouping.text} changes nothing, since the source has splits of its own; --fractions "
        "80/10/10 divides all images anew"
    ]


def groups_of(listing: Listing, kept: np.ndarray, options: ReadOptions) -> tuple[list[str] | None, str]:
    """Return the group of each row that could be read, or None; and what these groups are, in words.

    Raises:
        DataError: `--group-by` fits nothing in the source.
    """
    if options.grouping is None:
        return (None if listing.subjects is None else [listing.subjects[row] for row in kept]), "people"
    sources = [listing.sources[row] for row in kept]
    if listing.groups is not None:
        return [listing.groups[row] for row in kept], f"groups by {options.grouping.text}"
    targets = index_labels(listing.labels)[1][kept].tolist()
    return group_names(options.grouping, sources, targets, listing.where), f"groups by {options.grouping.text}"
