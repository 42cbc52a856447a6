"""The named forms: `rafdb:PATH` and its like, and which of them a folder is beyond doubt."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fervit.data.dataset import Dataset
from fervit.data.labelling.conventions import AFFECTNET, CKPLUS, CKPLUS_CSV, EXPW, FER2013, JAFFE, RAFDB, Convention
from fervit.data.listing import ReadOptions
from fervit.data.readers.named import affectnet, ckplus, expw, ferplus, jaffe, rafdb, yolo
from fervit.data.readers.named.survey import Survey, survey
from fervit.data.readers.plain import FILE_FORMS, read_plain
from fervit.errors import DataError
from fervit.labels import KNOWN, canonical

SHOWN = 6  # labels in a message

Find = Callable[[Survey], str | None]
"""What makes a folder a data set's beyond doubt, in words; or None."""
Read = Callable[[Survey, ReadOptions], Dataset | None]
"""Reads a folder as the data set is distributed; None where that is not what it is."""


@dataclass(frozen=True)
class NamedForm:
    """How a public data set is read.

    Attributes:
        name: as its authors call it.
        layout: what is expected, in one line, for messages.
        convention: what its numbers mean in class folders and parquet files; None where that is not known.
        in_csv: the same in csv files.
        find: recognises its folders.
        read: reads it as it is distributed.
        read_file: reads a file of it that is no table of images; None where the file is one.
    """

    name: str
    layout: str
    convention: Convention | None = None
    in_csv: Convention | None = None
    find: Find = lambda found: None
    read: Read = lambda found, options: None
    read_file: Callable[[Path, ReadOptions], Dataset | None] = lambda path, options: None


NAMED: dict[str, NamedForm] = {
    "fer2013": NamedForm(
        "FER2013", "fer2013.csv (emotion, pixels, Usage), class folders, or a parquet file", FER2013, FER2013
    ),
    "rafdb": NamedForm(
        "RAF-DB",
        "list_patition_label.txt and a folder aligned, folders 1 to 7 under train and test, or a parquet file",
        RAFDB,
        RAFDB,
        rafdb.find,
        rafdb.read,
    ),
    "affectnet": NamedForm(
        "AffectNet",
        "training.csv and validation.csv beside the images, images with annotations/0_exp.npy, or folders 0 to 7",
        AFFECTNET,
        AFFECTNET,
        affectnet.find,
        affectnet.read,
        affectnet.read_file,
    ),
    "ckplus": NamedForm(
        "CK+",
        "cohn-kanade-images and Emotion, class folders with files such as S010_004_00000017.png, or ckextended.csv",
        Convention(CKPLUS.name, subject=CKPLUS.subject),
        CKPLUS_CSV,
        ckplus.find,
        ckplus.read,
    ),
    "jaffe": NamedForm("JAFFE", "files such as KA.AN1.39.tiff", JAFFE, None, jaffe.find, jaffe.read),
    "expw": NamedForm("ExpW", "label.lst and a folder of whole photos", EXPW, EXPW, expw.find, expw.read),
    "yolo": NamedForm(
        "YOLO",
        "data.yaml with train/images and train/labels, or class folders train/angry",
        None,
        None,
        yolo.find,
        yolo.read,
    ),
}
"""By the name before the colon."""
FERPLUS_FORMS = {"ferplus": False, "ferplus-votes": True}
"""FER2013's images with FER+'s labels; whether train images are those of the distribution protocol."""
FORM_NAMES = (*NAMED, *FERPLUS_FORMS, "csv", "parquet", "folder", "hub")
"""What may stand before the colon of a data set's name."""


def recognise(path: Path) -> tuple[str, str] | None:
    """Return the form of a folder that is a public data set's beyond doubt, and why it is, in words; or None.

    Raises:
        DataError: it cannot be read.
    """
    found = survey(path)
    for form, named in NAMED.items():
        if (why := named.find(found)) is not None:
            return form, why
    return None


def read_named(source: str, form: str, options: ReadOptions, votes: Path | None = None) -> Dataset:
    """Read a source of a form that the user named, or that was recognised.

    Args:
        source: a path, or a Hub id.
        form: one of `FORM_NAMES`.
        options: how to read it.
        votes: FER+ votes, for FER+'s forms.

    Raises:
        DataError: the source is not there, or is not of that form.
    """
    path = Path(source).expanduser()
    if form in FERPLUS_FORMS:
        return ferplus.read(path, votes, options, distribution=FERPLUS_FORMS[form])
    if form not in NAMED:
        return read_plain(source, form, options)
    named = NAMED[form]
    if path.is_dir():
        dataset = named.read(survey(path.resolve()), options)
        return dataset or _class_folders(path, form, options)
    file_form = FILE_FORMS.get(path.suffix.lower())
    if path.is_file():
        dataset = named.read_file(path.resolve(), options)
        if dataset is None and file_form is None:
            raise DataError(f"{path} is no file of {named.name} that fervit reads; expected {named.layout}")
        convention = named.in_csv if file_form == "csv" else named.convention
        return dataset or read_plain(path, str(file_form), replace(options, convention=convention))
    if file_form is None and is_hub_id(source):
        return read_plain(source, "hub", replace(options, convention=named.convention))
    raise DataError(f"no data set at {source}; {form}: expects {named.layout}")


def _class_folders(path: Path, form: str, options: ReadOptions) -> Dataset:
    """Read class folders of a named form.

    Raises:
        DataError: none of their names is an expression, or a number of the form's.
    """
    named = NAMED[form]
    dataset = read_plain(path, "folder", replace(options, convention=named.convention))
    labels = [dataset.codes.names.get(label, label) for label in dataset.labels]
    if options.need_labels and not options.rules and not any(canonical(label) in KNOWN for label in labels):
        raise DataError(
            f"{path} is no {named.name} that fervit knows: its class folders would be {', '.join(labels[:SHOWN])}; "
            f"{form}: expects {named.layout}"
        )
    return dataset


def is_hub_id(source: str) -> bool:
    """Return whether a name may be that of a data set on the Hub: `owner/name`, and no folder `owner` here."""
    from fervit.data.readers.hub import HUB_ID

    return HUB_ID.fullmatch(source) is not None and not Path(source).expanduser().parent.is_dir()
