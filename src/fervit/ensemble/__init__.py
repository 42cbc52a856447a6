"""Several models as one: their predictions averaged, or their weights averaged into a soup (needs `fervit[train]`)."""

from fervit.ensemble.members import Output
from fervit.ensemble.voting import ensemble
from fervit.ensemble.weights import Weighting

__all__ = ["Output", "Weighting", "ensemble"]
