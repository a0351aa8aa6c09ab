"""How well a predictor predicts: repeated K-fold, cost-only baseline, learning curves, data for reports."""

from predictors.evaluation.crossvalidate import Evaluation, InvalidLabels, cross_validate
from predictors.evaluation.folds import TooFewRows, repeated_folds
from predictors.evaluation.learning_curve import CurvePoint, learning_curve
from predictors.evaluation.report_data import report_data

__all__ = [
    "CurvePoint",
    "Evaluation",
    "InvalidLabels",
    "TooFewRows",
    "cross_validate",
    "learning_curve",
    "repeated_folds",
    "report_data",
]
