"""First level of cascade bagging: models on drawn rows and features, and what they say of rows left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictors.models.cascade.base_learners import Maker
from predictors.models.cascade.noise import with_noisy_copy
from predictors.regressor import Floats

Ints = NDArray[np.int64]
SEEDS = 2**31 - 1


@dataclass(frozen=True)
class FirstDraw:
    """How each first-level model draws its training set.

    Attributes:
        models: how many; rounded up to a multiple of ``folds``.
        rows: drawn with replacement by each.
        share: of the features, drawn without replacement by each.
        snr_db: of the noisy copy, None for no copy.
        folds: each model leaves out one of so many parts of the rows.
    """

    models: int
    rows: int
    share: float
    snr_db: float | None
    folds: int


@dataclass(frozen=True)
class FirstLevel:
    """Fitted first-level models, column by column: the models of one column leave out one fold each.

    Attributes:
        models: fitted regressors.
        chosen: the features of each.
        folds: models of a column.
    """

    models: list[Any]
    chosen: list[Ints]
    folds: int

    def each(self, features: Floats) -> Floats:
        """(n, models) what every model says."""
        return np.column_stack([said(model, features[:, c]) for model, c in zip(self.models, self.chosen, strict=True)])

    def outputs(self, features: Floats) -> Floats:
        """(n, columns) for networks that no model has seen: the mean of each column's models."""
        found: Floats = self.each(features).reshape(len(features), -1, self.folds).mean(axis=2)
        return found


def fit_first_level(
    features: Floats,
    labels: Floats,
    weights: Floats,
    makers: Sequence[Maker],
    draw: FirstDraw,
    rng: np.random.Generator,
) -> tuple[FirstLevel, Floats]:
    """Fit all models; a row is drawn with a chance in proportion to its weight.

    Returns: the models, and (n, columns) what each column says of the training rows: for every row the output of the
        one model of the column that has not seen it.
    """
    count, width = features.shape
    folds = min(draw.folds, count)
    columns = -(-draw.models // folds)
    kept = max(1, round(draw.share * width))
    models: list[Any] = []
    chosen: list[Ints] = []
    unseen = np.empty((count, columns))
    for column in range(columns):
        fold = _folds(weights, folds, rng)
        for left_out in range(folds):
            out = fold == left_out
            chances = np.where(out, 0.0, weights)
            rows = rng.choice(count, draw.rows, p=chances / chances.sum())
            subset = np.sort(rng.choice(width, kept, replace=False))
            maker = makers[len(models) % len(makers)]
            x, target = features[np.ix_(rows, subset)], labels[rows]
            if draw.snr_db is not None:
                x, target = with_noisy_copy(x, target, draw.snr_db, rng)
            model = maker(len(x), int(rng.integers(SEEDS))).fit(x, target)
            unseen[out, column] = said(model, features[np.ix_(out, subset)])
            models.append(model)
            chosen.append(subset)
    return FirstLevel(models, chosen, folds), unseen


def said(model: Any, features: Floats) -> Floats:
    """(n,) a model's predictions as float64."""
    return np.asarray(model.predict(features), np.float64)


def _folds(weights: Floats, folds: int, rng: np.random.Generator) -> Ints:
    """(n,) a random fold of each row; rows of equal weight are spread evenly over the folds."""
    order = np.lexsort((rng.random(len(weights)), weights))
    fold = np.empty(len(weights), np.int64)
    fold[order] = np.arange(len(weights)) % folds
    return fold
