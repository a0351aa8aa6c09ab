"""Repeated K-fold cross-validation of a predictor, beside the cost-only baseline and the ceiling that noise sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from predictors.evaluation.baseline import baseline_columns, baseline_scores
from predictors.evaluation.folds import Rows, TooFewRows, network_numbers, repeated_folds
from predictors.evaluation.network_ranks import NetworkRanks
from predictors.evaluation.out_of_fold import LEVELS, OutOfFold, out_of_fold
from predictors.evaluation.statistics import Resampling, resampling
from predictors.rank import (
    Estimate,
    Floats,
    NoiseCeiling,
    coverage_of,
    noise_ceiling,
    rmse_of,
)

STATED = 0.9


class InvalidLabels(ValueError):
    """Labels that are not finite, all the same, or not one a row."""


@dataclass(frozen=True)
class Evaluation:
    """How well a kind of model predicts networks that it was not given; statistics as ``Estimate``s.

    Each value is the mean over the repeats. Its interval is for what such models, trained on as many labels as a fold's
    model was, reach on average on new networks of the same kind: each of 2,000 resamples draws networks and repeats
    with replacement. The models are not fitted again to the resamples, so what another training set would do to them is
    in it only as far as the splits differ; in simulations it held the truth as often as stated (docs/uncertainty.md).

    Attributes:
        kendall, spearman, pearson: of predictions and labels, higher is better.
        rmse: unit of the labels.
        top_k_regret: what the best of the ``k`` highest predictions lacks to the best label; unit of the labels.
        k: the tenth part of the networks, at least 1.
        tau_in_bins: Kendall's tau inside five bins of the baseline's cost; None without costs or with too few networks.
        coverage: how often the stated 90 % intervals hold the label; None when the model states none.
        baseline_kendall: tau of ``baseline``, one column chosen with its sign on the training rows of each fold.
        kendall_gain: ``kendall`` less ``baseline_kendall`` on the same resamples.
        baseline: the column chosen most often; None when there is none.
        ceiling: what the noise of the labels leaves to a perfect predictor; None unless some network has two labels.
        rows, networks, folds, repeats: of the evaluation.
        notes: what a reader must know about how it was done.
        out_of_fold: the predictions behind it.
    """

    kendall: Estimate
    spearman: Estimate
    pearson: Estimate
    rmse: Estimate
    top_k_regret: Estimate
    k: int
    tau_in_bins: Estimate | None
    coverage: Estimate | None
    baseline_kendall: Estimate | None
    kendall_gain: Estimate | None
    baseline: str | None
    ceiling: NoiseCeiling | None
    rows: int
    networks: int
    folds: int
    repeats: int
    notes: tuple[str, ...]
    out_of_fold: OutOfFold = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the predictions; what is undefined is None."""
        names = [name for name in self.__dataclass_fields__ if name != "out_of_fold"]
        return {name: plain(getattr(self, name)) for name in names}


def plain(value: Any) -> Any:
    """Dataclasses, arrays and tuples as dictionaries and lists; numbers that are not finite as None."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def cross_validate(  # noqa: PLR0913 - the data, and how it is split
    make_model: Callable[[], Any],
    X: Any,
    y: ArrayLike,
    *,
    folds: int = 5,
    repeats: int = 3,
    seed: int = 0,
    costs: Any = None,
    groups: ArrayLike | None = None,
    resamples: int | None = None,
) -> Evaluation:
    """Judge a kind of model by networks that it was not fitted on.

    Args:
        make_model: gives a fresh model with ``fit(X, y)`` and ``predict(X)``, better ``predict(X, return_std=True)`` or
            also ``predict_interval(X, coverage=...)``. Whatever it tunes or chooses it must do inside ``fit``.
        X: n rows of what the model reads: an array, a DataFrame, a list of networks.
        y: (n,) finite labels, higher is better.
        folds: from 2 on, at most half of the networks.
        repeats: how often the folds are drawn anew.
        seed: of folds and intervals.
        costs: what is known of the networks without training; see ``baseline_columns``. Without it the numeric columns
            of X are the baseline's.
        groups: (n,) which network each row is of, when some have several labels; they stay in one fold, and ranks are
            those of the networks' mean labels.
        resamples: of the intervals; None: 2,000, fewer for more than 500 networks.
    Raises: InvalidLabels; TooFewRows; InvalidPrediction; what the model raises.
    """
    labels = checked_labels(X, y)
    network = network_numbers(len(labels), groups)
    count = int(network.max()) + 1
    splits = repeated_folds(len(labels), folds, repeats, seed, groups)
    if count < folds + 1:
        raise TooFewRows(
            f"{folds} folds of {count} networks: one network a fold has no order; ask for at most {count // 2} folds"
        )
    found = out_of_fold(make_model, X, labels, splits, repeats)
    draws = resampling(count, repeats, seed, resamples)
    ranks = NetworkRanks(found, labels, network, draws, repeats)
    columns = baseline_columns(X, costs)
    scores, baseline = baseline_scores(columns, labels, splits)
    k = max(1, round(count / 10))
    gain, baseline_kendall = ranks.against(scores) if baseline else (None, None)
    return Evaluation(
        kendall=ranks.kendall(),
        spearman=ranks.correlation("spearman"),
        pearson=ranks.correlation("pearson"),
        rmse=draws.estimate(lambda i, c: rmse_of(ranks.predicted[i], ranks.truth, c)),
        top_k_regret=ranks.regret(k),
        k=k,
        tau_in_bins=ranks.in_bins(columns, baseline) if costs is not None else None,
        coverage=coverage_at(found, labels, network, draws, LEVELS.index(STATED)),
        baseline_kendall=baseline_kendall,
        kendall_gain=gain,
        baseline=baseline,
        ceiling=noise_ceiling(labels, network, seed=seed),
        rows=len(labels),
        networks=count,
        folds=folds,
        repeats=repeats,
        notes=ranks.notes(),
        out_of_fold=found,
    )


def checked_labels(X: Any, y: ArrayLike) -> Floats:
    """(n,) labels as float64. Raises InvalidLabels: not one a row of X, not finite, or all equal."""
    labels = np.asarray(y, dtype=np.float64)
    rows = X.shape[0] if hasattr(X, "shape") else len(X)
    if labels.ndim != 1 or len(labels) != rows:
        raise InvalidLabels(f"labels of shape {labels.shape} for {rows} rows, expected one label a row")
    bad = np.flatnonzero(~np.isfinite(labels))
    if len(bad):
        raise InvalidLabels(
            f"labels: {len(bad)} of {rows} are NaN or infinite, the first in row {bad[0]} (from 0); leave them out"
        )
    if not rows or np.ptp(labels) == 0:
        raise InvalidLabels(f"labels: all {rows} are equal, expected some that differ; there is nothing to predict")
    return labels


def coverage_at(found: OutOfFold, labels: Floats, network: Rows, draws: Resampling, level: int) -> Estimate | None:
    """How often the intervals of ``LEVELS[level]`` hold the label; None when the model does not state them."""
    if found.low is None or found.high is None or np.isnan(found.low[level]).any():
        return None
    low, high = found.low[level], found.high[level]
    return draws.estimate(lambda i, c: coverage_of(low[i], high[i], labels, c[:, network]))
