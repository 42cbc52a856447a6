"""The images of one or several data sets on the training device, each set at its own size and channels."""

from collections.abc import Sequence

import numpy as np
import torch

from fervit.data.dataset import Dataset
from fervit.models.inputs import copy_to_device
from fervit.training.augment import Augmenter

Tensor = torch.Tensor
BLOCK_ROWS = 1024  # images that are copied to the device at once


class ResidentImages:
    """Images of one or several parts on a device, with their rows numbered part after part.

    Args:
        parts: the data sets.
        device: where the images go.

    Attributes:
        parts: a `(n, C, H, W)` uint8 tensor for each of them; together as many bytes as the decoded images.
    """

    def __init__(self, parts: Sequence[Dataset], device: torch.device):
        self.parts = [resident(part, device) for part in parts]
        self.device = device
        self._starts = np.cumsum([0, *map(len, self.parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def gather(self, rows: np.ndarray) -> list[tuple[Tensor, Tensor]]:
        """Return the images of some rows by part: their positions in `rows` `(n,)`, and `(n, C, H, W)` uint8.

        Row numbers come from the CPU, so that a GPU is not waited for to learn how many rows each part has.
        """
        found = []
        for images, start in zip(self.parts, self._starts, strict=False):
            positions = np.flatnonzero((rows >= start) & (rows < start + len(images)))
            if len(positions):
                own = torch.from_numpy(rows[positions] - start)
                found.append(
                    (copy_to_device(torch.from_numpy(positions), self.device), images[copy_to_device(own, self.device)])
                )
        return found

    def placed(self, rows: np.ndarray, augmenter: Augmenter) -> Tensor:
        """Return `(B, C, S, S)` in 0..1: each part's images, moved and brought to the input's size, in the rows' order.

        C is 1 where all of them are grey, else 3.
        """
        chunks = [(positions, augmenter.place(images)) for positions, images in self.gather(rows)]
        if len(chunks) == 1:
            return chunks[0][1]
        channels = max(x.shape[1] for _, x in chunks)
        first = chunks[0][1]
        whole = first.new_empty(len(rows), channels, *first.shape[-2:])
        for positions, x in chunks:
            whole.index_copy_(0, positions, x.expand(-1, channels, -1, -1))
        return whole


def resident(dataset: Dataset, device: torch.device) -> Tensor:
    """Copy the images to the device as `(N, C, H, W)` uint8, block by block: there is no second copy of them all."""
    count, height, width, channels = dataset.images.shape
    images = torch.empty((count, channels, height, width), dtype=torch.uint8, device=device)
    for start in range(0, count, BLOCK_ROWS):
        block = np.array(dataset.images[start : start + BLOCK_ROWS])  # a copy: memory-mapped arrays are read-only
        images[start : start + BLOCK_ROWS] = torch.from_numpy(block).permute(0, 3, 1, 2)
    return images
