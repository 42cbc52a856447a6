"""Load and save data sets: `load()` reads every form that fervit reads into one `Dataset`."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict, Unpack

from fervit.data.cache import cached
from fervit.data.dataset import Dataset
from fervit.data.labelling.apply import apply_rules, name_numbers
from fervit.data.listing import EncodedRead, ReadOptions
from fervit.data.photos.cutting import SIDE_PX, FaceCutter, cutter_for
from fervit.data.photos.reading import crops_already, leave_out_missed
from fervit.data.readers.named.forms import FERPLUS_FORMS, FORM_NAMES, NAMED, is_hub_id, read_named, recognise
from fervit.data.readers.plain import FILE_FORMS
from fervit.data.source_files import special_file
from fervit.data.source_spec import FORM, parse_source
from fervit.data.splitting.draw import read_fractions
from fervit.data.splitting.groups import read_grouping
from fervit.data.splitting.table import apply_splits
from fervit.errors import ConfigError, DataError, is_count, quoted, reason, unknown
from fervit.files import as_path, replacing
from fervit.label_rules import DropLabels, LabelMap, LabelRules, read_rules
from fervit.licences import check_terms, non_commercial

Detect = bool | str | FaceCutter
"""Whether the faces of photos are cut out, by which detector, or how."""

log = logging.getLogger(__name__)

FORMS = (
    "a .csv file as FER2013's (emotion, pixels, Usage); a .parquet file (image, label, usage); a folder of class "
    "folders (train/angry/x.jpg or angry/x.jpg); synthetic[:N[:seed]]; or a Hub data set id owner/name; public ones by "
    "their names, as rafdb:PATH"
)
CROP_FORMS = {"csv": "a csv holds pixels of one size", "synthetic": "drawn faces fill their images"}


VOTED_FORMS = ("csv", "parquet", "synthetic", "fer2013", *FERPLUS_FORMS)
"""Those that FER+'s votes may belong to."""


class LoadKeywords(TypedDict, total=False):
    """The options of `load`, as keywords of functions that pass them on; see `LoadOptions`."""

    votes: str | Path | None
    size_px: int | None
    label_map: LabelMap | LabelRules | None
    drop_labels: DropLabels | None
    need_labels: bool
    splits: str | Path | None
    group_by: str | None
    fractions: str | Sequence[float] | None
    detect: Detect
    keep_missed: bool
    licence: str | None
    part: str | None


@dataclass(frozen=True)
class LoadOptions:
    """How a data set is loaded.

    Attributes:
        votes: FER+ votes to join (csv or parquet), for FER2013 in its csv order.
        size_px: side to squash images to; by default images that are all of one size up to 224 px keep it, and
            others become squares of their longest side, at most 224 px. A csv keeps its size.
        label_map: new names of labels, matched by name whatever its spelling: `"suprise=surprise,joy=happy"`, a
            mapping, a TOML file, or for numbers the name of a label set (`fer7`, `ferplus8`, `raf7`, `affectnet8`).
        drop_labels: labels whose images are left out, such as `"contempt"`.
        need_labels: False for pre-training, which reads images alone: whatever labels there are will do.
        splits: a csv file that says which split each image is in, as `fervit data split` writes it.
        group_by: what stays on one side of splits that are drawn: a column, `folder`, or a regular expression with one
            group that finds it in an image's name.
        fractions: of train, public_test and private_test, to divide all images anew, such as `"80/10/10"`.
        detect: the images are whole photos, whose largest face is cut out as `fervit predict` cuts it: True, the name
            of a detector (`fervit.make_detector`), or a `FaceCutter`, for another margin or a model's.
        keep_missed: photos without a face keep their row, with a black image and 0 in `Dataset.face_counts`; by
            default they are left out, counted and named.
        licence: the terms of the images, as SPDX or in words, where fervit does not know them.
        part: of a parquet file that holds several data sets (`fervit data convert`), the name of the one to take.
    """

    votes: str | Path | None = None
    size_px: int | None = None
    label_map: LabelMap | LabelRules | None = None
    drop_labels: DropLabels | None = None
    need_labels: bool = True
    splits: str | Path | None = None
    group_by: str | None = None
    fractions: str | Sequence[float] | None = None
    detect: Detect = False
    keep_missed: bool = False
    licence: str | None = None
    part: str | None = None

    def __post_init__(self) -> None:
        if self.size_px is not None and not is_count(self.size_px):
            raise DataError(f"expected size_px to be a whole number from 1, got {quoted(self.size_px)}")
        if not isinstance(self.detect, bool | str | FaceCutter):
            raise DataError(f"expected detect to be True or the name of a detector, got {quoted(self.detect)}")
        if self.licence is not None:
            check_terms(self.licence)

    @property
    def cutter(self) -> FaceCutter | None:
        """What cuts the faces out of photos; None where the images are face crops.

        Raises:
            DetectorError: the detector is unknown or not installed.
        """
        cutter = cutter_for(self.detect, side_px=self.size_px or SIDE_PX)
        return None if isinstance(cutter, bool) else cutter

    def reading(self, rules: LabelRules) -> ReadOptions:
        """Return what readers need of this.

        Raises:
            ConfigError: `group_by` or `fractions` is malformed.
        """
        grouping, fractions = read_grouping(self.group_by), read_fractions(self.fractions)
        return ReadOptions(
            self.size_px,
            rules,
            self.need_labels,
            grouping=grouping,
            fractions=fractions,
            cutter=self.cutter,
            part=self.part,
        )


