"""The one place that decides about labels: mapped, dropped, merged, ordered, checked, and said."""

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fervit.data.cache import cached, content_hash
from fervit.data.dataset import SPLITS, TRAIN, Dataset
from fervit.data.decode import COPY_ROWS, ImageArrayFile, Shape
from fervit.data.labelling.rules import MAP_HINT, LabelRules
from fervit.data.labelling.values import NUMBERED, UNLABELLED, check_named, order_labels
from fervit.data.splits import find_split
from fervit.errors import DataError, unknown
from fervit.labels import KNOWN, LABEL_SETS, SYNONYMS, canonical, find_places

TYPO_LIKENESS = 0.8  # of difflib: `suprise` is 0.93 like `surprise`, `sad` is 0.67 like `bad`
LAYOUT_WORDS = frozenset(
    {
        *("images", "image", "imgs", "img", "pictures", "photos", "faces", "data", "dataset", "datasets"),
        *("labels", "annotations", "masks", "raw", "original", "originals", "aligned", "cropped", "crops"),
        *("processed", "archive", "files", "all", "jpg", "png"),
    }
)
"""Names that folders of a layout have and expressions have not."""
EXPECTED = "expected a label for each expression: in folders train/angry/x.jpg, test/angry/x.jpg, or angry/x.jpg"


def apply_rules(dataset: Dataset, rules: LabelRules, where: str, *, need_labels: bool = True) -> Dataset:
    """Return a data set, as a reader made it, with the labels that the rules give it.

    Args:
        dataset: with the source's own labels.
        rules: what the user said.
        where: the source, for messages.
        need_labels: refuse labels that are none; False for pre-training, which reads images alone.

    Raises:
        DataError: a rule is about a label that does not occur, numbers have no names, no image is left, or the labels
            are those of a layout that was not understood.
    """
    named = _named(dataset, rules, where)
    names, notes = _merged(dataset, named)
    dropped, dropping = _dropped(dataset, names, rules, where)
    if need_labels:
        nameless = {text: at for text, at in dataset.unnamed.items() if text not in named and text not in dropped}
        check_named(nameless, [name for name in dataset.labels if name not in dataset.unnamed], where)
    kept = [old for old in dataset.labels if old not in dropped]
    if not len(dataset.targets) or not np.isin(dataset.targets, [dataset.labels.index(old) for old in kept]).any():
        raise DataError(f"{where}: --drop-labels {','.join(rules.drop)} leaves no image")
    labels = order_labels(names[old] for old in kept)
    matrix = np.array([[old in kept and names[old] == new for new in labels] for old in dataset.labels])
    result = _relabel(dataset, labels, matrix)
    if need_labels:
        _check_labels(result, where)
        notes += _doubts(result)
    return replace(result, unnamed={}, notes=(*dataset.notes, *notes, *dropping))


def name_numbers(dataset: Dataset, rules: LabelRules, where: str) -> tuple[str, ...]:
    """Return the labels with the names that the rules give to numbers; names are as they were.

    Raises:
        DataError: see `apply_rules`.
    """
    named = _named(dataset, rules, where)
    return tuple(named.get(label, label) if label in dataset.unnamed else label for label in dataset.labels)


def _named(dataset: Dataset, rules: LabelRules, where: str) -> dict[str, str]:
    """Return those of the data set's labels that the user named: old to new.

    Raises:
        DataError: a label of a rule does not occur, or a label set does not say from where on it counts.
    """
    named = {} if rules.number_set is None else _numbered(dataset.labels, rules.number_set, where)
    places = find_places(dataset.labels, list(rules.names))
    found = {dataset.labels[k]: new for k, new in zip(places, rules.names.values(), strict=True) if k is not None}
    missing = [old for old, k in zip(rules.names, places, strict=True) if k is None]
    strict = [old for old in missing if old not in rules.optional]
    if strict or (missing and not found and not named):
        raise DataError(f"{where}: --label-map: {unknown('label', (strict or missing)[0], dataset.labels)}")
    return named | found


