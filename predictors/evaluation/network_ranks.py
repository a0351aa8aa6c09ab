"""Rank statistics of repeated K-fold predictions over networks: rows of one network are averaged."""

from __future__ import annotations

import numpy as np

from predictors.evaluation.baseline import Columns
from predictors.evaluation.folds import Rows
from predictors.evaluation.out_of_fold import OutOfFold
from predictors.evaluation.statistics import (
    FEW_FOLDS,
    LARGE,
    Kind,
    Resampling,
    correlation_of,
    kendall_within,
    may_pool,
)
from predictors.rank import Estimate, Floats, quantile_bins, top_k_regret_of

BINS = 5


class NetworkRanks:
    """Predictions and labels of networks, and their statistics with intervals.

    Attributes:
        truth: (networks,) mean labels.
        predicted: of each repeat, (networks,) mean out-of-fold predictions.
        fold: of each repeat, (networks,) the fold whose model predicted the network.
    """

    def __init__(self, found: OutOfFold, labels: Floats, network: Rows, draws: Resampling, repeats: int) -> None:
        self._times = np.bincount(network).astype(np.float64)
        self._network = network
        self._draws = draws
        self._repeats = repeats
        self.truth = self._averaged(labels)
        self.predicted = [self._averaged(row) for row in found.mean]
        folds = len(found.splits) // repeats
        self.fold = [np.empty(len(self._times), dtype=np.intp) for _ in range(repeats)]
        self._splits = found.splits
        for i, (_, test) in enumerate(found.splits):
            self.fold[i // folds][network[test]] = i % folds

    def _averaged(self, values: Floats) -> Floats:
        means: Floats = np.bincount(self._network, values) / self._times
        return means

    def kendall(self) -> Estimate:
        """Over pairs of the same fold."""
        return self._draws.estimate(lambda i, c: kendall_within(self.predicted[i], self.truth, self.fold[i], c))

    def correlation(self, kind: Kind) -> Estimate:
        """Inside the folds, at most 1; see ``predictors.evaluation.statistics``.

        Freed of the bias of small folds, rho can come out above 1 by chance; it is cut there only at the end.
        """
        found = self._draws.estimate(lambda i, c: correlation_of(kind, self.predicted[i], self.truth, self.fold[i], c))
        return Estimate(*(float(np.clip(value, -1, 1)) for value in (found.value, found.low, found.high)))

    def regret(self, k: int) -> Estimate:
        """Of the k highest predictions of a repeat; NaN when its folds cannot be ranked together."""
        if not may_pool(self.fold[0]):
            return Estimate(np.nan, np.nan, np.nan)
        return self._draws.estimate(lambda i, c: top_k_regret_of(self.predicted[i], self.truth, k, c))

    def in_bins(self, columns: Columns, cost: str | None) -> Estimate | None:
        """Tau over pairs of one fold and one of five bins of the cost; None without costs or with few networks."""
        if cost is None or len(self.truth) < 4 * BINS:
            return None
        bins = quantile_bins(self._averaged(columns[cost]), BINS)
        return self._draws.estimate(
            lambda i, c: kendall_within(self.predicted[i], self.truth, self.fold[i] * BINS + bins, c)
        )

    def against(self, scores: list[Floats]) -> tuple[Estimate, Estimate]:
        """The gain over the baseline's scores of each split, and the baseline's own tau."""
        folds = len(self._splits) // self._repeats
        theirs = np.empty((self._repeats, len(self._network)))
        for i, (score, (_, test)) in enumerate(zip(scores, self._splits, strict=True)):
            theirs[i // folds, test] = score
        means = [self._averaged(row) for row in theirs]

        def tau(i: int, counts: Floats) -> Floats:
            return kendall_within(means[i], self.truth, self.fold[i], counts)

        def gain(i: int, counts: Floats) -> Floats:
            return kendall_within(self.predicted[i], self.truth, self.fold[i], counts) - tau(i, counts)

        return self._draws.estimate(gain), self._draws.estimate(tau)

    def notes(self) -> tuple[str, ...]:
        """What a reader must know about how it was done."""
        sizes = np.bincount(self.fold[0])
        notes = ["Kendall's tau counts pairs of networks of the same fold, which one model has predicted"]
        if sizes.min() >= LARGE:
            notes.append("Spearman's and Pearson's correlations are means over the folds")
        else:
            notes.append(
                f"folds of {sizes.min()} networks: Spearman's rho is what it would be of many networks, Pearson's "
                "correlation is a little too low, as those of few networks are"
            )
        if not may_pool(self.fold[0]):
            notes.append(
                f"{len(sizes)} small folds cannot be ranked together, so that there is no regret; {FEW_FOLDS} can"
            )
        return tuple(notes)
