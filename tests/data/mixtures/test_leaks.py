"""Train images that stand in an evaluation split of any part are found, also in another size, colour and coding."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from fervit.data.dataset import Dataset
from fervit.data.mixtures.leaks import find_leaks
from fervit.data.mixtures.mixture import Mixture
from fervit.data.synthetic.dataset import synthesize


def colour_copies(dataset: Dataset, rows: list[int], split: int) -> Dataset:
    """Return some images at 100 px in colour, coded as JPEG: what another source makes of the same photos."""
    copies = []
    for row in rows:
        image = Image.fromarray(dataset.images[row, :, :, 0]).resize((100, 100), Image.Resampling.BICUBIC)
        tinted = Image.merge("RGB", [image, image.point(lambda v: v * 0.95), image.point(lambda v: v * 0.9)])
        buffer = io.BytesIO()
        tinted.save(buffer, "JPEG", quality=90)
        copies.append(np.asarray(Image.open(buffer)))
    part = dataset.take(rows)
    return replace(
        part, name="copies", images=np.stack(copies), split_ids=np.full(len(rows), split, np.int8), data_hash="c"
    )


def test_a_colour_copy_of_a_grey_test_image_is_found_among_the_train_images() -> None:
    grey = synthesize(70, seed=1)
    tests, trains = np.flatnonzero(grey.split_ids == 2)[:3], np.flatnonzero(grey.split_ids == 0)[:2]
    copies = colour_copies(grey, [*tests.tolist(), *trains.tolist()], split=0)
    leaks = find_leaks(Mixture((grey, copies), (1.0, 1.0)))
    assert (leaks.equal[1] | leaks.near[1]).tolist() == [True] * 3 + [False] * 2
    assert not leaks.rows[: int((grey.split_ids == 0).sum())].any()


def test_a_grey_train_image_in_another_part_s_validation_is_found() -> None:
    grey = synthesize(70, seed=1)
    trains = np.flatnonzero(grey.split_ids == 0)
    copies = colour_copies(grey, [int(trains[4])], split=1)
    leaks = find_leaks(Mixture((grey, copies), (1.0, 1.0)))
    assert np.flatnonzero(leaks.rows).tolist() == [4]
    assert len(leaks.equal) == 1  # the copies have no train images


def test_equal_images_are_told_from_near_ones() -> None:
    grey = synthesize(70, seed=1)
    images, train = grey.images.copy(), np.flatnonzero(grey.split_ids == 0)
    images[train[0]] = images[np.flatnonzero(grey.split_ids == 1)[0]]
    leaks = find_leaks(Mixture((replace(grey, images=images),), (1.0,)))
    assert (int(leaks.equal[0].sum()), int(leaks.near[0].sum())) == (1, 0)
    assert leaks.rows[0]


def test_blank_images_are_leaks_only_where_they_are_equal() -> None:
    images = np.zeros((3, 8, 8, 1), np.uint8)
    images[1] = 7
    part = Dataset("blank", ("a", "b"), images, np.array([0, 1, 0]), np.array([0, 0, 2], np.int8), np.arange(3), "h")
    assert find_leaks(Mixture((part,), (1.0,))).rows.tolist() == [True, False]
