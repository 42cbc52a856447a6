"""What a model's outputs are called: by itself, or by the user where it says numbers or other words."""

from collections.abc import Sequence

from fervit.errors import ModelError, unknown
from fervit.label_rules import NUMBERED, LabelMap, read_rules
from fervit.labels import KNOWN, LABEL_SETS, as_known, canonical, find_places

SHOWN = 8  # labels in a message


def name_labels(model: str, labels: Sequence[str], label_map: LabelMap | None = None) -> tuple[str, ...]:
    """Return the names of a model's outputs, in their order.

    >>> name_labels("m", ("LABEL_0", "LABEL_1"), "LABEL_0=Anger,1=happy")
    ('angry', 'happy')

    Args:
        model: what to call it in messages.
        labels: as the model has them.
        label_map: `old=new,...`, a TOML file, a mapping, or the name of a label set for outputs that it counts from 0;
            an old name may be the output's number. New names get fervit's spelling.

    Raises:
        ModelError: the outputs have numbers only; a rule is about none of them, or two would have one name.
        ConfigError: `label_map` is malformed.
    """
    rules = read_rules(label_map)
    names = list(labels)
    if rules.number_set is not None:
        if len(LABEL_SETS[rules.number_set]) != len(names):
            raise ModelError(
                f"{model} has {len(names)} labels, and --label-map {rules.number_set} names "
                f"{len(LABEL_SETS[rules.number_set])}: {', '.join(LABEL_SETS[rules.number_set])}"
            )
        names = list(LABEL_SETS[rules.number_set])
    for old, new in rules.names.items():
        place = _place(labels, old)
        if place is not None:
            names[place] = as_known([new])[0]
        elif old not in rules.optional:
            raise ModelError(f"{model}: --label-map: {unknown('label', old, labels)}")
    if twice := next((name for k, name in enumerate(names) if name in names[:k]), None):
        raise ModelError(
            f"{model}: --label-map calls two outputs {twice!r}; expected a name of its own for each: {', '.join(names)}"
        )
    if nameless := [name for name in names if NUMBERED.fullmatch(name.strip())]:
        raise ModelError(_nameless(model, nameless, len(names)))
    return tuple(names)


def _place(labels: Sequence[str], old: str) -> int | None:
    """Return which output a rule is about: one of that name, or of that number."""
    (place,) = find_places(labels, [old])
    if place is None and old.isdecimal():
        numbers = [NUMBERED.fullmatch(label.strip()) for label in labels]
        place = next((k for k, number in enumerate(numbers) if number and int(number[1]) == int(old)), None)
        if place is None and not any(numbers) and int(old) < len(labels):
            place = int(old)
    return place


def _nameless(model: str, nameless: Sequence[str], count: int) -> str:
    """Return what to do about outputs that have a number for a name."""
    shown = ", ".join(nameless[:SHOWN]) + (", ..." if len(nameless) > SHOWN else "")
    sets = [name for name, names in LABEL_SETS.items() if len(names) == count]
    known = f", or a set in whose order they are ({', '.join(sets)})" if sets else ""
    return (
        f"{model} calls its outputs {shown}, which says nothing: name them as its card does with --label-map "
        f"{nameless[0]}=angry,...{known} (label_map= in Python); for all commands, `fervit export {model} --out "
        "FILE.onnx --label-map ...` keeps the names"
    )


def knows_no_expression(labels: Sequence[str]) -> bool:
    """Return whether none of a model's labels is an expression that a public data set has."""
    return not any(canonical(label) in KNOWN for label in labels)
