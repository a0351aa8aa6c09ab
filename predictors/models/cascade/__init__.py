"""Cascade bagging: weak labels calibrated, noise on features, two levels of bagged models; and its plain baseline."""

from predictors.models.cascade.bagging import CascadeBagging
from predictors.models.cascade.calibration import CalibratedLabels, InvalidWeakLabels, calibrate_labels
from predictors.models.cascade.weak import WeakCascade, WeakShift, WeakShiftRidge

__all__ = [
    "CalibratedLabels",
    "CascadeBagging",
    "InvalidWeakLabels",
    "WeakCascade",
    "WeakShift",
    "WeakShiftRidge",
    "calibrate_labels",
]
