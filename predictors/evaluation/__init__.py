"""How well a predictor predicts: repeated K-fold, cost-only baseline, learning curves, data for reports."""

from predictors.evaluation.crossvalidate import Evaluation, InvalidLabels, cross_validate
from predictors.evaluation.folds import TooFewRows, repeated_folds

__all__ = ["Evaluation", "InvalidLabels", "TooFewRows", "cross_validate", "repeated_folds"]
