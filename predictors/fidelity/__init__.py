"""Cheap labels and few real ones: calibration that keeps the order, two-level Gaussian processes, learning curves."""

from predictors.fidelity.co_kriging import CoKriging
from predictors.fidelity.learning_curve import CurveFeatures, InvalidCurve, sum_of_training_losses
from predictors.fidelity.monotone import InvalidPairs, MonotoneMap, rank_preserving

__all__ = [
    "CoKriging",
    "CurveFeatures",
    "InvalidCurve",
    "InvalidPairs",
    "MonotoneMap",
    "rank_preserving",
    "sum_of_training_losses",
]
