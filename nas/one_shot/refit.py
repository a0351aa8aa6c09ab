"""Refit the estimator to whole networks: what the sum of effects gets wrong is learnt by ridge regression.

The measured effects are the prior mean: the regression sees the differences between labels and the sum of effects, so
few networks change little. Networks left out of the fit decide whether it is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from predictors.evaluation.folds import repeated_folds
from predictors.models.bilinear_effects import BilinearEstimator
from predictors.models.bilinear_structure import Floats, Indices
from predictors.models.linear import Ridge
from predictors.rank import kendall, rmse, spearman

FEWEST = 16  # networks below which nothing is refitted
FOLDS, REPEATS = 5, 4


@dataclass(frozen=True, slots=True)
class Quality:
    """How well labels of networks left out are predicted.

    Attributes:
        kendall, spearman, pearson: -1..1, higher is better.
        rmse: in the unit of the label, lower is better.
        networks: judged on.
    """

    kendall: float
    spearman: float
    pearson: float
    rmse: float
    networks: int


@dataclass(frozen=True, slots=True, eq=False)
class Refit:
    """The estimator to go on with.

    Attributes:
        estimator: measured effects, or those corrected by the networks.
        corrected: which of the two.
        measured_quality: of the measured effects on all networks, none of which they were fitted to.
        corrected_quality: of the correction on networks left out; None with too few.
    """

    estimator: BilinearEstimator
    corrected: bool
    measured_quality: Quality
    corrected_quality: Quality | None


def refit(
    measured: BilinearEstimator, depths: Indices, configs: Indices, labels: Sequence[float], *, seed: int
) -> Refit:
    """Correct measured effects by labels of whole networks, if that predicts networks left out better.

    Args:
        measured: the effects.
        depths: (n, stages) of the networks.
        configs: (n, blocks) of them.
        labels: (n,) of them; higher is better.
        seed: of the folds.
    """
    truth = np.asarray(labels, np.float64)
    expected = measured.predict(depths, configs)
    plain = quality(expected, truth)
    if len(truth) < FEWEST:
        return Refit(measured, False, plain, None)
    features = _one_hot(measured, depths, configs)
    left_out = np.zeros((REPEATS, len(truth)))
    for at, (fitted, judged) in enumerate(repeated_folds(len(truth), FOLDS, REPEATS, seed)):
        line = _ridge(features[fitted], truth[fitted] - expected[fitted])
        left_out[at // FOLDS, judged] = expected[judged] + line.predict(features[judged])
    corrected = quality(left_out.mean(axis=0), truth)
    shifted = rmse(expected - expected.mean(), truth - truth.mean())  # a common offset ranks nothing
    if corrected.rmse >= shifted:
        return Refit(replace(measured, base=measured.base + float((truth - expected).mean())), False, plain, corrected)
    line = _ridge(features, truth - expected)
    cut = len(measured.depths)
    estimator = replace(
        measured,
        base=measured.base + line.intercept_,
        depths=measured.depths + line.coef_[:cut],
        configs=measured.configs + line.coef_[cut:],
    )
    return Refit(estimator, True, plain, corrected)


def quality(expected: Floats, truth: Floats) -> Quality:
    """Agreement of predictions with labels."""
    return Quality(
        kendall(expected, truth),
        spearman(expected, truth),
        float(np.corrcoef(expected, truth)[0, 1]),
        rmse(expected, truth),
        len(truth),
    )


def _one_hot(measured: BilinearEstimator, depths: Indices, configs: Indices) -> Floats:
    alpha, beta = measured.structure.one_hot(depths, configs)
    found: Floats = np.hstack([beta, alpha])
    return found


def _ridge(features: Floats, labels: Floats) -> Ridge:
    return Ridge("evidence").fit(features, labels)
