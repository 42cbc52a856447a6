"""Load several data sets as one: `load_mixture` brings their labels together and sees that each can be validated on."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np

from fervit.data.cache import content_hash
from fervit.data.dataset import PUBLIC_TEST, SPLITS, TRAIN, Dataset
from fervit.data.labelling.apply import passed_over
from fervit.data.labelling.values import order_labels
from fervit.data.loading import LoadKeywords, load, read_encoded
from fervit.data.mixtures.mixture import Mixture, as_mixture
from fervit.data.readers.named.forms import FORM_NAMES
from fervit.data.readers.parquet import parts_of
from fervit.data.readers.plain import FILE_FORMS
from fervit.data.source_spec import parse_source
from fervit.data.splitting.draw import make_splits, material_of
from fervit.data.splitting.table import check_one_source
from fervit.errors import ConfigError, DataError, quoted
from fervit.label_rules import LabelRules, read_rules
from fervit.labels import find_places, spelt_differently

log = logging.getLogger(__name__)

Source = str | Path | Dataset
"""A data set: `[FORM:]SOURCE[@WEIGHT]`, a path, or one that is loaded."""
Sources = Source | Mixture | Sequence[Source]
"""One or several of them."""


@dataclass(frozen=True)
class Origin:
    """Where a data set is loaded from.

    Attributes:
        source: its name for `load`, or the data set itself.
        weight: see `Mixture`.
        part: of a file that holds several data sets, which one it is.
    """

    source: Source
    weight: float = 1.0
    part: str | None = None

    def load(self, options: LoadKeywords) -> Dataset:
        """Return the data set.

        Raises:
            DataError: see `load`.
        """
        return self.source if isinstance(self.source, Dataset) else load(self.source, **self._own(options))

    def read_encoded(self, use: Callable[[Iterable[bytes]], None], options: LoadKeywords) -> bool:
        """Hand the encoded images to `use`, see `loading.read_encoded`; False where there are none."""
        if isinstance(self.source, Dataset) or options.get("detect"):  # faces that are cut out are in no file
            return False
        return read_encoded(self.source, use, **self._own(options))

    def _own(self, options: LoadKeywords) -> LoadKeywords:
        return options if self.part is None else {**options, "part": self.part}


def load_mixture(sources: Sources, **options: Unpack[LoadKeywords]) -> Dataset | Mixture:
    """Load one or several data sets to learn from together; a single one without a weight stays a `Dataset`.

    Labels are matched by their meaning (`happiness` is `happy`), and a source may lack some. `label_map` and
    `drop_labels` apply to those sources that have such labels; `votes` are joined to the source that they belong to.
    In a mixture, a source with a train part and no validation part lends a tenth of it, drawn by a hash of the pixels.
    All of this is logged as warnings.

    Args:
        sources: `[FORM:]SOURCE[@WEIGHT]` (see `source_spec.parse_source`), paths or loaded data sets; a mixture is
            returned as it is.
        options: those of `load`.

    Raises:
        DataError: a source cannot be read, two have the same images or no label in common, or `votes` belong to none of
            them.
        ConfigError: a weight is no number above 0; `label_map` or `drop_labels` are malformed, or about labels that no
            source has.
    """
    if isinstance(sources, Mixture):
        return sources
    return _load_named(_named(sources, options), options)


def load_origins(sources: Sources, **options: Unpack[LoadKeywords]) -> tuple[Mixture, list[Origin]]:
    """Return what `load_mixture` does, always as a mixture, and of each of its parts where it was loaded from.

    Raises:
        DataError: see `load_mixture`.
        ConfigError: see `load_mixture`.
    """
    if isinstance(sources, Mixture):
        return sources, [Origin(part) for part in sources.parts]
    origins = _named(sources, options)
    return as_mixture(_load_named(origins, options)), origins


def _load_named(origins: Sequence[Origin], options: LoadKeywords) -> Dataset | Mixture:
    if len(origins) == 1:
        (origin,) = origins
        dataset = origin.load(options)
        return dataset if origin.weight == 1 else Mixture((dataset,), (origin.weight,))
    parts = _load_all(origins, options)
    _check_different(parts)
    mixture = Mixture(tuple(map(with_validation, match_labels(parts))), tuple(origin.weight for origin in origins))
    for line in describe(mixture):
        log.warning("%s", line)
    return mixture


def _named(sources: Source | Sequence[Source], options: LoadKeywords) -> list[Origin]:
    """Return the data sets that are named, those of a converted file one by one.

    Raises:
        DataError: there are none, or one is of another type.
    """
    if isinstance(sources, str | Path) or not isinstance(sources, Sequence):
        sources = [sources]  # a single one of another kind is refused below
    if not sources:
        raise DataError("expected one or more data sets, got none")
    return [origin for source in sources for origin in _origins(source, apart=options.get("part") is None)]


def _origins(source: Source, *, apart: bool) -> list[Origin]:
    """Return a source with its weight, or the data sets in it, where they are to be taken apart.

    A form stays in the source's name, for `load`.
    """
    if isinstance(source, Dataset):
        return [Origin(source)]
    if not isinstance(source, str | Path):
        raise DataError(f"expected a data set by name, file or folder, or a loaded one, got {quoted(source)}")
    spec = parse_source(source, FORM_NAMES)
    named = source if isinstance(source, Path) else str(replace(spec, weight=1.0))
    file = Path(spec.source).expanduser()
    parts = parts_of(file) if apart and FILE_FORMS.get(file.suffix.lower()) == "parquet" and file.is_file() else ()
    if len(parts) > 1:
        return [Origin(named, spec.weight * part.weight, part.name) for part in parts]
    return [Origin(named, spec.weight * (parts[0].weight if parts else 1.0))]


def _load_all(origins: Sequence[Origin], options: LoadKeywords) -> list[Dataset]:
    """Load every source with the rules that are about its labels; the votes go to the one that they belong to.

    Raises:
        ConfigError: a rule is about no source's labels.
        DataError: a source cannot be read, or the votes belong to none.
    """
    rules = replace(read_rules(options.get("label_map"), options.get("drop_labels")), shared=True)
    votes = options.get("votes")
    common: LoadKeywords = {**options, "label_map": rules, "drop_labels": None, "votes": None}
    check_one_source(options.get("splits"), len(origins))
    with_votes: LoadKeywords = {**common, "votes": votes}
    if votes is not None and not Path(votes).is_file():
        raise DataError(f"no FER+ votes at {votes}")
    parts, refused, owners = [], [], []
    for origin in origins:
        if votes is not None and not isinstance(origin.source, Dataset):
            try:
                parts.append(origin.load(with_votes))
                owners.append(parts[-1].name)
                continue
            except DataError as error:  # of other images: the source is loaded without them
                refused.append(error)
        parts.append(origin.load(common))
    if votes is not None:
        if not owners:
            raise (
                DataError(f"the votes belong to none of the data sets: {refused[0]}")
                if refused
                else DataError(f"{votes} is joined to data sets by name, file or folder, and these were loaded before")
            )
        log.warning("the votes are those of %s", " and ".join(owners))
    _check_rules(rules, parts)
    return parts


def _check_rules(rules: LabelRules, parts: Sequence[Dataset]) -> None:
    """Refuse a rule that every source passed over.

    Raises:
        ConfigError: there is one.
    """
    given = [f"--label-map {old}={new}" for old, new in rules.names.items() if old not in rules.optional]
    given += [f"--drop-labels {name}" for name in rules.drop]
    given += [] if rules.number_set is None else [f"--label-map {rules.number_set}"]
    for rule in given:
        if all(passed_over(rule) in part.notes for part in parts):
            labels = order_labels(name for part in parts for name in part.labels)
            raise ConfigError(f"{rule}: no data set has such a label; they have {', '.join(labels)}")


def _check_different(parts: Sequence[Dataset]) -> None:
    """Refuse the same images twice.

    Raises:
        DataError: two sources have the same content.
    """
    first: dict[str, Dataset] = {}
    for part in parts:
        other = first.setdefault(part.data_hash, part)
        if other is not part or sum(one is part for one in parts) > 1:
            raise DataError(
                f"{other.name} and {part.name} hold the same images: give them once, "
                "with a weight such as SOURCE@2 to see them more often"
            )


def match_labels(parts: Sequence[Dataset]) -> list[Dataset]:
    """Return data sets with the same labels: all that one of them has, matched by their meaning, in one order.

    What is matched in spite of its spelling, and what only some have, is logged.

    Raises:
        DataError: a data set has no label in common with the others.
    """
    union: list[str] = []
    for part in parts:
        if union and not any(place is not None for place in find_places(union, part.labels)):
            raise DataError(
                f"{part.name} has the labels {', '.join(part.labels)}, of which none means the same as one of "
                f"{', '.join(union)}: --label-map OLD=NEW gives them other names"
            )
        union += [
            name for name, place in zip(part.labels, _own_places(union, part.labels), strict=True) if place is None
        ]
    labels = order_labels(union)
    matched = []
    for part in parts:
        if said := spelt_differently(labels, part.labels):
            log.warning("%s: labels are matched by their meaning: %s", part.name, said)
        names = [labels[place] for place in _own_places(labels, part.labels) if place is not None]
        if lacking := [name for name in labels if name not in names]:
            log.warning("%s has no images of %s, which another data set has", part.name, ", ".join(lacking))
        matched.append(replace(part, labels=tuple(names)).with_labels(labels))
    return matched


def _own_places(own: Sequence[str], wanted: Sequence[str]) -> list[int | None]:
    """Return `find_places`, in which no two of the wanted labels get one place: the user keeps these two apart."""
    places = find_places(own, wanted)
    exact = {k for name, k in zip(wanted, places, strict=True) if k is not None and own[k] == name}
    taken: set[int] = set()
    result: list[int | None] = []
    for name, place in zip(wanted, places, strict=True):
        free = place is not None and (own[place] == name or place not in exact | taken)
        result.append(place if free else None)
        taken |= {place} if free and place is not None else set()
    return result


def with_validation(part: Dataset) -> Dataset:
    """Return a data set whose public_test is, where it has train images alone, a tenth of them by a hash of the pixels.

    What is drawn is added to `notes` and logged.
    """
    split_ids, notes = make_splits(part.split_ids, material_of(part))
    for note in notes:
        log.warning("%s: %s", part.name, note)
    if TRAIN in part.split_names and not (split_ids == SPLITS.index(PUBLIC_TEST)).any():
        log.warning("%s has too few images for a validation part: the other data sets choose the epoch", part.name)
    if not notes:
        return part
    data_hash = content_hash(part.images, part.targets, split_ids)
    return replace(part, split_ids=split_ids, notes=(*part.notes, *notes), data_hash=data_hash)


def describe(mixture: Mixture) -> list[str]:
    """Return in words what is mixed: a line for each part."""
    lines = []
    for name, (part, weight) in zip(mixture.part_names, mixture.weighted, strict=True):
        counts = zip(SPLITS, np.bincount(part.split_ids, minlength=len(SPLITS)).tolist(), strict=True)
        splits = ", ".join(f"{split} {count:,}" for split, count in counts if count)
        height, width, channels = part.images.shape[1:]
        kind = "grey" if channels == 1 else "colour"
        without = "" if TRAIN in part.split_names else "; it has no train images, so nothing is learnt from it"
        lines.append(f"{name}: {splits}; {width} x {height} px, {kind}; weight {weight:g}{without}")
    return lines
