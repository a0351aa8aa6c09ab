"""Fits a model on each training part and keeps what it says of the test part."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictors.conformal import TooFewLabels
from predictors.evaluation.folds import Rows, Split
from predictors.rank import Floats

LEVELS = (0.5, 0.8, 0.9, 0.95)  # stated coverages that are checked


class InvalidPrediction(ValueError):
    """A model predicted something that is not one finite number a row."""


@dataclass(frozen=True)
class Prediction:
    """Of m rows: (m,) means, (m,) standard deviations or None, (LEVELS, m) ends of intervals or None, NaN unstated."""

    mean: Floats
    std: Floats | None
    low: Floats | None
    high: Floats | None


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of rows by models that have not seen them.

    Attributes:
        splits: the (train, test) pairs, repeat by repeat.
        mean: (repeats, n).
        std: (repeats, n), or None when the model states none.
        low: (LEVELS, repeats, n) lower ends of the stated intervals, or None; NaN where a level could not be stated.
        high: likewise upper ends.
    """

    splits: list[Split]
    mean: Floats
    std: Floats | None
    low: Floats | None
    high: Floats | None


def take(X: Any, rows: Rows) -> Any:
    """Rows of anything that has rows: a DataFrame, an array, a sparse matrix, a list."""
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    if hasattr(X, "shape") and hasattr(X, "__getitem__"):
        return X[rows]
    return [X[int(i)] for i in rows]


def fit_and_predict(make_model: Callable[[], Any], X: Any, labels: Floats, train: Rows, test: Rows) -> Prediction:
    """What a fresh model that is fitted on the training rows says of the test rows.

    Raises: InvalidPrediction.
    """
    model = make_model()
    model.fit(take(X, train), labels[train])
    asked = take(X, test)
    if "return_std" in inspect.signature(model.predict).parameters:
        mean, std = (np.asarray(part, np.float64) for part in model.predict(asked, return_std=True))
    else:
        mean, std = np.asarray(model.predict(asked), np.float64), None
    if mean.shape != test.shape or not np.isfinite(mean).all():
        name = type(model).__name__
        raise InvalidPrediction(f"{name} predicted shape {mean.shape}, expected {test.shape} finite numbers")
    return Prediction(mean, std, *_intervals(model, asked, mean, std))


def out_of_fold(make_model: Callable[[], Any], X: Any, labels: Floats, splits: list[Split], repeats: int) -> OutOfFold:
    """Fit and predict on every split; each row is in one test part of each repeat."""
    n, folds = len(labels), len(splits) // repeats
    found = [fit_and_predict(make_model, X, labels, train, test) for train, test in splits]

    def gathered(parts: list[Any], shape: tuple[int, ...]) -> Floats | None:
        if any(part is None for part in parts):
            return None
        whole = np.full((*shape, repeats, n), np.nan)
        for i, (part, (_, test)) in enumerate(zip(parts, splits, strict=True)):
            whole[..., i // folds, test] = part
        return whole

    mean = gathered([one.mean for one in found], ())
    assert mean is not None
    std = gathered([one.std for one in found], ())
    low, high = (gathered([getattr(one, end) for one in found], (len(LEVELS),)) for end in ("low", "high"))
    return OutOfFold(splits, mean, std, low, high)


def _intervals(model: Any, asked: Any, mean: Floats, std: Floats | None) -> tuple[Floats | None, Floats | None]:
    """The model's own intervals, else those of a normal distribution of its standard deviation, else none."""
    if hasattr(model, "predict_interval"):
        pairs = [_stated(model, asked, level, len(mean)) for level in LEVELS]
        return np.array([low for low, _ in pairs]), np.array([high for _, high in pairs])
    if std is None:
        return None, None
    times = np.array([NormalDist().inv_cdf((1 + level) / 2) for level in LEVELS])[:, None]
    return mean - times * std, mean + times * std


def _stated(model: Any, asked: Any, level: float, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        low, high = model.predict_interval(asked, coverage=level)
        return np.asarray(low, np.float64), np.asarray(high, np.float64)
    except TooFewLabels:
        return np.full(count, np.nan), np.full(count, np.nan)
