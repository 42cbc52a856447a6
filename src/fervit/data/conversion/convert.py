"""`convert`: one or several data sets as one parquet file, streamed, each image as its source has it."""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
from PIL import Image

from fervit.data.conversion.columns import Part, metadata_of
from fervit.data.dataset import SPLITS, Dataset
from fervit.data.loading import LoadKeywords, check_out
from fervit.data.mixtures.loading import Origin, Sources, load_origins
from fervit.data.mixtures.mixture import Mixture
from fervit.data.readers.parquet import import_parquet
from fervit.data.readers.plain import FILE_FORMS
from fervit.data.splits import USAGES
from fervit.errors import DataError, reason
from fervit.files import as_path, replacing
from fervit.licences import Licence, as_text, union

if TYPE_CHECKING:
    from pyarrow import Schema
    from pyarrow.parquet import ParquetWriter

BATCH_ROWS, BATCH_BYTES = 1024, 32_000_000  # that are held in memory, and written as one row group

Progress = Callable[[int, int], None]
"""Called with the images written and the images in all."""


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        path: the file.
        size: its bytes.
        counts: images of each data set, by its name.
        licences: of all data sets.
    """

    path: Path
    size: int
    counts: dict[str, int]
    licences: tuple[Licence, ...]


def convert(
    sources: Sources,
    out: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Unpack[LoadKeywords],
) -> Converted:
    """Write data sets as one parquet file, with all that is known of each image.

    The columns are `image` (encoded as in the source; PNG where that has none), `label` and `label_name`, `source`,
    `usage`, `licence` and `filename`, and `votes` and `subject`, which are null where there are none; labels
    and weights of the data sets are in the file's metadata. What `load_mixture` leaves out is not written.

    One data set is read back as the same `Dataset`: labels, splits, votes, subjects, licence and content hash. Several
    are read back by `load_mixture` as the same `Mixture`, each with images of its own size.

    Args:
        sources: as for `load_mixture`.
        out: the `.parquet` file to write.
        overwrite: replace it if it exists.
        progress: called with images written and images in all.
        options: as for `load`.

    Raises:
        DataError: a source cannot be read (see `load_mixture`) or changes meanwhile, or `out` exists, is no `.parquet`
            file or cannot be written.
        ConfigError: see `load_mixture`.
    """
    out = as_path(out, "a parquet file", DataError)
    if FILE_FORMS.get(out.suffix.lower()) != "parquet":
        raise DataError(f"expected a file that ends in .parquet, got {out.name}")
    check_out(out, overwrite=overwrite)
    parquet = import_parquet("writing parquet")
    mixture, origins = load_origins(sources, **options)
    names = mixture.part_names
    parts = [
        Part(name, _own_labels(part), weight) for name, (part, weight) in zip(names, mixture.weighted, strict=True)
    ]
    schema = _schema(mixture, parts)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # Images are compressed already, and each is another: neither codec nor dictionary gains anything.
        packed = [name for name in schema.names if name != "image"]
        with (
            replacing(out) as beside,
            parquet.ParquetWriter(beside, schema, compression="none", use_dictionary=packed) as writer,
        ):
            rows = _Rows(writer, schema, progress, total=len(mixture))
            for name, part, origin in zip(names, mixture.parts, origins, strict=True):
                _write_part(rows, name, part, origin, options)
    except OSError as error:
        raise DataError(f"cannot write {out} ({reason(error)})") from error
    counts = {name: len(part) for name, part in zip(names, mixture.parts, strict=True)}
    return Converted(out, out.stat().st_size, counts, union(mixture.licences))


def _own_labels(part: Dataset) -> tuple[str, ...]:
    """Return the labels that a data set has images of or votes for; another of the mixture may have more."""
    occurring = np.bincount(part.targets, minlength=len(part.labels)) > 0
    if part.votes is not None:
        occurring |= part.votes.any(axis=0)
    return tuple(name for name, occurs in zip(part.labels, occurring, strict=True) if occurs)


def _schema(mixture: Mixture, parts: Sequence[Part]) -> "Schema":
    import pyarrow

    if len(parts) == 1:  # a label without images is one of the data set's
        parts = [Part(parts[0].name, mixture.labels, parts[0].weight)]
    fields = {
        "image": pyarrow.binary(),
        "label": pyarrow.int16(),
        "label_name": pyarrow.string(),
        "votes": pyarrow.list_(pyarrow.float32()),
        "source": pyarrow.string(),
        "usage": pyarrow.string(),
        "subject": pyarrow.string(),
        "licence": pyarrow.string(),
        "filename": pyarrow.string(),
    }
    return pyarrow.schema(list(fields.items()), metadata=metadata_of(mixture.labels, parts))


class _Rows:
    """Rows that are written as soon as there are enough of them."""

    def __init__(self, writer: "ParquetWriter", schema: "Schema", progress: Progress | None, *, total: int):
        self.writer, self.schema, self.progress, self.total = writer, schema, progress, total
        self.held: list[dict[str, object]] = []
        self.bytes = self.written = 0

    def add(self, image: bytes, row: dict[str, object]) -> None:
        self.held.append({"image": image, **row})
        self.bytes += len(image)
        if len(self.held) >= BATCH_ROWS or self.bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        import pyarrow

        if not self.held:
            return
        self.writer.write_table(pyarrow.Table.from_pylist(self.held, schema=self.schema))
        self.written += len(self.held)
        self.held, self.bytes = [], 0
        if self.progress is not None:
            self.progress(self.written, self.total)


def _write_part(rows: _Rows, name: str, part: Dataset, origin: Origin, options: LoadKeywords) -> None:
    """Write the images of one data set, those of its source where it has them encoded.

    Raises:
        DataError: the source is not what it was when it was loaded.
    """
    licence = "" if part.licences == (Licence(part.name),) else as_text(part.licences)

    def described(k: int) -> dict[str, object]:
        votes = None if part.votes is None or not part.votes[k].any() else part.votes[k].tolist()
        return {
            "label": int(part.targets[k]),
            "label_name": part.labels[part.targets[k]],
            "votes": votes,
            "source": name,
            "usage": USAGES[SPLITS[part.split_ids[k]]],
            "subject": None if part.subjects is None else part.subjects[k],
            "licence": licence,
            "filename": f"{part.rows[k]:07d}.png" if part.sources is None else part.sources[k],
        }

    def copy(contents: Iterable[bytes]) -> None:
        k = 0
        for position, content in enumerate(contents):
            if k < len(part) and position == part.rows[k]:
                rows.add(content, described(k))
                k += 1
        if k < len(part):
            raise DataError(f"{part.name} has changed while it was read: run it again")

    if not (_in_order(part.rows) and origin.read_encoded(copy, options)):
        for k, image in enumerate(part.images):
            rows.add(_png(image), described(k))
    rows.flush()  # no row group has images of two data sets


def _in_order(rows: np.ndarray) -> bool:
    return bool((np.diff(rows) > 0).all())


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(buffer, format="PNG")
    return buffer.getvalue()
