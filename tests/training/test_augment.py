"""Batched augmentation, and that its output is what preprocessing gives where it is off."""

import numpy as np
import pytest
import torch

from fervit.config.augmentation import AugmentConfig
from fervit.config.training import load_config, recipe_names
from fervit.media.crops import preprocess_batch
from fervit.models.inputs import normalise, to_input
from fervit.training.augment import Augmenter, mix, random_blur, random_erase, random_light
from fervit.types import Preprocess

HALF = (0.5, 0.5, 0.5)
# Before degradations were added: mean and deviation of 16 grey faces of noise after each recipe's augmentation at 64 px
# with the seed 0, and the random number that comes next.
AS_EVER = {
    "base_gpu": (-0.070228, 0.401290, 0.288087),
    "cnn": (-0.025605, 0.406622, 0.680804),
    "inception_gpu": (-0.057874, 0.396208, 0.288087),
    "inception_resnet_v1": (-0.046359, 0.388501, 0.143860),
    "mobilenet_gpu": (-0.046359, 0.388501, 0.288087),
    "mobilenet_v1": (-0.046359, 0.388501, 0.143860),
    "paper": (-0.011538, 0.391456, 0.241708),
    "pf_vit": (-0.024199, 0.404630, 0.195730),
    "small": (-0.054433, 0.388467, 0.288087),
    "small_gpu": (-0.054289, 0.388018, 0.288087),
    "tiny": (-0.054433, 0.388467, 0.288087),
    "tiny_112": (-0.054433, 0.388467, 0.288087),
    "vit_se": (-0.054433, 0.388467, 0.288087),
    "vtff": (-0.037871, 0.422422, 0.680804),
}
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def images(count: int = 8, channels: int = 1, side: int = 48, seed: int = 0) -> torch.Tensor:
    shape = (count, channels, side, side)
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def one_hot(count: int = 8, classes: int = 7) -> torch.Tensor:
    return torch.eye(classes)[torch.arange(count) % classes]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("side", "size"), [(48, 96), (48, 48), (200, 96), (48, 32)])
@pytest.mark.parametrize("channels", [1, 3])
def test_training_and_serving_see_the_same_input(interpolation: str, side: int, size: int, channels: int) -> None:
    preprocess = Preprocess(size, *IMAGENET, interpolation=interpolation)
    crops = images(3, channels, side)
    served = preprocess_batch(list(crops.permute(0, 2, 3, 1).numpy()), preprocess)
    ours = to_input(crops, preprocess).numpy()
    # to the bit from FER2013's 48 px to 96, bilinear; elsewhere a few pixels round to the next grey level
    level = 0 if interpolation == "bilinear" and side <= size else 1 / 255 / min(preprocess.std)
    np.testing.assert_allclose(ours, served, atol=1e-5 + level)
    assert (np.abs(ours - served) > 1e-5).mean() < 0.02


def test_augmenting_with_everything_off_is_preprocessing() -> None:
    preprocess = Preprocess(96, HALF, HALF)
    x, targets = Augmenter(AugmentConfig(), preprocess)(images(), one_hot())
    level = 2.01 / 255  # of grey, after division by std 0.5: augmentation does not round to whole levels
    torch.testing.assert_close(x, to_input(images(), preprocess), atol=level, rtol=0)
    assert torch.equal(targets, one_hot())


@pytest.mark.parametrize("name", recipe_names())
@pytest.mark.parametrize("channels", [1, 3])
def test_every_recipe_gives_finite_input_and_targets_that_sum_to_one(name: str, channels: int) -> None:
    torch.manual_seed(0)
    augmenter = Augmenter(load_config(name).augment, Preprocess(64, HALF, HALF))
    x, targets = augmenter(images(16, channels), one_hot(16))
    assert x.shape == (16, 3, 64, 64)
    assert torch.isfinite(x).all()
    assert x.abs().max() <= 1 + 1e-5
    torch.testing.assert_close(targets.sum(1), torch.ones(16))


@pytest.mark.parametrize("name", AS_EVER)
def test_recipes_without_degradations_augment_as_ever(name: str) -> None:
    torch.manual_seed(0)
    x, _ = Augmenter(load_config(name).augment, Preprocess(64, HALF, HALF))(images(16), one_hot(16))
    mean, deviation, next_number = AS_EVER[name]
    assert torch.rand(()).item() == pytest.approx(next_number, abs=1e-6), "another number of draws"
    assert (x.mean().item(), x.std().item()) == pytest.approx((mean, deviation), abs=1e-4)


