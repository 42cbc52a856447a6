"""Images stay at their own size on the device, and a batch is put together in the order of its rows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fervit.config.augmentation import AugmentConfig
from fervit.data.dataset import Dataset
from fervit.training.augment import Augmenter
from fervit.training.mixed.images import ResidentImages, resident
from fervit.types import Preprocess
from tests.helpers import faces

CPU = torch.device("cpu")
PREPROCESS = Preprocess(32, (0.5,) * 3, (0.5,) * 3)


def colour(count: int, side: int = 20) -> Dataset:
    images = np.random.default_rng(3).integers(0, 256, (count, side, side, 3), np.uint8)
    return replace(faces(count), name="colour", images=images, data_hash="1" * 64)


def test_memory_is_the_sum_of_the_decoded_sources() -> None:
    parts = [faces(28), colour(14), colour(3, 9)]
    images = ResidentImages(parts, CPU)
    storage = [part.untyped_storage().nbytes() for part in images.parts]
    assert storage == [part.images.nbytes for part in parts]
    assert [tuple(part.shape[1:]) for part in images.parts] == [(1, 16, 16), (3, 20, 20), (3, 9, 9)]
    assert len(images) == 45


def test_resident_images_are_the_data_set_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fervit.training.mixed.images.BLOCK_ROWS", 4)
    dataset = colour(10)
    np.testing.assert_array_equal(resident(dataset, CPU).permute(0, 2, 3, 1).numpy(), dataset.images)


def test_a_batch_is_in_the_order_of_its_rows() -> None:
    grey, rgb = faces(28), colour(14)
    images = ResidentImages([grey, rgb], CPU)
    augmenter = Augmenter(AugmentConfig(), PREPROCESS)
    rows = np.array([30, 2, 2, 41, 27, 28])
    x = images.placed(rows, augmenter)
    assert x.shape == (6, 3, 32, 32)
    for position, row in enumerate(rows):
        alone = images.placed(np.array([row]), augmenter)
        torch.testing.assert_close(x[position], alone[0].expand(3, -1, -1))


def test_grey_images_stay_one_channel_where_all_are_grey() -> None:
    augmenter = Augmenter(AugmentConfig(rotate_deg=5.0, flip_prob=0.5), PREPROCESS)
    both = ResidentImages([faces(28), colour(14)], CPU)
    assert both.placed(np.array([0, 5, 9]), augmenter).shape[1] == 1
    assert both.placed(np.array([0, 30]), augmenter).shape[1] == 3
    greys = ResidentImages([faces(28), replace(faces(14), images=faces(14).images[:, :8, :8])], CPU)
    assert greys.placed(np.array([0, 30]), augmenter).shape == (2, 1, 32, 32)


def test_one_part_is_augmented_as_without_parts() -> None:
    config = AugmentConfig(flip_prob=0.5, rotate_deg=9.0, brightness=0.2, erase_prob=0.5, mix_prob=1.0, mixup_alpha=1.0)
    augmenter, dataset, rows = Augmenter(config, PREPROCESS), faces(28), np.array([3, 20, 7, 0])
    images, targets = ResidentImages([dataset], CPU), torch.eye(4)
    torch.manual_seed(5)
    direct = augmenter(resident(dataset, CPU)[rows], targets)
    torch.manual_seed(5)
    by_part = augmenter.finish(images.placed(rows, augmenter), targets)
    assert all(torch.equal(a, b) for a, b in zip(direct, by_part, strict=True))