def load(source: str | Path, **options: Unpack[LoadKeywords]) -> Dataset:
    """Load a data set; decoded once, then opened from a memory-mapped cache.

    What was decided about a source that its owner may not expect (made-up splits, labels read as one, images left
    out) is in `Dataset.notes`, and logged as warnings.

    Args:
        source: a csv or parquet file, a folder of class folders, `synthetic[:N[:seed]]` or a Hub id; before a colon
            the name of a public data set, as in `rafdb:PATH` (see `FORM_NAMES`), which folders that are one beyond
            doubt do not need.
        options: see `LoadOptions`.

    Raises:
        DataError: the source is none of these, missing or malformed, or its labels need names.
        ConfigError: `label_map`, `drop_labels`, `group_by`, `fractions` or `licence` is malformed, or the source has a
            weight, which is for training.
        DetectorError: `detect` names no detector that is installed.
    """
    from fervit.data.synthetic.dataset import parse_synthetic

    if isinstance(source, str):
        source = unweighted(source)
    if not (isinstance(source, str) and parse_synthetic(source) is not None):
        as_path(source, "a data set", DataError)
    how = LoadOptions(**options)
    spec = parse_source(source, FORM_NAMES)
    source = spec.source
    form, why = _form(source, spec.form)
    of_folder = form not in FERPLUS_FORMS and Path(source).expanduser().is_dir()
    if how.votes is not None and (form not in VOTED_FORMS or of_folder):
        raise DataError(
            f"FER+ votes are joined by fer2013.csv's rows; {source} has no such order: use the csv or parquet"
        )
    if how.part is not None and FILE_FORMS.get(Path(source).suffix.lower()) != "parquet":
        raise DataError(f"{source} is no parquet file, which alone holds several data sets: leave part out")
    rules = read_rules(how.label_map, how.drop_labels)
    dataset = _read(source, form, how.reading(rules), None if how.votes is None else Path(how.votes))
    dataset = dataset.licensed(form, how.licence)
    if why:
        dataset = replace(dataset, notes=(why, *dataset.notes))
    if how.votes is not None and form not in FERPLUS_FORMS:
        from fervit.data.readers.ferplus import join_votes

        dataset = join_votes(dataset, Path(how.votes), name_numbers(dataset, rules, source))
    if how.splits is not None:
        dataset = apply_splits(dataset, Path(how.splits))
    dataset = apply_rules(dataset, rules, source, need_labels=how.need_labels)
    if how.detect and form in CROP_FORMS:
        dataset = replace(dataset, notes=(*dataset.notes, crops_already(CROP_FORMS[form])))
    if not how.keep_missed:
        dataset = leave_out_missed(dataset)
    for note in dataset.notes:
        log.warning("%s: %s", dataset.name, note)
    return dataset


