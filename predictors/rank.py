"""How well one list of numbers foretells another: rank correlations, regret, errors, all with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.float64]  # (resamples, n): how often each of n items was drawn
RESAMPLES = 2_000
LEVEL = 0.95
MATRIX = 1_000  # up to so many items Kendall's tau is read off the matrix of all pairs


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


@dataclass(frozen=True, slots=True)
class NoiseCeiling:
    """What the noise of the labels leaves to a perfect predictor.

    Attributes:
        networks: how many distinct networks there are.
        repeated: how many of them have more than one label.
        noise_sd: standard deviation of one label around the truth of its network, with its interval.
        kendall: tau between the truth and the mean labels of the networks; median and 95 % interval of the draws.
        spearman: rho likewise.
    """

    networks: int
    repeated: int
    noise_sd: Estimate
    kendall: Estimate
    spearman: Estimate


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


def rmse(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Root of the mean squared error, unit of ``truth``. Raises InvalidSample."""
    return _once(rmse_of, predicted, truth)


def spearman_of(a: ArrayLike, b: ArrayLike, counts: Counts) -> Floats:
    """Spearman's rho of every resample, (resamples,); an item drawn twice is two tied items."""
    first, second = _checked(a, b)
    x, y = (_mid_ranks(values, counts) for values in (first, second))
    total = _total(counts)
    x = x - ((counts * x).sum(axis=1) / total)[:, None]
    y = y - ((counts * y).sum(axis=1) / total)[:, None]
    return _ratio((counts * x * y).sum(axis=1), (counts * x * x).sum(axis=1), (counts * y * y).sum(axis=1))


def kendall_of(a: ArrayLike, b: ArrayLike, counts: Counts) -> Floats:
    """Kendall's tau-b of every resample, (resamples,); an item drawn twice is two tied items.

    Beyond ``MATRIX`` items each resample is sorted instead, without a matrix of pairs: 20,000 items take about 10 ms a
    resample, so ask ``draw`` for fewer of them.
    """
    first, second = _checked(a, b)
    if len(first) > MATRIX:
        return _kendall_by_sorting(first, second, counts)
    x, y = (np.sign(values[:, None] - values[None, :]) for values in (first, second))
    sums = [((counts @ signs) * counts).sum(axis=1) for signs in (x * y, x * x, y * y)]
    return _ratio(*sums)


def pearson_of(a: ArrayLike, b: ArrayLike, counts: Counts) -> Floats:
    """Pearson's correlation of every resample, (resamples,); NaN where one list is constant."""
    x, y = ((values - values.mean()) / (values.std() or 1.0) for values in _checked(a, b))
    total = _total(counts)
    middle_x, middle_y = counts @ x / total, counts @ y / total
    squares = (counts @ values**2 / total - middle**2 for values, middle in ((x, middle_x), (y, middle_y)))
    return _ratio(counts @ (x * y) / total - middle_x * middle_y, *(np.maximum(part, 0.0) for part in squares))


def rmse_of(predicted: ArrayLike, truth: ArrayLike, counts: Counts) -> Floats:
    """Root of the mean squared error of every resample, (resamples,)."""
    first, second = _checked(predicted, truth)
    found: Floats = np.sqrt(counts @ (first - second) ** 2 / _total(counts))
    return found


def coverage_of(low: ArrayLike, high: ArrayLike, truth: ArrayLike, counts: Counts) -> Floats:
    """Share of the truths from low to high, ends included, of every resample, (resamples,); infinite ends may be."""
    bottom, top, values = (np.asarray(numbers, dtype=np.float64) for numbers in (low, high, truth))
    if not values.ndim == 1 == bottom.ndim or not bottom.shape == top.shape == values.shape:
        raise InvalidSample(f"shapes {bottom.shape}, {top.shape}, {values.shape}, expected three lists of one length")
    if np.isnan([bottom, top, values]).any():
        raise InvalidSample("NaN values, expected numbers; leave those items out")
    found: Floats = counts @ ((bottom <= values) & (values <= top)) / _total(counts)
    return found


