"""How often each image is drawn in an epoch: by the weight of its data set and by its class."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from fervit.data.mixtures.mixture import Mixture

POWERS = {"natural": 0.0, "square_root": 0.5, "balanced": 1.0}
"""Of `TrainConfig.class_sampling`: an image is drawn in proportion to its class's count to minus this power."""


def multiplicities(train: Mixture, class_sampling: str) -> np.ndarray | None:
    """Return how often each image is drawn in an epoch on average, `(N,)`; None where each is drawn exactly once.

    The length of an epoch is the weighted number of images, whatever the classes: 1,000 images of weight 1 and 500 of
    weight 0.5 make 1,250. Within it, an image counts as its data set's weight, and by its class: as it comes
    (`natural`), divided by the square root of the class's weighted count (`square_root`), or by that count, so that
    all classes are drawn equally often (`balanced`).

    Args:
        train: the images to learn from.
        class_sampling: a key of `POWERS`.
    """
    power = POWERS[class_sampling]
    if not power and set(train.weights) == {1.0}:
        return None
    weights = np.repeat(train.weights, [len(part) for part in train.parts])
    counts = np.bincount(train.targets, weights=weights, minlength=len(train.labels))
    drawn = weights * counts[train.targets] ** -power
    result: np.ndarray = drawn * (weights.sum() / drawn.sum())
    return result


class WeightedSampler(Sampler[int]):
    """Draws each image as often as its multiplicity says: at least its whole part, at most one more, in random order.

    An epoch's rows depend on the seed and on its number alone, so that a resumed run draws what an unbroken one does.

    Args:
        multiplicity: `(N,)`, see `multiplicities`.
        groups: `(N,)` ints; images of one group, such as a class of a data set, are drawn as often as the sum of
            their multiplicities says, rounded up or down.
        seed: of the draws.
    """

    def __init__(self, multiplicity: np.ndarray, groups: np.ndarray, *, seed: int):
        self.multiplicity, self.groups, self.seed = multiplicity, groups, seed
        self.count = max(1, round(float(multiplicity.sum())))
        self.epoch = 0

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch is drawn next; transformers' trainer does."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.multiplicity))
        order = order[np.argsort(self.groups[order], kind="stable")]
        # Systematic sampling: equally spaced points on a line along which every image is as long as its multiplicity.
        ends = np.cumsum(self.multiplicity[order])
        points = (rng.random() + np.arange(self.count)) * (ends[-1] / self.count)
        drawn = order[np.minimum(np.searchsorted(ends, points, side="right"), len(order) - 1)]
        yield from rng.permutation(drawn).tolist()


def sampler_for(train: Mixture, class_sampling: str, *, seed: int) -> WeightedSampler | None:
    """Return what draws the rows of `train`; None where each is drawn once an epoch, as a plain shuffle does."""
    drawn = multiplicities(train, class_sampling)
    if drawn is None:
        return None
    parts = np.repeat(np.arange(len(train.parts)), [len(part) for part in train.parts])
    return WeightedSampler(drawn, parts * len(train.labels) + train.targets, seed=seed)
