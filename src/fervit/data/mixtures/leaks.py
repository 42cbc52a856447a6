"""Which train images stand in an evaluation split, of their own data set or of another one."""

from dataclasses import dataclass

import numpy as np

from fervit.data.audit import stand_in, thumbnails_of
from fervit.data.dataset import SPLITS, TRAIN
from fervit.data.mixtures.mixture import Mixture


@dataclass(frozen=True, eq=False)
class Leaks:
    """What `find_leaks` found.

    Attributes:
        equal: of each part, `(n,)` bool over its train images: it is in an evaluation split.
        near: the same for images that nearly are, and are not equal.
    """

    equal: tuple[np.ndarray, ...]
    near: tuple[np.ndarray, ...]

    @property
    def rows(self) -> np.ndarray:
        """Equal or near, `(N,)` bool over the rows of the mixture's train split."""
        return np.concatenate([equal | near for equal, near in zip(self.equal, self.near, strict=True)])


def find_leaks(mixture: Mixture) -> Leaks:
    """Find the train images that stand in the public_test or the private_test of any part.

    Images are compared as 48 px grey ones, so that a colour image and a small grey copy of it meet; what counts as
    near is `audit.near_duplicates`'s rule. Labels are not read. Only parts with train images have an entry.
    """
    train, seen = SPLITS.index(TRAIN), []
    thumbnails = []
    for part in mixture.parts:
        small = thumbnails_of(part.images)
        learnt = part.split_ids == train
        seen.append(small[~learnt])
        if learnt.any():
            thumbnails.append(small[learnt])
    others = np.concatenate(seen)
    found = [stand_in(own, others) for own in thumbnails]
    return Leaks(tuple(equal for equal, _ in found), tuple(near for _, near in found))
