"""Weights of a rank ensemble from a few dozen trained networks: non-negative ridge, shrunk to equal weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import t

from predictors.rank import spearman
from predictors.rank_ensemble import Scale

Floats = NDArray[np.float64]
RIDGES = (1000.0, 10.0, 3.0, 1.0, 0.3, 0.1)  # in units of the number of networks; the first gives equal weights
INNER_FOLDS = 5
MOST_FOLDS = 24  # up to so many networks each is left out alone
CHANCE = 0.025  # one-sided level of beating chance


@dataclass(frozen=True, slots=True)
class Weights:
    """What a fit found.

    Attributes:
        weights: (d,) at least 0, of sum 1; 0 for a score that does not beat chance. All 0 when none does.
        ridge: the strength of the shrinkage that was chosen, one of ``RIDGES``; infinite when nothing was fitted.
    """

    weights: Floats
    ridge: float


def fit_weights(scores: Floats, accuracy: Floats) -> Weights:
    """Weights for the normal scores of several scores.

    Minimises |y - Z w|^2 + ridge n |w - c u|^2 over w >= 0, where Z and y are normal scores, u gives equal weights to
    the scores whose Spearman with the accuracy beats chance (Student's test, 2.5 % one-sided) and c scales Z u to y.
    The ridge is the strongest whose error over five folds is within one standard error of the least.

    Args:
        scores: (n, d) finite, higher is better.
        accuracy: (n,) finite, of the trained networks.
    Source: Hastie, Tibshirani and Friedman 2009, The Elements of Statistical Learning, 7.10 (one-standard-error
        rule); Lawson and Hanson 1974 (non-negative least squares).
    """
    chosen = [j for j in range(scores.shape[1]) if beats_chance(scores[:, j], accuracy)]
    weights = np.zeros(scores.shape[1])
    if not chosen:
        return Weights(weights, float("inf"))
    table = scores[:, chosen]
    ridge = RIDGES[0] if len(chosen) == 1 else _choose_ridge(table, accuracy)
    found = _solve(_normal(table, table), Scale(tuple(accuracy)).of(accuracy), ridge)
    weights[chosen] = found / found.sum() if found.sum() > 0 else 1 / len(chosen)
    return Weights(weights, ridge)


def cross_validate(scores: Floats, accuracy: Floats) -> Floats:
    """Ensemble scores (n,) of networks by weights and references that know nothing of them.

    Up to 24 networks each is left out alone, beyond that every 24th together; everything in ``fit_weights`` is done
    again for each fold. Where no score beats chance the fold's weights are equal.
    """
    n = len(accuracy)
    found = np.empty(n)
    for rest, out in _folds(n, min(n, MOST_FOLDS)):
        weights = fit_weights(scores[rest], accuracy[rest]).weights
        if not weights.any():
            weights = np.full(scores.shape[1], 1 / scores.shape[1])
        found[out] = _normal(scores[out], scores[rest]) @ weights
    return found


def beats_chance(score: Floats, accuracy: Floats) -> bool:
    """Whether Spearman's rho is above 0 by Student's test at 2.5 %, one-sided."""
    rho, n = spearman(score, accuracy), len(accuracy)
    if not np.isfinite(rho) or n < 4:
        return False
    statistic = rho * np.sqrt((n - 2) / max(1 - rho * rho, 1e-12))
    return bool(statistic > t.ppf(1 - CHANCE, n - 2))


def _choose_ridge(scores: Floats, accuracy: Floats) -> float:
    n = len(accuracy)
    errors = np.empty((len(RIDGES), n))
    for rest, out in _folds(n, min(n, INNER_FOLDS)):
        scale = Scale(tuple(accuracy[rest]))
        y, expected = scale.of(accuracy[rest]), scale.of(accuracy[out])
        table, left_out = _normal(scores[rest], scores[rest]), _normal(scores[out], scores[rest])
        for i, ridge in enumerate(RIDGES):
            errors[i, out] = (expected - left_out @ _solve(table, y, ridge)) ** 2
    means = errors.mean(axis=1)
    best = int(np.argmin(means))
    tolerated = means[best] + errors[best].std(ddof=1) / np.sqrt(n)
    return next(ridge for ridge, mean in zip(RIDGES, means, strict=True) if mean <= tolerated)


def _solve(table: Floats, y: Floats, ridge: float) -> Floats:
    n, d = table.shape
    equal = np.full(d, 1 / d)
    joint = table @ equal
    scale = max(0.0, float(joint @ y) / max(float(joint @ joint), 1e-12))
    pull = np.sqrt(ridge * n)
    weights: Floats = nnls(np.vstack([table, pull * np.eye(d)]), np.concatenate([y, pull * scale * equal]))[0]
    return weights


def _normal(scores: Floats, references: Floats) -> Floats:
    return np.stack([Scale(tuple(references[:, j])).of(scores[:, j]) for j in range(scores.shape[1])], axis=1)


def _folds(n: int, folds: int) -> Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(the rest, left out): every ``folds``-th item, so that an order by size gives folds of all sizes."""
    items = np.arange(n)
    return [(items[items % folds != k], items[items % folds == k]) for k in range(folds)]
