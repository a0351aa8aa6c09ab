"""Everything that a report of a predictor shows, as plain JSON-ready data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictors.evaluation.crossvalidate import Evaluation, checked_labels, coverage_at, plain
from predictors.evaluation.folds import network_numbers
from predictors.evaluation.learning_curve import CurvePoint
from predictors.evaluation.out_of_fold import LEVELS, OutOfFold
from predictors.evaluation.statistics import resampling
from predictors.rank import Floats

SHOWN = LEVELS.index(0.9)  # level of the intervals of the parity plot
MOST_LEVELS = 12  # a column with more different values is no choice
FEWEST = 3  # networks of a level from which on it is shown


def report_data(  # noqa: PLR0913 - what a report is of
    evaluation: Evaluation,
    X: Any,
    y: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    groups: ArrayLike | None = None,
    curve: Sequence[CurvePoint] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """What a report card is drawn from.

    Args:
        evaluation: of a kind of model on X and y.
        X: the n rows evaluated; its columns of few values are the families.
        y: (n,) labels.
        names: of the n rows; None: their numbers.
        groups: (n,) as given to ``cross_validate``.
        curve: what ``learning_curve`` gave; empty when it was not asked for.
        seed: of the intervals.
    Returns: JSON-ready: "summary" (the evaluation), "parity" (one entry a row: "name", "actual", "predicted" out of
        fold, "low" and "high" of the 90 % interval or None), "families" (see ``errors_by_family``), "calibration" (see
        ``calibration``), "learning_curve".
    Raises: InvalidLabels.
    """
    labels = checked_labels(X, y)
    found = evaluation.out_of_fold
    mean = found.mean.mean(axis=0)
    ends = [None if part is None else part[SHOWN].mean(axis=0) for part in (found.low, found.high)]
    parity = {
        "name": list(names) if names is not None else list(range(len(labels))),
        "actual": labels,
        "predicted": mean,
        "low": ends[0] if ends[0] is not None else [None] * len(labels),
        "high": ends[1] if ends[1] is not None else [None] * len(labels),
    }
    rows = zip(*(plain(values) for values in parity.values()), strict=True)
    return {
        "summary": evaluation.to_dict(),
        "parity": [dict(zip(parity, row, strict=True)) for row in rows],
        "families": errors_by_family(choices_of(X), mean, labels),
        "calibration": calibration(found, labels, groups=groups, seed=seed),
        "learning_curve": plain([point for point in curve]),
    }


def calibration(
    found: OutOfFold, y: ArrayLike, *, groups: ArrayLike | None = None, seed: int = 0
) -> list[dict[str, Any]]:
    """Stated against found coverage.

    Args:
        found: out-of-fold predictions with intervals.
        y: (n,) labels.
        groups: (n,) which network each row is of.
        seed: of the intervals.
    Returns: for 50, 80, 90 and 95 %: "stated", "found" ("value", "low", "high") and "width", the mean width in the unit
        of the labels; levels that could not be stated are left out, all of them when the model states no intervals.
    """
    labels = np.asarray(y, dtype=np.float64)
    network = network_numbers(len(labels), groups)
    draws = resampling(int(network.max()) + 1, len(found.mean), seed)
    entries = []
    for level, stated in enumerate(LEVELS):
        estimate = coverage_at(found, labels, network, draws, level)
        if estimate is not None and found.low is not None and found.high is not None:
            width = float((found.high[level] - found.low[level]).mean())
            entries.append({"stated": stated, "found": plain(estimate), "width": plain(width)})
    return entries


def choices_of(X: Any) -> dict[str, NDArray[Any]]:
    """Columns of few different values, by name: those of a DataFrame or of a 2-D array; none of anything else."""
    if hasattr(X, "columns") and hasattr(X, "iloc"):
        columns = {str(name): np.asarray(X[name]) for name in X.columns}
    elif isinstance(X, np.ndarray) and X.ndim == 2:
        columns = {f"x{i}": X[:, i] for i in range(X.shape[1])}
    else:
        return {}
    return {name: values for name, values in columns.items() if 2 <= len(set(values.tolist())) <= MOST_LEVELS}


def errors_by_family(choices: Mapping[str, NDArray[Any]], predicted: ArrayLike, y: ArrayLike) -> list[dict[str, Any]]:
    """How far off the predictions are for the networks of each level of each choice.

    Args:
        choices: (n,) values by the choice's name.
        predicted: (n,) out-of-fold predictions.
        y: (n,) labels.
    Returns: one entry a level with at least three networks, the most biased in standard errors first: "choice",
        "level", "networks", "bias" (mean of predicted less actual), "rmse", "errors" (the bias in its standard errors)
        and "suspect": whether that is more than chance gives among so many levels (Bonferroni, 5 %).
    """
    residual = np.asarray(predicted, np.float64) - np.asarray(y, np.float64)
    entries: list[dict[str, Any]] = []
    for name, values in choices.items():
        for level in sorted(set(values.tolist()), key=lambda value: (str(type(value)), value)):
            entry = _entry(residual, values == level)
            if entry is not None:
                entries.append({"choice": name, "level": plain(level), **entry})
    for entry in entries:
        entry["suspect"] = entry.pop("chance") * len(entries) <= 0.05
    return sorted(entries, key=lambda entry: -abs(entry["errors"]))


def _entry(residual: Floats, members: NDArray[np.bool_]) -> dict[str, Any] | None:
    from scipy.special import stdtr

    errors = residual[members]
    if len(errors) < FEWEST:
        return None
    bias, deviation = float(errors.mean()), float(errors.std(ddof=1)) / np.sqrt(len(errors))
    times = bias / deviation if deviation > 0 else 0.0
    return {
        "networks": len(errors),
        "bias": bias,
        "rmse": float(np.sqrt((errors**2).mean())),
        "errors": times,
        "chance": float(2 * stdtr(len(errors) - 1, -abs(times))),
    }
