"""Regressors that also have networks with cheap labels: cascade bagging as published, and a shift."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from predictors.models.cascade.bagging import CascadeBagging
from predictors.models.cascade.calibration import CalibratedLabels, InvalidWeakLabels, Steps, calibrate_labels
from predictors.models.cascade.judges import JudgeName
from predictors.models.linear import Ridge
from predictors.regressor import Floats, Regressor


class WeakCascade(Regressor):
    """Calibrates weak labels with the true ones of ``fit``, then learns from both. ``fit`` never sees other labels.

    Weak rows are parameters, so cross-validation calibrates inside each fold with that fold's training labels.

    Args:
        weak_X: (m, d) features of networks with cheap labels, the columns as in ``fit``; None for none.
        weak_y: (m,) their labels, in the unit of the true ones.
        regressor: learns from both, with ``sample_weight``; None for ``CascadeBagging(draws=500)``, as published.
        steps: of the calibration, see ``calibrate_labels``.
        groups: of the sorted weak labels that get a constant each.
        judge: of the calibration's last step.
        true_share: of the whole weight that the true rows get together, above 0, below 1; the authors draw 200 of 500.
        calibration_bag: whose out-of-bag predictions weak labels are drawn to; None for ``calibrate_labels``' own.
        random_state: of the regressor and the bag where they are None; those given have their own.

    Attributes:
        calibrated_: the calibrated labels and how they came about; None without weak rows.
        regressor_: the fitted regressor.
    The standard deviation of a cascade takes its noise from the true rows alone. Weights count in the regressor, not in
    the calibration.
    Source: Zhang et al. 2021, arXiv 2108.05613. Deviations: the authors calibrate with all true labels and then
        cross-validate on the same labels; see ``calibrate_labels`` and ``CascadeBagging`` for the others.
    """

    def __init__(  # noqa: PLR0913 - each is a choice of the method
        self,
        weak_X: Any = None,
        weak_y: Any = None,
        regressor: Any = None,
        steps: Steps = "full",
        groups: int = 3,
        judge: JudgeName = "nu-svr",
        true_share: float = 0.4,
        calibration_bag: CascadeBagging | None = None,
        random_state: int = 0,
    ) -> None:
        self.weak_X = weak_X
        self.weak_y = weak_y
        self.regressor = regressor
        self.steps = steps
        self.groups = groups
        self.judge = judge
        self.true_share = true_share
        self.calibration_bag = calibration_bag
        self.random_state = random_state

    def _fit(self, features: Floats, labels: Floats, weights: Floats) -> None:
        published = CascadeBagging(draws=500, random_state=self.random_state)
        self.regressor_ = clone(published if self.regressor is None else self.regressor)
        self.calibrated_: CalibratedLabels | None = None
        if not _has_weak(self.weak_X, self.weak_y):
            self.regressor_.fit(features, labels, sample_weight=weights)
            return
        if not 0 < self.true_share < 1:
            raise ValueError(f"true_share={self.true_share}, expected above 0 and below 1")
        self.calibrated_ = calibrate_labels(
            self.weak_X,
            self.weak_y,
            features,
            labels,
            steps=self.steps,
            groups=self.groups,
            bag=self.calibration_bag,
            judge=self.judge,
            random_state=self.random_state,
        )
        weak = np.asarray(self.weak_X, np.float64)
        rows = len(weak) + len(labels)
        of_weak = np.full(len(weak), (1 - self.true_share) / len(weak))
        mass = rows * np.concatenate([of_weak, self.true_share * weights / weights.sum()])
        known = np.concatenate([self.calibrated_.labels, labels])
        self.regressor_.fit(np.vstack([weak, features]), known, sample_weight=mass)
        if isinstance(self.regressor_, CascadeBagging):
            errors = labels - self.regressor_.oob_prediction_[len(weak) :]
            self.regressor_.noise_ = float(np.sqrt(np.average(errors**2, weights=weights)))

    def _estimate(self, features: Floats) -> Floats:
        found: Floats = self.regressor_.predict(features)
        return found

    def _estimate_with_std(self, features: Floats) -> tuple[Floats, Floats]:
        means, deviations = self.regressor_.predict(features, return_std=True)
        return means, deviations


class WeakShift(Regressor):
    """A regressor of the weak labels alone, moved by the mean of what it lacks on the true ones.

    Args:
        weak_X: (m, d) features of networks with cheap labels; None for none, then it learns from the true labels.
        weak_y: (m,) their labels, in the unit of the true ones.
        regressor: learns from the weak labels; None for ``Ridge``.

    Attributes:
        regressor_: the fitted regressor.
        shift_: what is added to its predictions.
        noise_: standard deviation of the true labels around them; that of the regressor with fewer than 2 true labels.
    """

    def __init__(self, weak_X: Any = None, weak_y: Any = None, regressor: Any = None) -> None:
        self.weak_X = weak_X
        self.weak_y = weak_y
        self.regressor = regressor

    def _fit(self, features: Floats, labels: Floats, weights: Floats) -> None:
        self.regressor_ = Ridge() if self.regressor is None else clone(self.regressor)
        self.shift_, self.noise_ = 0.0, None
        if not _has_weak(self.weak_X, self.weak_y):
            self.regressor_.fit(features, labels, sample_weight=weights)
            return
        self.regressor_.fit(self.weak_X, self.weak_y)
        lacking = labels - self.regressor_.predict(features)
        self.shift_ = float(np.average(lacking, weights=weights))
        share = weights / weights.sum()
        freedom = 1 - float(share @ share)  # 1 - 1/n for equal weights
        if freedom > 0:
            variance = float(share @ (lacking - self.shift_) ** 2) / freedom
            self.noise_ = float(np.sqrt(variance * (1 + float(share @ share))))  # of a new label: the shift errs, too

    def _estimate(self, features: Floats) -> Floats:
        found: Floats = self.regressor_.predict(features) + self.shift_
        return found

    def _estimate_with_std(self, features: Floats) -> tuple[Floats, Floats]:
        if self.noise_ is None:
            means, deviations = self.regressor_.predict(features, return_std=True)
            return means + self.shift_, deviations
        return self._estimate(features), np.full(len(features), self.noise_)


class WeakShiftRidge(WeakShift):
    """Ridge regression of the weak labels and a mean shift: the baseline that cascade bagging has to beat."""

    def __init__(self, weak_X: Any = None, weak_y: Any = None) -> None:
        super().__init__(weak_X, weak_y)


def _has_weak(weak_X: Any, weak_y: Any) -> bool:
    """Whether there are weak rows. Raises InvalidWeakLabels when only one of both is given."""
    if (weak_X is None) != (weak_y is None):
        given, missing = ("weak_X", "weak_y") if weak_y is None else ("weak_y", "weak_X")
        raise InvalidWeakLabels(f"{given} is given, {missing} is not; give both or none")
    return weak_X is not None
