"""The parts of a run that can be ended at any moment, and the one file that they become."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from fervit.data.conversion.columns import METADATA
from fervit.data.dataset import PUBLIC_TEST, TRAIN
from fervit.data.readers.parquet import import_parquet
from fervit.data.splits import draw
from fervit.errors import ConfigError, DataError
from fervit.files import cannot_write, read_json, replacing
from fervit.pseudolabels.options import PseudoCounts, PseudoOptions
from fervit.types import ModelSpec

if TYPE_CHECKING:
    from pyarrow import Schema, Table

SETTINGS = "settings.json"
COUNTS = b"counts"  # key of a part's metadata


class Row(TypedDict):
    """One face, as the file has it."""

    image: bytes
    label: int
    label_name: str
    votes: list[float]
    split: str
    filename: str
    source: str
    box: list[float]
    face_score: float
    confidence: float
    licence: str


@dataclass(frozen=True)
class PartCounts:
    """What became of the photos of a part; see `PseudoCounts`. `highest` is the largest confidence of their faces."""

    photos: int
    faces: int
    without: int
    failed: int
    first_failure: str
    highest: float


@dataclass(frozen=True)
class Part:
    """The confident faces of some photos."""

    rows: list[Row]
    counts: PartCounts


class Parts:
    """A folder beside the file, with a parquet file for every few photos.

    Args:
        out: the file that they become.
        spec: the model's.
        fingerprint: a digest of all that decides what the parts hold.
        overwrite: start anew where there are parts.

    Raises:
        ConfigError: there are parts of a run with other settings, or the folder cannot be written.
        MissingExtra: pyarrow is not installed.
    """

    def __init__(self, out: Path, spec: ModelSpec, fingerprint: str, *, overwrite: bool):
        self._parquet = import_parquet("pseudo-labels")
        self.out, self.folder, self._spec = out, out.with_name(f"{out.name}.parts"), spec
        self._schema = _schema(spec)
        try:
            if overwrite and self.folder.exists():
                shutil.rmtree(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            settings = self.folder / SETTINGS
            if not settings.exists():
                with replacing(settings) as beside:
                    beside.write_text(json.dumps({"fingerprint": fingerprint}), encoding="utf-8")
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        if read_json(settings).get("fingerprint") != fingerprint:
            raise ConfigError(
                f"{self.folder} holds a run with another model, other photos or settings: repeat that command to go on "
                "with it, or add --overwrite to start anew"
            )

    def has(self, number: int) -> bool:
        """Return whether a part is there; each is whole."""
        return self._path(number).exists()

    def write(self, number: int, part: Part) -> None:
        """Write a part.

        Raises:
            ConfigError: the disk is full.
        """
        import pyarrow

        metadata = {**self._schema.metadata, COUNTS: json.dumps(asdict(part.counts))}
        table = pyarrow.Table.from_pylist(part.rows, schema=self._schema.with_metadata(metadata))
        try:
            with replacing(self._path(number)) as beside:
                self._parquet.write_table(table, beside, compression="none")  # PNG is compressed already
        except OSError as error:
            raise cannot_write(self._path(number), error) from error

    def merge(self, count: int, how: PseudoOptions, before: int) -> PseudoCounts:
        """Write the file from the parts, a part at a time, and delete them.

        Args:
            count: how many parts there are.
            how: the cap for each label, and the fraction for validation.
            before: photos that an earlier run had done.

        Raises:
            DataError: no face is confident enough.
            ConfigError: the file cannot be written.
        """
        counts = [self._counts(number) for number in range(count)]
        small = [self._parquet.read_table(self._path(k), columns=["label", "confidence"]) for k in range(count)]
        labels = np.concatenate([table["label"].to_numpy() for table in small])
        confidences = np.concatenate([table["confidence"].to_numpy() for table in small])
        kept = _most_confident(labels, confidences, how.per_class)
        faces = sum(part.faces for part in counts)
        if not kept.any():
            self._remove()
            highest = max((part.highest for part in counts), default=0.0)
            raise DataError(
                f"none of the {faces:,} faces on {sum(part.photos for part in counts):,} photos has a confidence of "
                f"{how.min_confidence:g} or more" + (f"; the highest is {highest:.3f}" if faces else "")
            )
        ends = np.cumsum([table.num_rows for table in small])[:-1]
        try:
            with (
                replacing(self.out) as beside,
                self._parquet.ParquetWriter(beside, self._schema, compression="none") as writer,
            ):
                for number, mask in enumerate(np.split(kept, ends)):
                    for table in self._chosen(number, mask, how.validation):
                        writer.write_table(table)
        except OSError as error:
            raise cannot_write(self.out, error) from error
        self._remove()
        per_label = np.bincount(labels[kept], minlength=len(self._spec.labels)).tolist()
        return PseudoCounts(
            photos=sum(part.photos for part in counts),
            faces=faces,
            kept=dict(zip(self._spec.labels, per_label, strict=True)),
            below=faces - len(labels),
            over=int((~kept).sum()),
            without=sum(part.without for part in counts),
            failed=sum(part.failed for part in counts),
            first_failure=next((part.first_failure for part in counts if part.first_failure), ""),
            before=before,
        )

    def _chosen(self, number: int, mask: np.ndarray, validation: float) -> "Iterator[Table]":
        """Yield the kept rows of a part, with their splits, as a table with the file's metadata."""
        import pyarrow

        if not mask.any():
            return
        table = self._parquet.read_table(self._path(number)).filter(pyarrow.array(mask))
        splits = [PUBLIC_TEST if draw(image.as_py()) < validation else TRAIN for image in table["image"]]
        place = table.schema.get_field_index("split")
        table = table.set_column(place, "split", pyarrow.array(splits))
        yield table.cast(self._schema)

    def _counts(self, number: int) -> PartCounts:
        metadata = self._parquet.read_schema(self._path(number)).metadata
        return PartCounts(**json.loads(metadata[COUNTS]))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.parquet"

    def _remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _most_confident(labels: np.ndarray, confidences: np.ndarray, most: int | None) -> np.ndarray:
    """Return `(N,)` bool: the `most` most confident faces of each label, the first ones where they are as confident."""
    kept = np.ones(len(labels), bool)
    if most is None:
        return kept
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        kept[rows[np.argsort(-confidences[rows], kind="stable")[most:]]] = False
    return kept


def _schema(spec: ModelSpec) -> "Schema":
    import pyarrow

    text, floats = pyarrow.string(), pyarrow.list_(pyarrow.float32())
    columns: Sequence[tuple[str, object]] = (
        ("image", pyarrow.binary()),
        ("label", pyarrow.int16()),
        ("label_name", text),
        ("votes", floats),
        ("split", text),
        ("filename", text),
        ("source", text),
        ("box", floats),
        ("face_score", pyarrow.float32()),
        ("confidence", pyarrow.float32()),
        ("licence", text),
    )
    said = {"labels": spec.labels, "pseudolabels": {"model": spec.name or spec.arch, "data_hash": spec.data_hash}}
    return pyarrow.schema(columns).with_metadata({METADATA: json.dumps(said)})
