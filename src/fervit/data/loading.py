"""Load and save data sets: `load()` reads every form that fervit reads into one `Dataset`."""

import logging
from pathlib import Path
from typing import TypedDict

from fervit.data.cache import cached
from fervit.data.dataset import Dataset
from fervit.data.labelling.apply import apply_rules, name_numbers
from fervit.data.labelling.rules import DropLabels, LabelMap, LabelRules, read_rules
from fervit.data.listing import ReadOptions
from fervit.data.source_files import cannot_read, special_file
from fervit.data.source_spec import parse_source
from fervit.errors import ConfigError, DataError, is_count, quoted, reason
from fervit.files import as_path, file_digest, name_of, replacing

log = logging.getLogger(__name__)

FORMS = (
    "a .csv file as FER2013's (emotion, pixels, Usage); a .parquet file (image, label, usage); a folder of class "
    "folders (train/angry/x.jpg or angry/x.jpg); synthetic[:N[:seed]]; or a Hub data set id owner/name"
)
FILE_FORMS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}


class LoadKeywords(TypedDict, total=False):
    """The options of `load`, as keywords of functions that pass them on."""

    votes: str | Path | None
    size_px: int | None
    label_map: LabelMap | LabelRules | None
    drop_labels: DropLabels | None
    need_labels: bool


def load(
    source: str | Path,
    *,
    votes: str | Path | None = None,
    size_px: int | None = None,
    label_map: LabelMap | LabelRules | None = None,
    drop_labels: DropLabels | None = None,
    need_labels: bool = True,
) -> Dataset:
    """Load a data set; decoded once, then opened from a memory-mapped cache.

    What was decided about a source that its owner may not expect (made-up splits, labels read as one, images left
    out) is in `Dataset.notes`, and logged as warnings.

    Args:
        source: a csv or parquet file, a folder of class folders, `synthetic[:N[:seed]]` or a Hub id.
        votes: FER+ votes to join (csv or parquet), for FER2013 in its csv order.
        size_px: side to squash images to; by default images that are all of one size up to 224 px keep it, and
            others become squares of their longest side, at most 224 px. A csv keeps its size.
        label_map: new names of labels, matched by name whatever its spelling: `"suprise=surprise,joy=happy"`, a
            mapping, a TOML file, or for numbers the name of a label set (`fer7`, `ferplus8`, `raf7`, `affectnet8`).
        drop_labels: labels whose images are left out, such as `"contempt"`.
        need_labels: False for pre-training, which reads images alone: whatever labels there are will do.

    Raises:
        DataError: the source is none of these, missing or malformed, or its labels need names.
        ConfigError: `label_map` or `drop_labels` is malformed, or the source has a weight, which is for training.
    """
    from fervit.data.synthetic.dataset import parse_synthetic

    if isinstance(source, str):
        source = unweighted(source)
    if not (isinstance(source, str) and parse_synthetic(source) is not None):
        as_path(source, "a data set", DataError)
    form = form_of(source)
    if votes is not None and form in ("folder", "hub"):
        raise DataError(
            f"FER+ votes are joined by fer2013.csv's rows; {source} has no such order: use the csv or parquet"
        )
    if size_px is not None and not is_count(size_px):
        raise DataError(f"expected size_px to be a whole number from 1, got {quoted(size_px)}")
    rules = read_rules(label_map, drop_labels)
    dataset = _read(source, form, ReadOptions(size_px, rules, need_labels))
    if votes is not None:
        from fervit.data.readers.ferplus import join_votes

        dataset = join_votes(dataset, Path(votes), name_numbers(dataset, rules, str(source)))
    dataset = apply_rules(dataset, rules, str(source), need_labels=need_labels)
    for note in dataset.notes:
        log.warning("%s: %s", dataset.name, note)
    return dataset


