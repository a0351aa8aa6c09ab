"""Second level of cascade bagging: models on a random part of the first level's outputs and a few components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictors.models.cascade.base_learners import Maker
from predictors.models.cascade.first_level import SEEDS, Ints, said
from predictors.regressor import Floats


@dataclass(frozen=True)
class SecondDraw:
    """How each second-level model draws its training set: as many rows as there are, with replacement.

    Attributes:
        models: how many.
        share: of the first level's outputs, drawn without replacement by each.
        components: principal components of the features that every model sees.
    """

    models: int
    share: float
    components: int


@dataclass(frozen=True)
class SecondLevel:
    """Fitted second-level models.

    Attributes:
        models: fitted regressors.
        chosen: the first level's outputs of each.
        directions: (d, components) of the features.
    """

    models: list[Any]
    chosen: list[Ints]
    directions: Floats

    def each(self, outputs: Floats, features: Floats) -> Floats:
        """(n, models) what every model says."""
        inputs = (_inputs(outputs, chosen, features @ self.directions) for chosen in self.chosen)
        return np.column_stack([said(model, x) for model, x in zip(self.models, inputs, strict=True)])


def fit_second_level(  # noqa: PLR0913 - data, and how to draw from it
    outputs: Floats,
    features: Floats,
    labels: Floats,
    weights: Floats,
    makers: Sequence[Maker],
    draw: SecondDraw,
    rng: np.random.Generator,
) -> tuple[SecondLevel, Floats]:
    """Fit all models.

    Args:
        outputs: (n, columns) of the first level, each of models that have not seen the row.
        features: (n, d) of mean 0.
        labels: (n,).
        weights: (n,) above 0; a row is drawn with a chance in proportion.
        makers: of base learners, used in turn.
        draw: how to draw.
        rng: draws.
    Returns: the models, and (n,) the mean of the models that did not draw a row; NaN where all did.
    """
    count, columns = outputs.shape
    directions = principal_directions(features, weights, draw.components)
    components = features @ directions
    kept = max(1, round(draw.share * columns))
    models: list[Any] = []
    chosen: list[Ints] = []
    total, times = np.zeros(count), np.zeros(count)
    for place in range(draw.models):
        rows = rng.choice(count, count, p=weights / weights.sum())
        subset = np.sort(rng.choice(columns, kept, replace=False))
        inputs = _inputs(outputs, subset, components)
        model = makers[place % len(makers)](count, int(rng.integers(SEEDS))).fit(inputs[rows], labels[rows])
        out = np.bincount(rows, minlength=count) == 0
        if out.any():
            total[out] += said(model, inputs[out])
            times[out] += 1
        models.append(model)
        chosen.append(subset)
    unseen = np.where(times > 0, total / np.maximum(times, 1), np.nan)
    return SecondLevel(models, chosen, directions), unseen


def principal_directions(features: Floats, weights: Floats, count: int) -> Floats:
    """(d, at most count) directions of largest weighted variance; each points where its largest part is positive."""
    right = np.linalg.svd(features * np.sqrt(weights)[:, None], full_matrices=False)[2][:count]
    largest = np.abs(right).argmax(axis=1)
    signs = np.where(right[np.arange(len(right)), largest] < 0, -1.0, 1.0)
    return np.ascontiguousarray((right * signs[:, None]).T)


def _inputs(outputs: Floats, chosen: Ints, components: Floats) -> Floats:
    return np.hstack([outputs[:, chosen], components])
