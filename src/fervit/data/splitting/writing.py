"""`split_data`: divide a data set and write down which split each image is in, as `fervit data split` does."""

from pathlib import Path
from typing import Unpack

from fervit.data.dataset import Dataset
from fervit.data.loading import LoadKeywords, check_out, load, save
from fervit.data.readers.plain import FILE_FORMS
from fervit.data.splitting.table import write_splits
from fervit.errors import ConfigError


def split_data(source: str | Path, out: Path, *, overwrite: bool = False, **options: Unpack[LoadKeywords]) -> Dataset:
    """Load a data set and write down its splits, those that the source has as well as those that are drawn.

    Args:
        source: as for `load`.
        out: a `.csv` file, a line for each image, that `load(source, splits=out)` takes; or a `.parquet` file with the
            images, which is a data set of its own.
        overwrite: replace `out` where it exists.
        options: those of `load`: `fractions` to divide all images anew, `group_by` for what stays on one side.

    Returns:
        The data set with these splits.

    Raises:
        ConfigError: `out` ends otherwise.
        DataError: the data cannot be read, or `out` is in the way or cannot be written.
    """
    form = FILE_FORMS.get(out.suffix.lower())
    if form is None:
        raise ConfigError(f"splits are written to a .csv file, or with the images to a .parquet file; got {out}")
    check_out(out, overwrite=overwrite)
    dataset = load(source, **options)
    if form == "csv":
        write_splits(dataset, out)
    else:
        save(dataset, out, overwrite=overwrite)
    return dataset