def read_encoded(source: str | Path, use: Callable[[Iterable[bytes]], None], **options: Unpack[LoadKeywords]) -> bool:
    """Hand the encoded images of a source to `use`, in the order of its rows; `b""` stands for one that is unreadable.

    They are read once, from first to last, while `use` runs: a set larger than memory can be copied.

    Args:
        source: as for `load`.
        use: what takes them.
        options: as for `load`.

    Returns:
        False where the source holds no encoded images, as a csv of pixels; `use` was not called then.

    Raises:
        DataError: see `load`.
    """
    how = LoadOptions(**options)
    spec = parse_source(source, FORM_NAMES)
    form, _ = _form(spec.source, spec.form)
    if form in ("csv", "synthetic"):
        return False
    wanted = replace(how.reading(read_rules(how.label_map, how.drop_labels)), encoded=lambda contents: use(contents()))
    try:
        _read(spec.source, form, wanted, None if how.votes is None else Path(how.votes))
    except EncodedRead:
        return True
    return False


def form_of(source: str | Path) -> str:
    """Return which reader takes `source`: `csv`, `parquet`, `folder`, `synthetic`, `hub`, or a name before a colon.

    What exists on disk comes first; a name `owner/name` is a Hub id unless there is a folder `owner` here.

    Raises:
        DataError: it is none of the accepted forms (the message lists them).
    """
    spec = parse_source(source, FORM_NAMES)
    return spec.form or _form_on_disk(spec.source)


def _form(source: str, named: str | None) -> tuple[str, str]:
    """Return which reader takes a source, and in words what a folder was recognised as, or nothing."""
    form = named or _form_on_disk(source)
    if named is None and form == "folder" and (recognised := recognise(Path(source).expanduser())) is not None:
        form, why = recognised
        return form, f"read as {NAMED[form].name}, since it has {why} (folder:{source} reads class folders)"
    return form, ""


def _form_on_disk(source: str) -> str:
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
    if parse_synthetic(source) is not None:
        return "synthetic"
    if file_form is None and is_hub_id(source):
        return "hub"
    if match := FORM.match(source):
        raise DataError(f"no data set at {source}: {unknown('form', match[1], FORM_NAMES)}")
    raise DataError(f"no data set at {source}; expected {FORMS}")


def save(dataset: Dataset, out: Path, *, overwrite: bool = False) -> None:
    """Write a data set as a `.csv` file, a `.parquet` file or a folder, in FER2013's own forms.

    Each form loads as the same data, with the same content hash. The licence is kept by a `.parquet` file alone; where
    another form loses one that excludes commercial use, that is logged as a warning.

    Raises:
        DataError: `out` is in the way (see `check_out`) or cannot be written, or a csv cannot hold the data.
    """
    from fervit.data.readers.fer2013 import write_csv
    from fervit.data.readers.folder import remove_written, write_folder
    from fervit.data.readers.parquet import write_parquet

    check_out(out, overwrite=overwrite)
    write = {"csv": write_csv, "parquet": write_parquet}.get(FILE_FORMS.get(out.suffix.lower(), ""))
    if write is not write_parquet and (lost := non_commercial(dataset.licences)):
        log.warning("%s does not say that its images are %s; a .parquet file does", out, "; ".join(map(str, lost)))
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
    spec = parse_source(source, FORM_NAMES)
    plain = str(replace(spec, weight=1.0))
    if spec.weight != 1:
        raise ConfigError(f"{source}: a weight says how often training draws the images of a source; here give {plain}")
    return plain


def _read(source: str, form: str, options: ReadOptions, votes: Path | None) -> Dataset:
    if form != "synthetic":
        return read_named(source, form, options, votes)
    from fervit.data.synthetic.dataset import drawing_digest, parse_synthetic, synthesize

    if options.fractions is not None or options.grouping is not None:
        raise DataError(f"{source} has splits of its own; --fractions and --group-by are for images on disk")
    parsed = parse_synthetic(source)
    assert parsed is not None, source
    count, seed = parsed
    return cached(f"synthetic-{count}-{seed}-{drawing_digest()}", lambda _: synthesize(count, seed=seed))