def tau_in_bins(scores: ArrayLike, truth: ArrayLike, costs: ArrayLike, bins: int = 5) -> float:
    """Kendall's tau among networks of about equal cost: what a score knows beyond "larger is better".

    Args:
        scores: (n,).
        truth: (n,).
        costs: (n,) such as MACs; cut at its quantiles into ``bins`` bins, equal costs stay together.
        bins: at least 1, at most half of n.
    Returns: the mean over the bins, each weighted by its number of networks; NaN when none has a tau.
    Raises: InvalidSample.
    """
    return float(tau_in_bins_of(scores, truth, costs, np.ones((1, np.size(scores))), bins)[0])


def tau_in_bins_of(scores: ArrayLike, truth: ArrayLike, costs: ArrayLike, counts: Counts, bins: int = 5) -> Floats:
    """``tau_in_bins`` of every resample, (resamples,); the bins are those of the items themselves."""
    first, second = _checked(scores, truth)
    _, cost = _checked(scores, costs)
    if not 1 <= bins <= len(first) // 2:
        raise InvalidSample(f"bins={bins} for {len(first)} items, expected 1 to half of the items")
    place = quantile_bins(cost, bins)
    members = [np.flatnonzero(place == bin_) for bin_ in range(bins)]
    parts = [(counts[:, rows], first[rows], second[rows]) for rows in members if len(rows) > 1]
    return weighted_mean([kendall_of(x, y, c) for c, x, y in parts], [c.sum(axis=1) for c, _, _ in parts], len(counts))


def quantile_bins(values: Floats, bins: int) -> NDArray[np.intp]:
    """(n,) bin from 0 of each value, by mid-rank: bins of about equal size, equal values stay together."""
    ranks = _mid_ranks(values, np.ones((1, len(values))))[0]
    return np.asarray((ranks - 0.5) / len(values) * bins, dtype=np.intp)


def weighted_mean(values: Sequence[Floats], weights: Sequence[Floats], count: int) -> Floats:
    """(count,) mean over the defined values of a list of (count,) arrays; NaN where none is defined."""
    total, weight = np.zeros(count), np.zeros(count)
    for value, share in zip(values, weights, strict=True):
        sound = np.isfinite(value)
        total += np.where(sound, value * share, 0.0)
        weight += np.where(sound, share, 0.0)
    found: Floats = np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), np.nan)
    return found


def interval(of: Callable[[Counts], Floats], counts: Counts) -> Estimate:
    """A statistic with its percentile interval.

    Args:
        of: the statistic of every row of counts.
        counts: what ``draw`` gave.
    """
    return percentiles(float(of(np.ones((1, counts.shape[1])))[0]), of(counts))


def percentiles(value: float, values: Floats) -> Estimate:
    """A value with the 2.5 % and 97.5 % quantiles of those of its resamples that are defined."""
    values = values[np.isfinite(values)]
    if not len(values):
        return Estimate(value, np.nan, np.nan)
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))


def top_k_regret(scores: ArrayLike, truth: ArrayLike, k: int) -> float:
    """What is lost by looking only at the k items of highest score: best truth of all less best truth among them.

    Items of equal score are taken in the least lucky order. At least 0; unit of ``truth``. Raises InvalidSample.
    """
    return float(top_k_regret_of(scores, truth, k, np.ones((1, np.size(scores))))[0])


def top_k_regret_of(scores: ArrayLike, truth: ArrayLike, k: int, counts: Counts) -> Floats:
    """``top_k_regret`` of every resample, (resamples,); an item drawn twice is one item.

    A resample lacks the very best item in 37 % of the draws, so that the interval is rough; it is for telling regrets
    apart that differ by much.
    """
    first, second = _checked(scores, truth)
    if not 1 <= k <= len(first):
        raise InvalidSample(f"k={k}, expected 1 to the number of items, {len(first)}")
    order = np.lexsort((second, -first))
    drawn, values = counts[:, order] > 0, second[order]
    looked_at = drawn & (np.cumsum(drawn, axis=1) <= k)
    found: Floats = np.where(drawn, values, -np.inf).max(axis=1) - np.where(looked_at, values, -np.inf).max(axis=1)
    return found


