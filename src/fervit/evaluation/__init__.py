"""Measure classifiers honestly: figures with intervals, calibration, robustness, groups, paired comparison."""

from fervit.evaluation.measurement import evaluate
from fervit.evaluation.report import Report

__all__ = ["Report", "evaluate"]
