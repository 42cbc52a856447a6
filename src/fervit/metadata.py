"""The checkpoint's contract: what the metadata of a model may say, checked before anything is made of it.

One validator for `config.json` and `preprocessor_config.json` of a folder, `ensemble.json` and the metadata of an ONNX
file: all of them become the JSON object that is checked here.
"""

from collections.abc import Mapping, Sequence

from fervit.errors import ModelError, unknown

FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
"""The filters by which crops are resized, with Pillow's numbers for them."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey: ITU-R 601, what Pillow's `convert("L")` uses."""

MAX_SIDE = 1024  # px of the input: a batch of 32 such images has 400 MB
MAX_RESIZED = 2048  # px, before the centre is cut out
MAX_LABELS, MAX_LABEL, MAX_TEXT, MAX_INPUTS, MAX_LICENCES = 10_000, 200, 2000, 64, 1000
# A margin takes (1 + 2 * margin)² times the memory of the face.
MARGIN, OFFSET = (-0.45, 1.0), (-1.0, 1.0)
STD, MEAN = (1e-9, 1e9), (-1e9, 1e9)
TEMPERATURE = (1e-6, 1e6)

PREPROCESS_FIELDS = ("image_size", "mean", "std", "interpolation", "crop_margin", "crop_offset", "resize_to")
SPEC_FIELDS = (
    *("arch", "preprocess", "labels", "temperature", "name", "licence", "data_hash", "metrics", "extra_inputs"),
    "trained_on",
)
LICENCE_FIELDS = ("name", "terms", "non_commercial", "statement")


def check_spec(values: object) -> None:
    """Check the JSON object of a `ModelSpec`.

    Raises:
        ModelError: a field is missing, unknown, of another type, or out of its range; the message names it and what
            was expected.
    """
    fields = _object("the metadata", values, SPEC_FIELDS, required=("arch", "preprocess"))
    check_preprocess(fields["preprocess"])
    others = fields.get("extra_inputs", [])
    if not isinstance(others, list | tuple) or len(others) > MAX_INPUTS:
        raise _wrong("extra_inputs", others, f"a list of at most {MAX_INPUTS} objects")
    for k, other in enumerate(others):
        check_preprocess(other, f"extra_inputs[{k}].")
    if "labels" in fields:
        check_label_names(fields["labels"])
    if "temperature" in fields:
        _number("temperature", fields["temperature"], *TEMPERATURE)
    for name in ("arch", "name", "licence", "data_hash"):
        _text(name, fields.get(name, ""))
    if not isinstance(fields.get("metrics", {}), Mapping):
        raise _wrong("metrics", fields["metrics"], "an object")
    check_trained_on(fields.get("trained_on", []))


def check_trained_on(values: object) -> None:
    """Check the list of licences of what a model was trained on.

    Raises:
        ModelError: see `check_spec`.
    """
    if not isinstance(values, list | tuple) or len(values) > MAX_LICENCES:
        raise _wrong("trained_on", values, f"a list of at most {MAX_LICENCES:,} objects")
    for k, entry in enumerate(values):
        within = f"trained_on[{k}]"
        fields = _object(within, entry, LICENCE_FIELDS, required=("name",))
        for name in ("name", "terms", "statement"):
            _text(f"{within}.{name}", fields.get(name, ""))
        if not isinstance(fields.get("non_commercial", False), bool):
            raise _wrong(f"{within}.non_commercial", fields["non_commercial"], "true or false")


def check_preprocess(values: object, within: str = "preprocess.") -> None:
    """Check the JSON object of a `Preprocess`; `within` begins the names of its fields in messages.

    Raises:
        ModelError: see `check_spec`.
    """
    fields = _object(within.rstrip("."), values, PREPROCESS_FIELDS, required=("image_size", "mean", "std"))
    _whole(f"{within}image_size", fields["image_size"], MAX_SIDE)
    counts = []
    for name, (least, most) in (("mean", MEAN), ("std", STD)):
        numbers = fields[name]
        if not isinstance(numbers, list | tuple) or len(numbers) not in (1, 3):
            raise _wrong(f"{within}{name}", numbers, "a list of 3 numbers, one for each colour (or 1 for a grey model)")
        for number in numbers:
            _number(f"{within}{name}", number, least, most)
        counts.append(len(numbers))
    if counts[0] != counts[1]:
        raise ModelError(f"{within}mean has {counts[0]} numbers and {within}std {counts[1]}; expected as many")
    wanted = fields.get("interpolation", "bilinear")
    if not isinstance(wanted, str) or wanted not in FILTERS:
        raise ModelError(f"{within}interpolation: {unknown('filter', _short(wanted), FILTERS)}")
    _number(f"{within}crop_margin", fields.get("crop_margin", 0.0), *MARGIN)
    _number(f"{within}crop_offset", fields.get("crop_offset", 0.0), *OFFSET)
    sides = fields.get("resize_to")
    if sides is not None:
        if not isinstance(sides, list | tuple) or len(sides) > 2:
            raise _wrong(f"{within}resize_to", sides, "[shortest edge], [height, width] or [] (not resized)")
        for side in sides:
            _whole(f"{within}resize_to", side, MAX_RESIZED)


def check_label_names(labels: object) -> None:
    """Check label names: printable, not blank, no two of them the same; none at all is a backbone's.

    Raises:
        ModelError: a name will not do in a table or in JSON, or occurs twice.
    """
    if not isinstance(labels, Sequence) or isinstance(labels, str) or len(labels) > MAX_LABELS:
        raise _wrong("labels", labels, f"a list of at most {MAX_LABELS:,} names")
    seen: set[str] = set()
    for label in labels:
        if not isinstance(label, str) or not label.strip() or not label.isprintable() or len(label) > MAX_LABEL:
            raise _wrong("a label", label, f"printable text of 1 to {MAX_LABEL} characters, in one line")
        if label.strip() in seen:
            raise ModelError(f"the label {label.strip()!r} occurs twice; expected different labels")
        seen.add(label.strip())


def _object(what: str, values: object, known: Sequence[str], *, required: Sequence[str]) -> Mapping[str, object]:
    if not isinstance(values, Mapping):
        raise _wrong(what, values, "an object")
    if strange := [str(key) for key in values if key not in known]:
        raise ModelError(unknown(f"field in {what}", _short(strange[0]), known))
    if missing := [key for key in required if key not in values]:
        raise ModelError(f"{what} lacks the field {missing[0]}")
    return values


def _text(name: str, value: object) -> None:
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        raise _wrong(name, value, f"printable text of at most {MAX_TEXT:,} characters")


def _number(name: str, value: object, least: float, most: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:  # also for NaN
        raise _wrong(name, value, f"a number from {least:g} to {most:g}")


def _whole(name: str, value: object, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise _wrong(name, value, f"a whole number from 1 to {most:,}")


def _wrong(name: str, value: object, expected: str) -> ModelError:
    return ModelError(f"{name} is {_short(value)}; expected {expected}")


def _short(value: object) -> str:
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