def test_a_seed_repeats_and_another_differs() -> None:
    augmenter = Augmenter(load_config("tiny").augment, Preprocess(48, HALF, HALF))
    torch.manual_seed(1)
    first = augmenter(images(), one_hot())[0]
    torch.manual_seed(1)
    again = augmenter(images(), one_hot())[0]
    other = augmenter(images(), one_hot())[0]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_flip_mirrors_whole_images() -> None:
    augmenter = Augmenter(AugmentConfig(flip_prob=1.0), Preprocess(48, HALF, HALF))
    plain = normalise(images().float() / 255, Preprocess(48, HALF, HALF))
    torch.testing.assert_close(augmenter(images(), one_hot())[0], plain.flip(-1))


def test_warp_zooms_by_the_fraction_it_names() -> None:
    config = AugmentConfig(scale_min=0.5, scale_max=0.5)
    preprocess = Preprocess(48, HALF, HALF)
    x, _ = Augmenter(config, preprocess)(images(2), one_hot(2))
    zoomed = torch.nn.functional.interpolate(images(2).float() / 255, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(x, normalise(zoomed[:, :, 24:72, 24:72], preprocess), atol=1e-4, rtol=0)


def test_blur_keeps_the_mean_and_lowers_the_variance() -> None:
    x = images().float() / 255
    torch.manual_seed(0)
    blurred = random_blur(x, 1.0, 2.0)
    assert blurred.shape == x.shape
    assert (blurred.var(dim=(1, 2, 3)) <= x.var(dim=(1, 2, 3)) + 1e-6).all()
    torch.testing.assert_close(blurred.mean(dim=(1, 2, 3)), x.mean(dim=(1, 2, 3)), atol=0.02, rtol=0)


def test_blur_equals_scipy() -> None:
    from scipy.ndimage import gaussian_filter

    x = images(1).float() / 255
    torch.manual_seed(0)
    blurred = random_blur(x, 1.0, 1.5)
    torch.manual_seed(0)
    torch.rand(1)
    sigma = (torch.rand(1) * 1.4 + 0.1).item()
    expected = gaussian_filter(x[0, 0].numpy(), sigma, mode="mirror", radius=5)
    np.testing.assert_allclose(blurred[0, 0].numpy(), expected, atol=1e-5)


def test_erase_changes_at_most_its_fraction_of_the_area() -> None:
    x = torch.full((64, 1, 48, 48), 2.0)
    torch.manual_seed(0)
    erased = random_erase(x, 1.0, 0.25)
    fraction = (erased != 2.0).float().mean(dim=(1, 2, 3))
    assert fraction.min() > 0
    assert fraction.max() < 0.3


def test_light_stays_in_range_and_moves_the_mean() -> None:
    x = torch.full((64, 1, 4, 4), 0.5)
    torch.manual_seed(0)
    lit = random_light(x, 0.2, 0.0)
    means = lit.mean(dim=(1, 2, 3))
    assert lit.min() >= 0 and lit.max() <= 1
    assert 0.29 < means.min() < 0.4 < 0.6 < means.max() < 0.71


@pytest.mark.parametrize(("mixup", "cutmix"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.0, 0.0)])
def test_mixed_targets_follow_the_fraction_of_pixels(mixup: float, cutmix: float) -> None:
    x = torch.zeros(2, 1, 40, 40)
    x[0] = 1
    targets = torch.eye(2)
    for seed in range(20):
        torch.manual_seed(seed)
        mixed, rows = mix(x, targets, mixup, cutmix)
        torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), rows[:, 0], atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe_names())
def test_what_is_drawn_on_the_cpu_follows_the_images_to_their_device(name: str) -> None:
    """On `meta`, a device that this machine has, as on a GPU: an operation over two devices is an error."""
    torch.manual_seed(0)
    augmenter = Augmenter(load_config(name).augment, Preprocess(64, HALF, HALF))
    for _ in range(4):  # with mixup, with CutMix, and without
        x, targets = augmenter(images(16).to("meta"), one_hot(16).to("meta"))
        assert x.shape == (16, 3, 64, 64) and x.device.type == targets.device.type == "meta"
    assert to_input(images(2).to("meta"), Preprocess(64, HALF, HALF)).device.type == "meta"
