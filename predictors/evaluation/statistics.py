"""Statistics of repeated K-fold predictions that do not compare predictions of different models where that misleads.

Predictions of different folds come from different models. A model that knows nothing predicts the mean of its training
labels, and that is the lower, the higher its test labels are: pooled over folds it gets a rank correlation below 0,
with one row a fold even -1. Therefore

- Kendall's tau (also in cost bins) counts only pairs of networks of the same fold, which one model has predicted. Each
  pair is worth the same, so folds of any size from two networks on do, and repeats bring in the other pairs.
- Spearman's and Pearson's correlations are taken in each fold and averaged. Of a few items they are nearer to 0 than of
  many: in folds of fewer than ``LARGE`` networks Spearman's rho is freed of that with the help of tau, Pearson's
  correlation is left low, about by the share (1 - r^2) / (2 m) in folds of m. (Correlating all folds at once after
  their means are taken off was tried: normalised over the folds it is below 0 for a model that has learned noise.)
- Regret needs one list of all networks: over all folds of a repeat, when those are at most ``FEW_FOLDS`` or large, so
  that the means of the folds' models differ by little; else it is not given.
- Errors and coverage do not compare networks and may be pooled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from predictors.evaluation.folds import Rows
from predictors.rank import (
    Counts,
    Estimate,
    Floats,
    kendall_of,
    pearson_of,
    percentiles,
    spearman_of,
    weighted_mean,
)

LARGE = 10
FEW_FOLDS = 10
Kind = Literal["spearman", "pearson"]


@dataclass(frozen=True)
class Resampling:
    """Networks drawn with replacement, and for each draw the repeats drawn with replacement.

    Attributes:
        counts: (resamples, networks) how often each network was drawn.
        repeats: (resamples, repeats) how often each repeat was drawn.
    """

    counts: Counts
    repeats: Counts

    def estimate(self, of: Callable[[int, Counts], Floats]) -> Estimate:
        """The mean of a statistic over the repeats, with an interval over networks and repeats.

        Args:
            of: the statistic of one repeat for every row of counts.
        """
        once, every = np.ones((1, self.counts.shape[1])), range(self.repeats.shape[1])
        return self.combine([float(of(i, once)[0]) for i in every], [of(i, self.counts) for i in every])

    def combine(self, values: Sequence[float], resampled: Sequence[Floats]) -> Estimate:
        """The same from the value of each repeat and its (resamples,) resamples."""
        sound = [value for value in values if np.isfinite(value)]
        drawn = weighted_mean(resampled, list(self.repeats.T), len(self.repeats))
        return percentiles(float(np.mean(sound)) if sound else np.nan, drawn)


def resampling(networks: int, repeats: int, seed: int, resamples: int | None = None) -> Resampling:
    """A function of its arguments; by default 2,000 resamples, fewer of more than 500 networks, at least 200."""
    count = resamples or int(np.clip(1_000_000 // networks, 200, 2_000))
    rng = np.random.default_rng((seed, 0xB0))
    counts, picks = (rng.multinomial(n, np.full(n, 1 / n), size=count).astype(np.float64) for n in (networks, repeats))
    return Resampling(counts, picks)


def kendall_within(predicted: Floats, truth: Floats, cells: Rows, counts: Counts) -> Floats:
    """Kendall's tau of pairs of the same cell, (resamples,): the mean over the cells, each weighted by its pairs."""
    values, weights = [], []
    for cell in np.unique(cells):
        rows = np.flatnonzero(cells == cell)
        if len(rows) > 1:
            times = counts[:, rows]
            values.append(kendall_of(predicted[rows], truth[rows], times))
            weights.append(times.sum(axis=1) * (times.sum(axis=1) - 1))
    return weighted_mean(values, weights, len(counts))


def correlation_of(kind: Kind, predicted: Floats, truth: Floats, fold: Rows, counts: Counts) -> Floats:
    """A correlation in each fold, averaged with the folds' sizes as weights, (resamples,).

    Source: Moran 1948, "Rank correlation and product-moment correlation", Biometrika 35: rho of m items has the
        expectation (3 tau + (m - 2) rho of many) / (m + 1).
    """
    values, weights = [], []
    for i in range(int(fold.max()) + 1):
        rows = np.flatnonzero(fold == i)
        part = predicted[rows], truth[rows], counts[:, rows]
        if kind == "pearson" and len(rows) > 1:
            values.append(pearson_of(*part))
        elif kind == "spearman" and len(rows) > 2:
            values.append(_spearman_of_many(*part) if len(rows) < LARGE else spearman_of(*part))
        else:
            continue
        weights.append(counts[:, rows].sum(axis=1))
    return weighted_mean(values, weights, len(counts))


def _spearman_of_many(predicted: Floats, truth: Floats, counts: Counts) -> Floats:
    """What Spearman's rho of so few items would be of many."""
    drawn = np.maximum(counts.sum(axis=1), 3.0)
    rho, tau = spearman_of(predicted, truth, counts), kendall_of(predicted, truth, counts)
    found: Floats = ((drawn + 1) * rho - 3 * tau) / (drawn - 2)
    return found


def may_pool(fold: Rows) -> bool:
    """Whether predictions of all folds of a repeat may be ranked together."""
    sizes = np.bincount(fold)
    return len(sizes) <= FEW_FOLDS or int(sizes.min()) >= LARGE
