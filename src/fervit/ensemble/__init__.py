"""Several models as one: soft voting, weights averaged into a soup (needs `fervit[train]`)."""

from fervit.ensemble.voting import ensemble

__all__ = ["ensemble"]
