"""Cascade bagging as a scikit-learn regressor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from predictors.models.cascade.base_learners import makers_of
from predictors.models.cascade.first_level import FirstDraw, FirstLevel, fit_first_level
from predictors.models.cascade.second_level import SecondDraw, SecondLevel, fit_second_level
from predictors.regressor import Floats, Regressor


class CascadeBagging(Regressor):
    """Bagged models on noisy copies of drawn rows, and bagged models on their outputs; the mean of the latter.

    Args:
        learner: name or names of base learners of the first level (``base_learners``); several are used in turn.
        estimators: first-level models, from 1; rounded up to a multiple of ``folds``.
        draws: rows that each first-level model draws with replacement; None for as many as there are. The authors
            draw 500 of 231.
        feature_share: part of the features that each first-level model sees, above 0, at most 1.
        noise_db: signal-to-noise ratio of the noisy copy of the drawn rows, decibels; None for no copy.
        second_learner: name or names of base learners of the second level.
        second_estimators: second-level models; 0 for the mean of the first level alone.
        output_share: part of the first level's outputs that each second-level model sees, above 0, at most 1.
        components: principal components of the features that the second level sees, from 0.
        folds: each first-level model leaves out one of so many parts of the rows, from 2.
        random_state: of all draws.

    Attributes:
        oob_prediction_: (n,) of the training rows of weight above 0, by models that have not seen them.
        noise_: root of the weighted mean square of labels less ``oob_prediction_``.
    Weights are chances: a row of weight 2 is drawn twice as often as one of weight 1.
    Standard deviations join the spread of the models of the last level with ``noise_``.
    Source: Zhang et al. 2021, "Cascade bagging for accuracy prediction with few training samples", arXiv 2108.05613.
    Deviations: the released code has no training of the second level, so it is our reading. There, outputs for the
        training rows come from models that have not seen them: ``folds`` models share one column, each leaves out one
        part of the rows and fills it; a new network gets their mean. Features and labels are standardised.
    """

    def __init__(  # noqa: PLR0913 - each is a step of the method
        self,
        learner: str | Sequence[str] = "xgboost",
        estimators: int = 100,
        draws: int | None = None,
        feature_share: float = 1.0,
        noise_db: float | None = 1.0,
        second_learner: str | Sequence[str] = "xgboost",
        second_estimators: int = 100,
        output_share: float = 0.5,
        components: int = 3,
        folds: int = 5,
        random_state: int = 0,
    ) -> None:
        self.learner = learner
        self.estimators = estimators
        self.draws = draws
        self.feature_share = feature_share
        self.noise_db = noise_db
        self.second_learner = second_learner
        self.second_estimators = second_estimators
        self.output_share = output_share
        self.components = components
        self.folds = folds
        self.random_state = random_state

    def _fit(self, features: Floats, labels: Floats, weights: Floats) -> None:
        self._check(len(labels))
        rng = np.random.default_rng(self.random_state)
        self._centre = np.average(features, axis=0, weights=weights)
        self._scale = _spread(features - self._centre, weights)
        self._middle = float(np.average(labels, weights=weights))
        self._unit = float(_spread(labels - self._middle, weights))
        points, targets = self._standard(features), (labels - self._middle) / self._unit
        draws = len(labels) if self.draws is None else self.draws
        first = FirstDraw(self.estimators, draws, self.feature_share, self.noise_db, self.folds)
        self._first: FirstLevel
        self._first, outputs = fit_first_level(points, targets, weights, makers_of(self.learner), first, rng)
        unseen = outputs.mean(axis=1)
        self._second: SecondLevel | None = None
        if self.second_estimators:
            second = SecondDraw(self.second_estimators, self.output_share, self.components)
            self._second, left_out = fit_second_level(
                outputs, points, targets, weights, makers_of(self.second_learner), second, rng
            )
            unseen = np.where(np.isnan(left_out), unseen, left_out)
        self.oob_prediction_: Floats = unseen * self._unit + self._middle
        self.noise_ = float(np.sqrt(np.average((labels - self.oob_prediction_) ** 2, weights=weights)))

    def _estimate(self, features: Floats) -> Floats:
        return self._mean(self._each(features))

    def _estimate_with_std(self, features: Floats) -> tuple[Floats, Floats]:
        each = self._each(features)
        return self._mean(each), np.sqrt(each.var(axis=1) * self._unit**2 + self.noise_**2)

    def _each(self, features: Floats) -> Floats:
        """(n, models) what every model of the last level says, in standardised labels."""
        points = self._standard(features)
        if self._second is None:
            return self._first.each(points)
        return self._second.each(self._first.outputs(points), points)

    def _mean(self, each: Floats) -> Floats:
        found: Floats = each.mean(axis=1) * self._unit + self._middle
        return found

    def _standard(self, features: Floats) -> Floats:
        found: Floats = (features - self._centre) / self._scale
        return found

    def _check(self, rows: int) -> None:
        if rows < 2:
            raise ValueError(f"cascade bagging: n_samples={rows}, expected 2 or more networks of weight above 0")
        at_least = {"estimators": 1, "second_estimators": 0, "components": 0, "folds": 2}
        at_least |= {} if self.draws is None else {"draws": 1}
        for name, least in at_least.items():
            if getattr(self, name) < least:
                raise ValueError(f"cascade bagging: {name}={getattr(self, name)}, expected {least} or more")
        for name in ("feature_share", "output_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"cascade bagging: {name}={getattr(self, name)}, expected above 0, at most 1")


def _spread(centred: Floats, weights: Floats) -> Floats:
    """Weighted standard deviation along the rows; 1 where all rows are equal."""
    found = np.sqrt(np.average(centred**2, axis=0, weights=weights))
    return np.where(found > 1e-12 * np.maximum(np.abs(centred).max(axis=0), 1e-300), found, 1.0)
