"""How well one list of numbers puts another in order: rank correlations, bootstrap intervals, regret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.float64]  # (resamples, n): how often each of n items was drawn
RESAMPLES = 2_000
LEVEL = 0.95


class InvalidSample(ValueError):
    """Lists of different lengths, fewer than two items, or values that are not finite."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic and its bootstrap interval.

    Attributes:
        value: on the items themselves; NaN where the statistic is undefined.
        low, high: 2.5 % and 97.5 % quantiles over the resamples for which the statistic is defined; NaN when none is.
    """

    value: float
    low: float
    high: float


def draw(n: int, *, resamples: int = RESAMPLES, seed: int = 0) -> Counts:
    """Bootstrap resamples of n items as counts, (resamples, n); every row sums to n.

    Statistics that are given the same counts are paired: their differences have a meaning row by row.
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's rho: the correlation of mid-ranks, -1 to 1; NaN when one list is constant. Raises InvalidSample."""
    return _once(spearman_of, a, b)


def kendall(a: ArrayLike, b: ArrayLike) -> float:
    """Kendall's tau-b: agreeing less disagreeing pairs, corrected for ties, -1 to 1; NaN when one list is constant.

    Raises: InvalidSample.
    Source: Kendall 1945, "The treatment of ties in ranking problems", Biometrika 33.
    """
    return _once(kendall_of, a, b)


def spearman_of(a: ArrayLike, b: ArrayLike, counts: Counts) -> Floats:
    """Spearman's rho of every resample, (resamples,); an item drawn twice is two tied items."""
    first, second = _checked(a, b)
    x, y = (_mid_ranks(values, counts) for values in (first, second))
    total = counts.sum(axis=1)
    x = x - ((counts * x).sum(axis=1) / total)[:, None]
    y = y - ((counts * y).sum(axis=1) / total)[:, None]
    return _ratio((counts * x * y).sum(axis=1), (counts * x * x).sum(axis=1), (counts * y * y).sum(axis=1))


def kendall_of(a: ArrayLike, b: ArrayLike, counts: Counts) -> Floats:
    """Kendall's tau-b of every resample, (resamples,); an item drawn twice is two tied items."""
    first, second = _checked(a, b)
    x, y = (np.sign(values[:, None] - values[None, :]) for values in (first, second))
    sums = [((counts @ signs) * counts).sum(axis=1) for signs in (x * y, x * x, y * y)]
    return _ratio(*sums)


def interval(of: Callable[[Counts], Floats], counts: Counts) -> Estimate:
    """A statistic with its percentile interval.

    Args:
        of: the statistic of every row of counts.
        counts: what ``draw`` gave.
    """
    value = float(of(np.ones((1, counts.shape[1])))[0])
    values = of(counts)
    values = values[np.isfinite(values)]
    if not len(values):
        return Estimate(value, np.nan, np.nan)
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))


def top_k_regret(scores: ArrayLike, truth: ArrayLike, k: int) -> float:
    """What is lost by looking only at the k items of highest score: best truth of all less best truth among them.

    Items of equal score are taken in the least lucky order. At least 0; unit of ``truth``. Raises InvalidSample.
    """
    first, second = _checked(scores, truth)
    if not 1 <= k <= len(first):
        raise InvalidSample(f"k={k}, expected 1 to the number of items, {len(first)}")
    order = np.lexsort((second, -first))
    return float(second.max() - second[order[:k]].max())


def _once(of: Callable[[ArrayLike, ArrayLike, Counts], Floats], a: ArrayLike, b: ArrayLike) -> float:
    return float(of(a, b, np.ones((1, np.size(a))))[0])


def _checked(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or len(first) < 2:
        raise InvalidSample(f"lists of shapes {first.shape} and {second.shape}, expected two of one length from 2 on")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise InvalidSample("NaN or infinite values, expected finite ones; leave those items out")
    return first, second


def _mid_ranks(values: Floats, counts: Counts) -> Floats:
    """(resamples, n) ranks from 1; tied items share the mean of their ranks."""
    below = (values[None, :] < values[:, None]).astype(np.float64)
    equal = (values[None, :] == values[:, None]).astype(np.float64)
    ranks: Floats = counts @ below.T + (counts @ equal.T + 1) / 2
    return ranks


def _ratio(product: NDArray[Any], first: NDArray[Any], second: NDArray[Any]) -> Floats:
    """Covariance over the root of both variances; NaN where a variance is 0."""
    spread = np.sqrt(first * second)
    sound = spread > 1e-12
    found: Floats = np.where(sound, np.clip(product / np.where(sound, spread, 1.0), -1.0, 1.0), np.nan)
    return found
