"""Pseudo-labels: a model's confident predictions for faces without labels, as a data set to learn from."""

from fervit.pseudolabels.labelling import pseudolabel
from fervit.pseudolabels.options import PseudoCounts, PseudoKeywords, PseudoOptions

__all__ = ["PseudoCounts", "PseudoKeywords", "PseudoOptions", "pseudolabel"]
