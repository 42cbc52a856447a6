"""What a source says about labels: names, numbers with and without names, in any type that columns have."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from numbers import Integral, Real

from fervit.data.dataset import Codes
from fervit.data.labelling.conventions import Convention
from fervit.errors import DataError
from fervit.label_rules import MAP_HINT, NUMBERED
from fervit.labels import FER7, canonical, clean_label

LABEL_COLUMNS = ("label", "labels", "emotion", "expression", "class")
NAME_COLUMNS = ("label_name", "label_names", "class_name", "emotion_name", "expression_name", "label_text")
"""Columns that name what a label column numbers: where names exist, they rule."""
UNLABELLED = frozenset({"unlabelled", "unlabeled"})
"""Names of a class folder of faces without labels, for pre-training."""

NUMERAL = re.compile(r"[+-]?[0-9]{1,9}(\.[0-9]*)?")
SHOWN = 6  # labels in a message, before it says how many more there are
NAME, NUMBER, TRUTH = "name", "number", "truth value"


@dataclass(frozen=True)
class SourceLabels:
    """The labels of a source's rows, before any rule is applied.

    Attributes:
        names: a label for each row.
        declared: the labels that the source says exist, in its order, whether they occur or not.
        codes: which of them are numbers or truth values.
        notes: what was made of labels that could not stay as they are, in words.
    """

    names: list[str]
    declared: tuple[str, ...] = ()
    codes: Codes = field(default_factory=Codes)
    notes: tuple[str, ...] = ()


def name_labels(names: Sequence[str], where: str, declared: Iterable[str] = ()) -> SourceLabels:
    """Return labels that are names, such as those of class folders; `declared` are classes that need not occur.

    Raises:
        DataError: a name is empty.
    """
    cleaned = {name: clean_label(name) for name in dict.fromkeys([*names, *declared])}
    if "" in cleaned.values():
        raise DataError(f"{where} has a label without a name (an empty one)")
    notes = [
        f"the label {name!r} is read as {clean!r}"
        for name, clean in cleaned.items()
        if clean != unicodedata.normalize("NFC", name.strip())
    ]
    for clean in dict.fromkeys(cleaned.values()):
        if len(same := [name for name in cleaned if cleaned[name] == clean]) > 1:
            notes.append(f"the labels {', '.join(map(repr, same))} are read as one")
    return SourceLabels(
        [cleaned[name] for name in names],
        tuple(dict.fromkeys(cleaned[name] for name in declared)),
        Codes(),
        tuple(notes),
    )


def row_place(position: int) -> str:
    """Return what a row is called in messages: counted from 1."""
    return f"row {position + 1}"


def column_labels(
    values: Sequence[object],
    where: str,
    column: str,
    *,
    place: Callable[[int], str] = row_place,
    classes: Sequence[str] = (),
    convention: Convention | None = None,
) -> SourceLabels:
    """Return the labels of a column of names, of numbers (also 2.0 and "2") or of truth values.

    Args:
        values: a value for each row.
        where: the source, for messages.
        column: its name, for messages.
        place: from a position to its name in messages.
        classes: the names that the source gives to the numbers 0, 1, ...
        convention: of the source's form, whose names its numbers have unless the user gives them others.

    Raises:
        DataError: a label is missing, is none of these, or is of another kind than those before it.
    """
    seen: dict[object, tuple[str, str]] = {}  # (type, value) -> kind, text
    first: tuple[str, object, int] | None = None
    nameless: dict[str, str] = {}
    names = []
    given = [clean_label(name) for name in classes]
    conventional = {} if convention is None else convention.numbers
    for position, value in enumerate(values):
        key = (type(value), value if isinstance(value, Hashable) else position)
        if key not in seen:
            kind, text = _read(value, f"{where}, {place(position)}")
            if first is None:
                first = kind, value, position
            if kind != first[0]:
                raise DataError(
                    f"{where}, {place(position)}: the label {value!r} is a {kind}, but {first[1]!r} in "
                    f"{place(first[2])} is a {first[0]}; expected one kind of label"
                )
            if kind == NUMBER and 0 <= int(text) < len(given):
                text = given[int(text)]
            elif kind == TRUTH or (kind == NUMBER and text not in conventional):
                nameless[text] = f"{place(position)}: {column}"
            seen[key] = kind, text
        names.append(seen[key][1])
    if first is None or first[0] == NAME:
        return name_labels(names, where)
    if convention is not None and conventional and first[0] == NUMBER and not given:
        return SourceLabels(names, tuple(conventional), Codes(conventional, nameless, convention.name))
    twice = sorted({name for name in given if given.count(name) > 1})
    notes = [f"several classes are named {name!r}: they are read as one" for name in twice]
    declared = name_labels(classes, where, classes)
    return SourceLabels(names, declared.declared, Codes({}, nameless), (*declared.notes, *notes))


def _read(value: object, at: str) -> tuple[str, str]:
    """Return the kind of a label and its text.

    Raises:
        DataError: it is missing, or neither a number nor a name.
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return _read_text(value, at)
    if isinstance(value, bool):
        return TRUTH, str(value).lower()
    if isinstance(value, Integral | Real | Decimal):
        number = float(value)
        if number.is_integer():
            return NUMBER, str(int(number))
        if number == number:
            raise DataError(f"{at}: the label is {value}, expected a whole number or a name")
    if value is None or isinstance(value, Real | Decimal):
        raise DataError(f"{at}: the label is missing, expected a number or a name")
    raise DataError(f"{at}: the label is {str(value)[:40]!r}, expected a number or a name")