def noise_ceiling(labels: ArrayLike, networks: ArrayLike, *, seed: int = 0, draws: int = 500) -> NoiseCeiling | None:
    """The rank correlation that the truth itself would have with labels as noisy as these.

    The noise variance is that of the labels within the networks that have several; what the mean labels vary beyond it
    is taken for real. Each draw takes a noise variance that such labels allow (normal noise: sum of squares over chi
    squared), shrinks the mean labels to the real variance, takes that for the truth, adds noise and ranks both.

    Args:
        labels: (n,) finite.
        networks: (n,) which network each label is of; equal entries are one network.
        seed: of the draws.
        draws: how many.
    Returns: None when no network has two labels or there are fewer than two networks.
    Raises: InvalidSample.
    """
    values = _checked(labels, labels)[0]
    names, place = np.unique(np.asarray(networks), return_inverse=True)
    if place.shape != values.shape:
        raise InvalidSample(f"{len(values)} labels and networks of shape {place.shape}, expected one network a label")
    times = np.bincount(place).astype(np.float64)
    means = np.bincount(place, values) / times
    squares, freedom = float(((values - means[place]) ** 2).sum()), len(values) - len(names)
    if not freedom or len(names) < 2:
        return None
    rng = np.random.default_rng(seed)
    variances = squares / rng.chisquare(freedom, size=draws)
    spread = float(means.var(ddof=1))
    found: dict[Callable[[ArrayLike, ArrayLike], float], list[float]] = {kendall: [], spearman: []}
    for variance in variances:
        real = max(0.0, spread - variance * float((1 / times).mean()))
        truth = means.mean() + np.sqrt(real / spread if spread else 0.0) * (means - means.mean())
        seen = truth + np.sqrt(variance / times) * rng.standard_normal(len(truth))
        for of, taus in found.items():
            taus.append(np.nan_to_num(of(truth, seen)))  # without real variance the truth says nothing
    noise = percentiles(float(np.sqrt(squares / freedom)), np.sqrt(variances))
    ranks = (percentiles(float(np.median(taus)), np.array(taus)) for taus in (found[kendall], found[spearman]))
    return NoiseCeiling(len(names), int((times > 1).sum()), noise, *ranks)


def _once(of: Callable[[ArrayLike, ArrayLike, Counts], Floats], a: ArrayLike, b: ArrayLike) -> float:
    return float(of(a, b, np.ones((1, np.size(a))))[0])


def _checked(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or len(first) < 2:
        raise InvalidSample(f"lists of shapes {first.shape} and {second.shape}, expected two of one length from 2 on")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise InvalidSample("NaN or infinite values, expected finite ones; leave those items out")
    return first, second


def _total(counts: Counts) -> Floats:
    """(resamples,) items drawn; NaN where none was, as among the few of one fold."""
    total: Floats = counts.sum(axis=1)
    return np.where(total > 0, total, np.nan)


def _mid_ranks(values: Floats, counts: Counts) -> Floats:
    """(resamples, n) ranks from 1; tied items share the mean of their ranks."""
    levels, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(levels)))
    times = np.add.reduceat(counts[:, order], starts, axis=1)
    ranks: Floats = (np.cumsum(times, axis=1) - times + (times + 1) / 2)[:, place]
    return ranks


def _kendall_by_sorting(a: Floats, b: Floats, counts: Counts) -> Floats:
    from scipy.stats import kendalltau

    items = np.arange(len(a))
    picked = (np.repeat(items, row.astype(np.int64)) for row in counts)
    return np.array([kendalltau(a[rows], b[rows], method="asymptotic").statistic for rows in picked], dtype=np.float64)


def _ratio(product: NDArray[Any], first: NDArray[Any], second: NDArray[Any]) -> Floats:
    """Covariance over the root of both variances; NaN where a variance is 0."""
    spread = np.sqrt(first * second)
    sound = spread > 1e-12  # not where it is NaN
    found: Floats = np.where(sound, np.clip(product / np.where(sound, spread, 1.0), -1.0, 1.0), np.nan)
    return found
