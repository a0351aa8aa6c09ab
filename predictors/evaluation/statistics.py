"""Statistics of repeated K-fold predictions that do not compare predictions of different models where that misleads.

Predictions of different folds come from different models. A model that knows nothing predicts the mean of its training
labels, and that is the lower, the higher its test labels are: pooled over folds it gets a rank correlation below 0,
with one row a fold even -1. Therefore

- Kendall's tau (also in cost bins) counts only pairs of networks of the same fold, which one model has predicted. Each
  pair is worth the same, so folds of any size from two networks on do, and repeats bring in the other pairs.
- Spearman's and Pearson's correlations are taken in each fold when folds have ``LARGE`` networks or more and averaged.
  In smaller folds they would be biased towards 0, so they are taken over all folds of a repeat: with at most
  ``FEW_FOLDS`` folds the fold models' means differ by little. With more and smaller folds they are not given.
- Regret needs one list of all networks: over all folds of a repeat, under the same condition.
- Errors and coverage do not compare networks and may be pooled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from predictors.evaluation.folds import Rows
from predictors.rank import Counts, Estimate, Floats, kendall_of, percentiles, weighted_mean

LARGE = 10
FEW_FOLDS = 10
Statistic = Callable[[Floats, Floats, Counts], Floats]  # predicted, truth, counts -> (resamples,)


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


def correlation_of(of: Statistic, predicted: Floats, truth: Floats, fold: Rows, counts: Counts) -> Floats:
    """A correlation in each fold, averaged, when folds are large; else over all folds when they are few; else NaN."""
    sizes = np.bincount(fold)
    if sizes.min() < LARGE:
        return of(predicted, truth, counts) if len(sizes) <= FEW_FOLDS else np.full(len(counts), np.nan)
    members = [np.flatnonzero(fold == i) for i in range(len(sizes))]
    values = [of(predicted[rows], truth[rows], counts[:, rows]) for rows in members]
    return weighted_mean(values, [counts[:, rows].sum(axis=1) for rows in members], len(counts))


def may_pool(fold: Rows) -> bool:
    """Whether predictions of all folds of a repeat may be ranked together."""
    sizes = np.bincount(fold)
    return len(sizes) <= FEW_FOLDS or int(sizes.min()) >= LARGE