def _read_text(value: str, at: str) -> tuple[str, str]:
    text = value.strip()
    if not text or text.lower() == "nan":
        raise DataError(f"{at}: the label is missing, expected a number or a name")
    if text.lower() in ("true", "false"):
        return TRUTH, text.lower()
    if not NUMERAL.fullmatch(text):
        return NAME, value
    number = float(text)
    if not number.is_integer():
        raise DataError(f"{at}: the label is {text[:20]}, expected a whole number or a name")
    return NUMBER, str(int(number))


def order_labels(names: Iterable[str]) -> tuple[str, ...]:
    """Return labels in the data set's order: FER2013's where all are its own by any spelling, numbers by value.

    >>> order_labels(["joy", "anger"]), order_labels(["10", "9"]), order_labels(["sad", "bored"])
    (('anger', 'joy'), ('9', '10'), ('bored', 'sad'))
    """
    unique = set(names)
    if {canonical(name) for name in unique} <= set(FER7):
        return tuple(sorted(unique, key=lambda name: (FER7.index(canonical(name)), name)))
    numbers = {name: NUMBERED.fullmatch(name) for name in unique}
    if all(numbers.values()):
        return tuple(sorted(unique, key=lambda name: (int(numbers[name][1]), name)))  # type: ignore[index]
    return tuple(sorted(unique, key=lambda name: (canonical(name), name)))


def with_convention(labels: SourceLabels, convention: Convention | None) -> SourceLabels:
    """Return labels that are numbers, such as those of folders 1 to 7, with the names that a convention gives them."""
    matches = {name: NUMBERED.fullmatch(name) for name in {*labels.names, *labels.declared}}
    if convention is None or not convention.numbers or not all(matches.values()):
        return labels
    numbers = {name: str(int(match[1])) for name, match in matches.items() if match}
    named = {name: convention.numbers[numbers[name]] for name in numbers if numbers[name] in convention.numbers}
    nameless = {name: f"the label {name}" for name in order_labels(numbers.keys() - named.keys())}
    return replace(labels, codes=Codes(named, nameless, convention.name))


def check_labels_named(labels: SourceLabels, classes: Collection[str], where: str) -> None:
    """Refuse labels of a source that are numbers or truth values without names; see `check_named`.

    Raises:
        DataError: there is one.
    """
    declared = labels.codes.names or {str(k): name for k, name in enumerate(classes)}
    check_named(labels.codes.nameless, declared, where, Counter(labels.names))


def check_named(
    nameless: Mapping[str, str], declared: Mapping[str, str], where: str, counts: Mapping[str, int] | None = None
) -> None:
    """Refuse labels that are numbers or truth values and no names.

    Args:
        nameless: such labels, with the place of the first of each, see `Codes`.
        declared: the numbers that have names, and these.
        where: the source, for messages.
        counts: the number of images of each label, for the message.

    Raises:
        DataError: there is one; the message says how to name it.
    """
    if not nameless:
        return
    first, place = next(iter(nameless.items()))
    if first in ("true", "false"):
        raise DataError(
            f"{where}, {place} is {first}: a truth value names no expression; say what both mean: "
            "--label-map true=NAME,false=NAME"
        )
    if declared:
        numbers = list(declared)
        found = "" if counts is None else f"; without a name: {_images(nameless, counts)}"
        raise DataError(
            f"{where}, {place} is {first!r}, expected {numbers[0]} to {numbers[-1]} ({', '.join(declared.values())})"
            f"{found}. Give it a name (--label-map {first}=NAME), or leave its images out (--drop-labels={first})"
        )
    shown = ", ".join(order_labels(nameless)[:12])
    raise DataError(
        f"{where}: the labels ({shown}) are numbers without names, and every data set numbers expressions in an order "
        f"of its own: name them ({MAP_HINT}), name the data set (such as rafdb:PATH), or add a column label_name"
    )


def _images(labels: Iterable[str], counts: Mapping[str, int]) -> str:
    """Return how many images have each label, such as `7 (12 images), 9 (1 image)`."""
    several = [f"{label} ({counts[label]:,} image{'' if counts[label] == 1 else 's'})" for label in labels]
    return ", ".join(several[:SHOWN]) + (f" and {len(several) - SHOWN} more" if len(several) > SHOWN else "")
