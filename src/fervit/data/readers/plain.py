"""The readers of a csv, a parquet file, class folders and a Hub id, whatever data set is in them."""

from pathlib import Path

from fervit.data.cache import cached
from fervit.data.dataset import Dataset
from fervit.data.listing import ReadOptions
from fervit.data.source_files import cannot_read
from fervit.errors import DataError
from fervit.files import file_digest, name_of

FILE_FORMS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}


def read_plain(source: str | Path, form: str, options: ReadOptions) -> Dataset:
    """Read a source of a form.

    Args:
        source: a path, or a Hub id.
        form: `csv`, `parquet`, `folder` or `hub`.
        options: how to read it; see the readers.

    Raises:
        DataError: it cannot be read, or is of another form.
    """
    path = Path(source).expanduser()
    if form == "csv":
        from fervit.data.readers.fer2013 import read_csv

        key = file_key(path) + options.csv_key  # a csv keeps its size
        return cached(key, lambda store: read_csv(path, store, options), name=name_of(path.name))
    if form == "parquet":
        from fervit.data.readers.parquet import read_parquet

        key = file_key(path) + options.key
        name = options.part or name_of(path.name)
        return cached(key, lambda store: read_parquet(path, store, options), name=name)
    if form == "folder":
        from fervit.data.readers.folder import read_folder

        if not path.is_dir():
            raise DataError(
                f"{path} is no folder; expected a folder of class folders, train/angry/x.jpg or angry/x.jpg"
            )
        return read_folder(path.resolve(), options)
    from fervit.data.readers.hub import read_hub

    return read_hub(str(source), options)


def plain_form(path: Path) -> str:
    """Return which of the plain readers takes what is at a path: `folder`, `csv` or `parquet`.

    Raises:
        DataError: none.
    """
    form = "folder" if path.is_dir() else FILE_FORMS.get(path.suffix.lower())
    if form is None:
        raise DataError(f"{path} is neither a folder nor a .csv or .parquet file")
    return form


def file_key(path: Path) -> str:
    """Return the beginning of a cache entry's name for a file, by its content.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return f"file-{file_digest(path)[:32]}"
    except OSError as error:
        raise cannot_read(path, error) from error
