"""The one place that decides about labels: mapped, dropped, merged, ordered, checked, and said."""

import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from fervit.data.cache import cached, content_hash
from fervit.data.dataset import SPLITS, TRAIN, Codes, Dataset
from fervit.data.decode import COPY_ROWS, ImageArrayFile, Shape
from fervit.data.labelling.values import UNLABELLED, check_named, order_labels
from fervit.data.splits import find_split
from fervit.errors import DataError, unknown
from fervit.label_rules import MAP_HINT, NUMBERED, LabelRules
from fervit.labels import KNOWN, LABEL_SETS, canonical, find_places, likely_typo

LAYOUT_WORDS = frozenset(
    {
        *("images", "image", "imgs", "img", "pictures", "photos", "faces", "data", "dataset", "datasets"),
        *("face", "frames", "samples", "labels", "annotations", "masks", "raw", "original", "originals", "aligned"),
        *("cropped", "crop", "crops", "processed", "archive", "files", "folder", "all", "jpg", "jpeg", "png"),
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
    rules, passed = fitting(dataset, rules)
    named = _named(dataset, rules, where)
    names, notes = _renamed(dataset, rules, named)
    notes = [*map(passed_over, passed), *notes]
    names, merging = _read_as_one(dataset, names, named)
    dropped, dropping = _dropped(dataset, names, rules, where)
    nameless = {old: at for old, at in dataset.codes.nameless.items() if old not in named and old not in dropped}
    if need_labels and nameless:
        if rules.number_set is not None:
            shown = ", ".join(order_labels(nameless))
            raise DataError(
                f"{where}: the label set {rules.number_set} has no name for {shown}: give it one (--label-map "
                f"{next(iter(nameless))}=NAME), or leave its images out (--drop-labels={next(iter(nameless))})"
            )
        check_named(nameless, dataset.codes.names, where, _counts(dataset))
    kept = [old for old in names if old not in dropped]
    labels = order_labels(names[old] for old in kept)
    matrix = np.array([[old in kept and names[old] == new for new in labels] for old in dataset.labels], dtype=bool)
    if not matrix.reshape(len(dataset.labels), -1)[dataset.targets].any():
        raise DataError(f"{where}: --drop-labels {','.join(rules.drop)} leaves no image")
    result = relabel(dataset, labels, matrix)
    if need_labels:
        _check_labels(result, where)
        dropping += _doubts(result)
    return replace(result, codes=Codes(), notes=(*dataset.notes, *notes, *merging, *dropping))


def fitting(dataset: Dataset, rules: LabelRules) -> tuple[LabelRules, list[str]]:
    """Return those of shared rules that are about labels of the data set, and the others as the user gave them.

    Rules that are not shared stay as they are.
    """
    if not rules.shared:
        return rules, []
    known = [*dataset.labels, *dataset.codes.names.values()]
    renamed = [*known, *rules.names.values(), *LABEL_SETS.get(rules.number_set or "", ())]
    names = {old: new for old, new in rules.names.items() if find_places(known, [old]) != [None]}
    drop = tuple(name for name in rules.drop if find_places(renamed, [name]) != [None])
    number_set = rules.number_set if any(map(NUMBERED.fullmatch, dataset.labels)) else None
    passed = [f"--label-map {old}={new}" for old, new in rules.names.items() if old not in {*names, *rules.optional}]
    passed += [f"--drop-labels {name}" for name in rules.drop if name not in drop]
    passed += [f"--label-map {rules.number_set}"] if rules.number_set is not None and number_set is None else []
    return replace(rules, names=names, drop=drop, number_set=number_set), passed


def passed_over(rule: str) -> str:
    """Return in words that a shared rule is about no label of a source."""
    return f"{rule} is about none of its labels and is passed over"


def name_numbers(dataset: Dataset, rules: LabelRules, where: str) -> tuple[str, ...]:
    """Return the data set's labels with the names that numbers get; names are as they were.

    Raises:
        DataError: see `apply_rules`.
    """
    rules, _ = fitting(dataset, rules)
    named = _named(dataset, rules, where)
    return tuple(
        named.get(label, dataset.codes.names.get(label, label))
        if label in dataset.codes.names or label in dataset.codes.nameless
        else label
        for label in dataset.labels
    )


def _named(dataset: Dataset, rules: LabelRules, where: str) -> dict[str, str]:
    """Return those of the data set's labels that the user named: old to new.

    Raises:
        DataError: a label of a rule does not occur, or a label set does not say from where on it counts.
    """
    named = {} if rules.number_set is None else _numbered(dataset, rules.number_set, where)
    conventional = [dataset.codes.names.get(label, label) for label in dataset.labels]
    missing = []
    for old, new in rules.names.items():
        (place,), (other,) = find_places(dataset.labels, [old]), find_places(conventional, [old])
        if place is None and other is None:
            missing.append(old)
        else:
            named[dataset.labels[place if place is not None else other or 0]] = new
    strict = [old for old in missing if old not in rules.optional]
    if strict or (missing and not named):
        raise DataError(f"{where}: --label-map: {unknown('label', (strict or missing)[0], conventional)}")
    return named


def _numbered(dataset: Dataset, name: str, where: str) -> dict[str, str]:
    """Return the names that a label set gives to the labels that occur, counted from 0 or from 1 as they do."""
    occurring = [dataset.labels[k] for k in np.unique(dataset.targets)]
    matches = {label: NUMBERED.fullmatch(label) for label in occurring}
    numbers = {label: int(match[1]) for label, match in matches.items() if match}
    names = LABEL_SETS[name]
    if not numbers:
        raise DataError(f"{where}: --label-map {name} names numbers, but the labels are {', '.join(occurring)}")
    if 0 not in numbers.values() and len(names) not in numbers.values():
        raise DataError(
            f"{where}: --label-map {name} names {len(names)} numbers from 0 or from 1, and the labels "
            f"{', '.join(numbers)} fit both: name them one by one, such as {next(iter(numbers))}=NAME"
        )
    start = 0 if 0 in numbers.values() else 1
    return {label: names[k - start] for label, k in numbers.items() if start <= k < start + len(names)}


def _renamed(dataset: Dataset, rules: LabelRules, named: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the new name of every label, and in words which were renamed.

    Numbers that the user does not name have the names of the source's convention. Once the user names some, those that
    do not occur are no labels, as the source may count in another way.
    """
    codes, counts = dataset.codes.names, _counts(dataset)
    renumbered = rules.number_set is not None or any(old in codes for old in rules.names)
    kept = [old for old in dataset.labels if counts[old] or not (renumbered and old in codes)]
    names = {old: named.get(old, codes.get(old, old)) for old in kept}
    notes = []
    if changed := [f"{old} = {new}" for old, new in named.items() if old != new]:
        notes.append(f"labels are renamed as --label-map says: {', '.join(changed)}")
    others = [f"{old} = {codes[old]}" for old in kept if old in codes and old not in named]
    if renumbered and others:
        notes.append(f"the other numbers are named as {dataset.codes.counted_by} counts: {', '.join(others)}")
    return names, notes


def _read_as_one(
    dataset: Dataset, names: Mapping[str, str], named: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Return the names with one spelling for those that mean the same, and in words which these are.

    Labels that the user named are as the user named them; one that was given its own name stays apart.
    """
    counts = _counts(dataset)
    alike: dict[str, list[str]] = {}
    for new in dict.fromkeys(names.values()):
        alike.setdefault(canonical(new), []).append(new)
    one: dict[str, str] = {}
    notes = []
    for name, spellings in alike.items():
        free = [new for new in spellings if named.get(new) != new]
        own = [new for new in free if new in named.values()]
        commonest = max(free, key=lambda new: sum(counts[old] for old in names if names[old] == new), default=name)
        kept = own or [name if name in free else commonest]
        others = [new for new in free if new not in kept]
        one |= {new: kept[0] if new in others else new for new in spellings}
        if others:
            notes.append(
                f"the labels {', '.join(free)} mean the same and are read as one, {kept[0]} "
                f"(--label-map {others[0]}={others[0]} keeps it apart)"
            )
    return {old: one[new] for old, new in names.items()}, notes


def _counts(dataset: Dataset) -> dict[str, int]:
    """Return the number of images of each label."""
    counts = np.bincount(dataset.targets, minlength=len(dataset.labels)).tolist()
    return dict(zip(dataset.labels, counts, strict=True))


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


def relabel(dataset: Dataset, labels: tuple[str, ...], matrix: np.ndarray) -> Dataset:
    """Return the data set with new labels; rows whose label has no new one are left out.

    Votes for labels that are gone are left out, too, and the others are divided by their sum.

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
        if not stays.all():  # else the rows sum to 1 as before
            sums = votes.sum(axis=1, keepdims=True)
            votes = np.divide(votes, sums, out=np.zeros_like(votes), where=sums > 0)
    relabelled = replace(dataset, labels=labels, targets=targets, votes=votes)
    if len(kept) < len(dataset):
        return take_rows(relabelled, kept)
    if (targets == dataset.targets).all():
        return relabelled
    return replace(relabelled, data_hash=content_hash(dataset.images, targets, dataset.split_ids))


def take_rows(dataset: Dataset, rows: np.ndarray) -> Dataset:
    """Return some rows as a data set of their own, with a content hash of their own; the images go to the cache.

    Args:
        dataset: where they are from.
        rows: `(M,)` positions, ascending.
    """
    said = repr((dataset.data_hash, dataset.labels, rows.tolist(), dataset.targets.tolist()))
    key = f"part-{hashlib.sha256(said.encode()).hexdigest()[:32]}"

    def build(store: Path) -> Dataset:
        height, width, channels = dataset.images.shape[1:]
        with ImageArrayFile(store / "images.npy", Shape(height, width, channels)) as file:
            for start in range(0, len(rows), COPY_ROWS):
                file.extend(dataset.images[rows[start : start + COPY_ROWS]])
            images = file.finish()
        small = replace(dataset, images=dataset.images[:0], votes=None, face_counts=None)
        targets, split_ids = dataset.targets[rows], dataset.split_ids[rows]
        return replace(
            small,
            images=images,
            targets=targets,
            split_ids=split_ids,
            rows=dataset.rows[rows],
            sources=None if dataset.sources is None else [dataset.sources[int(k)] for k in rows],
            subjects=None if dataset.subjects is None else [dataset.subjects[int(k)] for k in rows],
            data_hash=content_hash(images, targets, split_ids),
        )

    part = cached(key, build, name=dataset.name)
    counts = dataset.face_counts
    return replace(
        part,
        votes=None if dataset.votes is None else dataset.votes[rows],
        face_counts=None if counts is None else counts[rows],
    )


def _check_labels(dataset: Dataset, where: str) -> None:
    """Refuse labels that are folders of a layout, and a single label that is no expression.

    Raises:
        DataError: with what was understood, what is expected and the way out.
    """
    odd = [name for name in dataset.labels if _is_layout(name)]
    if len(dataset.labels) > 1:
        odd += [name for name in dataset.labels if name.lower() in UNLABELLED]
    alone = len(dataset.labels) == 1 and not _is_expression(dataset.labels[0]) and not _is_unlabelled(dataset)
    if odd or alone:
        read = ", ".join(f"{name} ({count:,} images)" for name, count in _counts(dataset).items())
        why = "one label cannot be learned" if not odd else f"{' and '.join(odd)} would be no expression"
        raise DataError(
            f"{where} is read as images with the label(s) {read}, but {why}; {EXPECTED}"
            + (
                f" (--drop-labels {','.join(odd)} leaves out what is none)"
                if odd and len(odd) < len(dataset.labels)
                else ""
            )
        )


def _is_layout(name: str) -> bool:
    words = re.findall(r"[a-z]+", name.lower())  # of `cropped_faces`, `images2`, `train images`
    return find_split(name) is not None or (
        bool(words) and all(word in LAYOUT_WORDS or find_split(word) is not None for word in words)
    )


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
    for name in dataset.labels:
        if near := likely_typo(name):
            notes.append(
                f"the label {name} stays as it is; if it means {near}, add --label-map {shlex.quote(f'{name}={near}')}"
            )
    if len(numbers) < len(dataset.labels) > 1 and not any(map(_is_expression, dataset.labels)):
        notes.append(
            f"none of the labels {', '.join(dataset.labels[:12])} is an expression that other data sets have; if they "
            "are folders of a layout, pass the folder that holds the folders of the expressions"
        )
    in_train = dataset.targets[dataset.split_ids == SPLITS.index(TRAIN)]
    unseen = [name for k, name in enumerate(dataset.labels) if not (in_train == k).any()]
    if len(in_train) and unseen:
        notes.append(f"no train image has the label {', '.join(unseen)}, so that no model can learn it from them")
    if len(dataset.labels) == 1 and not _is_unlabelled(dataset):
        notes.append(f"{dataset.labels[0]} is the only label, so that nothing can be learned from them")
    return notes