def form_of(source: str | Path) -> str:
    """Return which reader takes `source`: `csv`, `parquet`, `folder`, `synthetic` or `hub`.

    What exists on disk comes first; a name `owner/name` is a Hub id unless there is a folder `owner` here.

    Raises:
        DataError: it is none of the accepted forms (the message lists them).
    """
    from fervit.data.readers.hub import HUB_ID
    from fervit.data.synthetic.dataset import parse_synthetic

    path = Path(source).expanduser()
    if path.is_dir():
        return "folder"
    file_form = FILE_FORMS.get(path.suffix.lower())
    if path.is_file():
        if file_form is None:
            raise DataError(f"{path} is no data set that fervit reads; expected {FORMS}")
        return file_form
    if kind := special_file(path):
        raise DataError(f"{path} is {kind}; expected {FORMS}")
    if isinstance(source, str):
        if parse_synthetic(source) is not None:
            return "synthetic"
        if HUB_ID.fullmatch(source) and file_form is None and not path.parent.is_dir():
            return "hub"
    raise DataError(f"no data set at {source}; expected {FORMS}")


def save(dataset: Dataset, out: Path, *, overwrite: bool = False) -> None:
    """Write a data set as a `.csv` file, a `.parquet` file or a folder, in FER2013's own forms.

    Each form loads as the same data, with the same content hash.

    Raises:
        DataError: `out` is in the way (see `check_out`) or cannot be written, or a csv cannot hold the data.
    """
    from fervit.data.readers.fer2013 import write_csv
    from fervit.data.readers.folder import remove_written, write_folder
    from fervit.data.readers.parquet import write_parquet

    check_out(out, overwrite=overwrite)
    write = {"csv": write_csv, "parquet": write_parquet}.get(FILE_FORMS.get(out.suffix.lower(), ""))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if write is None:
            if out.exists():
                remove_written(out)
            write_folder(dataset, out)
            return
        with replacing(out) as beside:
            write(dataset, beside)
    except OSError as error:
        raise DataError(f"cannot write {out} ({reason(error)})") from error


def check_out(out: Path, *, overwrite: bool) -> None:
    """Refuse a place to write to that is in the way; an empty folder is none.

    Raises:
        DataError: `out` exists without `overwrite`, or it is a folder where a file is meant or vice versa.
    """
    if out.exists() and not overwrite and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out} exists; pass --overwrite to replace it, or another --out")
    meant = "file" if out.suffix.lower() in FILE_FORMS else "folder"
    found = "folder" if out.is_dir() else "file"
    if out.exists() and meant != found:
        raise DataError(f"{out} is a {found}; names that end in .csv or .parquet make files, all others folders")


def unweighted(source: str) -> str:
    """Return a source whose name ends in no weight.

    Raises:
        ConfigError: it has one other than 1.
    """
    spec = parse_source(source, ())
    if spec.weight != 1:
        raise ConfigError(
            f"{source}: a weight says how often training draws the images of a source; here give {spec.source}"
        )
    return spec.source


def _read(source: str | Path, form: str, options: ReadOptions) -> Dataset:
    path = Path(source).expanduser()
    if form == "csv":
        from fervit.data.readers.fer2013 import read_csv

        key = _file_key(path) + ("" if options.need_labels else "-unlabelled")  # a csv keeps its size
        return cached(key, lambda store: read_csv(path, store, options), name=name_of(path.name))
    if form == "parquet":
        from fervit.data.readers.parquet import read_parquet

        return cached(
            _file_key(path) + options.key, lambda store: read_parquet(path, store, options), name=name_of(path.name)
        )
    if form == "folder":
        from fervit.data.readers.folder import read_folder

        return read_folder(path.resolve(), options)
    if form == "hub":
        from fervit.data.readers.hub import read_hub

        return read_hub(str(source), options)
    from fervit.data.synthetic.dataset import drawing_digest, parse_synthetic, synthesize

    parsed = parse_synthetic(str(source))
    assert parsed is not None, source
    count, seed = parsed
    return cached(f"synthetic-{count}-{seed}-{drawing_digest()}", lambda _: synthesize(count, seed=seed))


def _file_key(path: Path) -> str:
    try:
        return f"file-{file_digest(path)[:32]}"
    except OSError as error:
        raise cannot_read(path, error) from error
