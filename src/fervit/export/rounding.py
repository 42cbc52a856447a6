"""Weights rounded so that a layer's *outputs* stay, not each weight by itself."""

import numpy as np

DAMPING = 0.01  # of the mean of a Gram matrix's diagonal, added to it: GPTQ's own
BLOCK = 64  # inputs whose losses reach those behind the block in one product: the same sums, done faster


def round_weights(weights: np.ndarray, scales: np.ndarray, gram: np.ndarray, *, largest: int) -> np.ndarray:
    """Return the integers `q` whose products `scale * q @ x` stay close to `weights @ x`, for inputs with these sums.

    An input's weights are rounded to nearest, and the error is compensated by the weights of the inputs not yet
    rounded, as far as the inputs are correlated: GPTQ (Frantar et al. 2022, arXiv 2210.17323), from the strongest
    input to the weakest.

    Args:
        weights: `(G, O, I)`, for each of G groups of O outputs and I inputs.
        scales: `(G, O)`, what one step of an output's integers is worth.
        gram: `(G, I, I)`, sums of the products of the inputs with each other.
        largest: the integers lie between -largest and largest.

    Returns:
        `(G, O, I)` int8.
    """
    count = weights.shape[2]
    diagonal = np.einsum("gii->gi", gram)
    order = np.argsort(-diagonal, axis=1)
    groups = np.arange(len(gram))[:, None]
    left = weights[groups, :, order].swapaxes(1, 2).astype(np.float64)
    sorted_gram = gram[groups[:, :, None], order[:, :, None], order[:, None, :]].astype(np.float64)
    damping = DAMPING * diagonal.mean(axis=1)
    sorted_gram[:, range(count), range(count)] += np.where(damping > 0, damping, 1)[:, None]  # inputs that are all 0
    # Row i of the inverse's upper Cholesky factor is how input i's error spreads over those that come after it.
    spread = np.linalg.cholesky(np.linalg.inv(sorted_gram)).swapaxes(1, 2)
    rounded = np.empty(left.shape, np.int8)
    for start in range(0, count, BLOCK):
        block = slice(start, min(start + BLOCK, count))
        lost = np.empty_like(left[:, :, block])
        for i in range(block.start, block.stop):
            column = np.clip(np.round(left[:, :, i] / scales), -largest, largest)
            lost[:, :, i - start] = (left[:, :, i] - scales * column) / spread[:, i, i, None]
            left[:, :, i + 1 : block.stop] -= lost[:, :, i - start, None] * spread[:, i, None, i + 1 : block.stop]
            rounded[:, :, i] = column
        left[:, :, block.stop :] -= lost @ spread[:, block, block.stop :]
    result = np.empty_like(rounded)
    result[groups, :, order] = rounded.swapaxes(1, 2)
    return result
