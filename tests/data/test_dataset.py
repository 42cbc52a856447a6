"""`Dataset` itself."""

import dataclasses

import numpy as np
import pytest

from fervit.data import Dataset, load
from fervit.errors import DataError


def test_a_dataset_says_what_it_is_in_one_line() -> None:
    dataset = load("synthetic:40")
    assert len(text := repr(dataset)) < 200 and "\n" not in text
    assert f"{len(dataset)} images of 48x48x1, 7 labels" in text and f"train {len(dataset.split('train'))}" in text
    assert repr(dataset.take([])).endswith("empty)")


def made(labels: tuple[str, ...]) -> Dataset:
    images, zeros = np.zeros((2, 2, 2, 1), np.uint8), np.zeros(2, np.int64)
    return Dataset("made", labels, images, zeros, zeros.astype(np.int8), np.arange(2), "0" * 64)


@pytest.mark.parametrize("labels", [("sad", "sad"), ("sad", "hap\npy"), ("sad", ""), ("sad", "a\x1b[31m")])
def test_labels_that_would_break_tables_are_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="made has the label") as caught:
        made(labels)
    assert "\n" not in str(caught.value)


def test_more_labels_or_another_order_keep_every_image_s_name() -> None:
    dataset = dataclasses.replace(made(("sad", "joy")), targets=np.array([0, 1]), votes=np.eye(2, dtype=np.float32))
    wider = dataset.with_labels(("fear", "joy", "sad"))
    assert [wider.labels[target] for target in wider.targets] == ["sad", "joy"]
    assert wider.votes is not None and wider.votes.tolist() == [[0, 0, 1], [0, 1, 0]]
    assert dataset.with_labels(["sad", "joy"]) is dataset
    with pytest.raises(DataError, match="made has the label joy, which is not among sad"):
        dataset.with_labels(("sad",))