def _numbered(labels: Sequence[str], name: str, where: str) -> dict[str, str]:
    """Return the names that a label set gives to labels that are numbers, counted from 0 or from 1 as they occur."""
    matches = {label: NUMBERED.fullmatch(label) for label in labels}
    numbers = {label: int(match[1]) for label, match in matches.items() if match}
    names = LABEL_SETS[name]
    if not numbers:
        raise DataError(f"{where}: --label-map {name} names numbers, but the labels are {', '.join(labels)}")
    if 0 not in numbers.values() and len(names) not in numbers.values():
        raise DataError(
            f"{where}: --label-map {name} names {len(names)} numbers from 0 or from 1, and the labels "
            f"{', '.join(numbers)} fit both: name them one by one, such as {next(iter(numbers))}=NAME"
        )
    start = 0 if 0 in numbers.values() else 1
    return {label: names[k - start] for label, k in numbers.items() if start <= k < start + len(names)}


def _merged(dataset: Dataset, named: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the new name of every label, and in words which were renamed, and which are read as one.

    Labels that mean the same are one, but those that the user named are as the user named them.
    """
    names = {old: named.get(old, old) for old in dataset.labels}
    counts = dict(zip(dataset.labels, np.bincount(dataset.targets, minlength=len(names)).tolist(), strict=True))
    renamed = [f"{old} = {new}" for old, new in names.items() if old != new]
    notes = [f"labels are renamed as --label-map says: {', '.join(renamed)}"] if renamed else []
    alike: dict[str, list[str]] = {}
    for new in dict.fromkeys(names.values()):
        alike.setdefault(canonical(new), []).append(new)
    for name, spellings in alike.items():
        own = [new for new in spellings if new in named.values()]
        commonest = max(spellings, key=lambda new: sum(counts[old] for old in names if names[old] == new))
        kept = own or [name if name in spellings else commonest]
        others = [new for new in spellings if new not in kept]
        if others:
            names = {old: kept[0] if new in others else new for old, new in names.items()}
            notes.append(
                f"the labels {', '.join(spellings)} mean the same and are read as one, {kept[0]} "
                f"(--label-map {others[0]}={others[0]} keeps it apart)"
            )
    return names, notes


def _dropped(dataset: Dataset, names: Mapping[str, str], rules: LabelRules, where: str) -> tuple[set[str], list[str]]:
    """Return the source's labels whose images are left out, and in words how many images these are.

    Raises:
        DataError: there is no such label.
    """
    dropped: set[str] = set()
    notes = []
    new = list(dict.fromkeys(names.values()))
    for name in rules.drop:
        (place,), (old_place,) = find_places(new, [name]), find_places(dataset.labels, [name])
        if place is None and old_place is None:
            raise DataError(f"{where}: --drop-labels: {unknown('label', name, new)}")
        olds = [dataset.labels[old_place or 0]] if place is None else [old for old in names if names[old] == new[place]]
        gone = np.isin(dataset.targets, [dataset.labels.index(old) for old in olds])
        counts = zip(SPLITS, np.bincount(dataset.split_ids[gone], minlength=len(SPLITS)).tolist(), strict=True)
        parts = ", ".join(f"{split} {count:,}" for split, count in counts if count)
        notes.append(
            f"--drop-labels {name} leaves out {int(gone.sum()):,} of {len(dataset):,} images"
            + (f" ({parts})" if parts else "")
        )
        dropped |= set(olds)
    return dropped, notes


def _relabel(dataset: Dataset, labels: tuple[str, ...], matrix: np.ndarray) -> Dataset:
    """Return the data set with new labels; rows whose label has no new one are left out.

    Args:
        dataset: with the old labels.
        labels: the new ones.
        matrix: `(old, new)` booleans, at most one per row: which new label an old one becomes.
    """
    if labels == dataset.labels and np.array_equal(matrix, np.eye(len(labels), dtype=bool)):
        return dataset
    stays = np.asarray(matrix.any(axis=1))
    kept = np.flatnonzero(stays[dataset.targets])
    targets: np.ndarray = matrix.argmax(axis=1)[dataset.targets]
    votes = None
    if dataset.votes is not None:
        votes = dataset.votes @ matrix.astype(np.float32)
        sums = votes.sum(axis=1, keepdims=True)
        votes = np.divide(votes, sums, out=np.zeros_like(votes), where=sums > 0)
    relabelled = replace(dataset, labels=labels, targets=targets, votes=votes)
    if len(kept) < len(dataset):
        return _part(relabelled, kept)
    if (targets == dataset.targets).all():
        return relabelled
    return replace(relabelled, data_hash=content_hash(dataset.images, targets, dataset.split_ids))


def _part(dataset: Dataset, rows: np.ndarray) -> Dataset:
    """Return some rows as a data set of their own, with a content hash of their own; the images go to the cache."""
    said = repr((dataset.data_hash, dataset.labels, rows.tolist(), dataset.targets.tolist()))
    key = f"part-{hashlib.sha256(said.encode()).hexdigest()[:32]}"

    def build(store: Path) -> Dataset:
        height, width, channels = dataset.images.shape[1:]
        with ImageArrayFile(store / "images.npy", Shape(height, width, channels)) as file:
            for start in range(0, len(rows), COPY_ROWS):
                file.extend(dataset.images[rows[start : start + COPY_ROWS]])
            images = file.finish()
        small = replace(dataset, images=dataset.images[:0], votes=None)
        targets, split_ids = dataset.targets[rows], dataset.split_ids[rows]
        return replace(
            small,
            images=images,
            targets=targets,
            split_ids=split_ids,
            rows=dataset.rows[rows],
            sources=None if dataset.sources is None else [dataset.sources[int(k)] for k in rows],
            data_hash=content_hash(images, targets, split_ids),
        )

    part = cached(key, build, name=dataset.name)
    return part if dataset.votes is None else replace(part, votes=dataset.votes[rows])


def _check_labels(dataset: Dataset, where: str) -> None:
    """Refuse labels that are folders of a layout, and a single label that is no expression.

    Raises:
        DataError: with what was understood, what is expected and the way out.
    """
    counts = np.bincount(dataset.targets, minlength=len(dataset.labels)).tolist()
    odd = [name for name in dataset.labels if _is_layout(name)]
    if len(dataset.labels) > 1:
        odd += [name for name in dataset.labels if name.lower() in UNLABELLED]
    alone = len(dataset.labels) == 1 and not _is_expression(dataset.labels[0]) and not _is_unlabelled(dataset)
    if odd or alone:
        read = ", ".join(f"{name} ({count:,} images)" for name, count in zip(dataset.labels, counts, strict=True))
        why = f"{', '.join(odd)} looks like a part of a layout" if odd else "one label cannot be learned"
        raise DataError(
            f"{where} is read as images with the label(s) {read}, but {why}; {EXPECTED}"
            + (f" (--drop-labels {','.join(odd)} leaves out what is none)" if odd and len(odd) < len(counts) else "")
        )


def _is_layout(name: str) -> bool:
    return name.lower() in LAYOUT_WORDS or find_split(name) is not None


def _is_expression(name: str) -> bool:
    return canonical(name) in KNOWN


def _is_unlabelled(dataset: Dataset) -> bool:
    return dataset.labels[0].lower() in UNLABELLED


def _doubts(dataset: Dataset) -> list[str]:
    """Return in words what about the labels will probably not work as meant."""
    notes = []
    if numbers := [name for name in dataset.labels if NUMBERED.fullmatch(name)]:
        notes.append(
            f"the labels {', '.join(numbers)} are numbers and stay as they are, so a model can be compared with no "
            f"other: name them with {MAP_HINT}"
        )
    choices = KNOWN | SYNONYMS.keys()
    for name in dataset.labels:
        near = difflib.get_close_matches(name.lower(), choices, n=1, cutoff=TYPO_LIKENESS)
        if near and not _is_expression(name):
            notes.append(
                f"the label {name} stays as it is; if it is meant to be {near[0]}: --label-map {name}={near[0]}"
            )
    in_train = dataset.targets[dataset.split_ids == SPLITS.index(TRAIN)]
    unseen = [name for k, name in enumerate(dataset.labels) if not (in_train == k).any()]
    if len(in_train) and unseen:
        notes.append(f"no train image has the label {', '.join(unseen)}, so that no model can learn it from them")
    if len(dataset.labels) == 1 and not _is_unlabelled(dataset):
        notes.append(f"{dataset.labels[0]} is the only label, so that nothing can be learned from them")
    return notes
