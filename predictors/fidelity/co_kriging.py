"""Gaussian processes on two levels: many cheap labels, and a few real ones on top of them."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_solve, solve_triangular
from sklearn.utils.validation import check_array, check_X_y

from predictors.fidelity.difference import MOST_TUNED, tuned_difference
from predictors.fidelity.level import Level, factorised, tuned_level
from predictors.models.kernels import KernelName
from predictors.regressor import Floats, Regressor

CHUNK = 4_096  # rows predicted at a time


class CoKriging(Regressor):
    """real label = ratio * cheap function + difference + noise; cheap label = cheap function + noise of its own.

    Both functions are exact Gaussian processes; the cheap one is known from the cheap labels as far as they reach.
    Networks of the two levels may be the same or others. Without cheap labels it is one Gaussian process.

    Args:
        kernel: of both functions: "rbf", "matern" (5/2), "quadratic" or "linear".
        most_weak: cheap labels that are used; of more, a sample.
        most_tuned: rows of a level on which its parameters are found; of more, a sample.
        random_state: of the samples.

    Attributes:
        ratio_: change of the real label per change of the cheap function; 0 when there are no cheap labels.
        noise_, weak_noise_: standard deviations of a real label of weight 1 and of a cheap label, each in its unit; the
            latter is NaN when there are no cheap labels.
    Weights are precisions: a label of weight 2 has half the noise variance.
    Source: Kennedy, O'Hagan 2000, "Predicting the output from a complex computer code when fast approximations are
        available", Biometrika 87, eq. 1, 2; Le Gratiet, Garnier 2014, arXiv 1210.0686 (the levels one after the
        other). Deviations: both levels are noisy; the parameters of the cheap level come from cheap labels alone;
        those of the difference have priors (maximum a posteriori), because real labels are few.
    """

    def __init__(
        self, kernel: KernelName = "rbf", most_weak: int = 3_000, most_tuned: int = 500, random_state: int = 0
    ) -> None:
        self.kernel = kernel
        self.most_weak = most_weak
        self.most_tuned = most_tuned
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        weak_X: ArrayLike | None = None,
        weak_y: ArrayLike | None = None,
    ) -> Self:
        """Learn from real labels and cheap ones.

        Args:
            X: (n, d) features of really labelled networks, finite.
            y: (n,) real labels, finite.
            sample_weight: (n,) at least 0, of the real labels; None is 1.
            weak_X: (m, d) features of cheaply labelled networks; None or m = 0: there are none.
            weak_y: (m,) cheap labels, in any unit.
        Raises: ValueError: as scikit-learn words it; weak_X without weak_y; another number of columns.
        """
        self._weak = self._checked(X, weak_X, weak_y)
        try:
            return super().fit(X, y, sample_weight)
        finally:
            del self._weak

    def _checked(self, X: ArrayLike, weak_X: Any, weak_y: Any) -> tuple[Floats, Floats] | None:
        if (weak_X is None) != (weak_y is None):
            raise ValueError("weak labels: weak_X and weak_y are given together or not at all")
        if weak_X is None or not len(weak_X):
            return None
        features, labels = check_X_y(weak_X, weak_y, dtype=np.float64, y_numeric=True)
        columns = check_array(X, dtype=np.float64).shape[1]
        if features.shape[1] != columns:
            raise ValueError(f"weak_X: {features.shape[1]} columns, expected {columns} as in X")
        return features, np.asarray(labels, np.float64)

    def _fit(self, features: Floats, labels: Floats, weights: Floats) -> None:
        weak = getattr(self, "_weak", None)
        rng = np.random.default_rng(self.random_state)
        self._shift = (features if weak is None else np.vstack([features, weak[0]])).mean(axis=0)
        points = features - self._shift
        self._middle = float(np.average(labels, weights=weights))
        spread = float(np.sqrt(np.average((labels - self._middle) ** 2, weights=weights)))
        self._unit = spread if spread > 0 else 1.0
        targets = (labels - self._middle) / self._unit
        self._low: Level | None = None
        self.ratio_, self.weak_noise_ = 0.0, float("nan")
        if weak is not None:
            chosen = np.arange(len(weak[1]))
            if len(chosen) > self.most_weak:
                chosen = rng.choice(len(chosen), self.most_weak, replace=False)
            cheap = weak[1][chosen]
            middle, unit = float(cheap.mean()), float(cheap.std()) or 1.0
            self._low = tuned_level(weak[0][chosen] - self._shift, (cheap - middle) / unit, np.ones(len(chosen)),
                                    self.kernel, self.most_tuned, rng)  # fmt: skip
            self.weak_noise_ = self._low.noise**0.5 * unit
        self._condition(points, targets, weights, rng)
        if weak is not None:
            self.ratio_ = self._ratio * self._unit / unit
        self.noise_ = self._noise**0.5 * self._unit

    def _condition(self, points: Floats, targets: Floats, weights: Floats, rng: np.random.Generator) -> None:
        """Find the parameters of the difference, and condition on the real labels."""
        self._points = points
        if self._low is None:
            plain = tuned_level(points, targets, weights, self.kernel, self.most_tuned, rng)
            self._ratio, self._above, self._noise = 0.0, plain.process, plain.noise
            prior_mean, prior = np.zeros(len(points)), np.zeros((len(points), len(points)))
        else:
            prior_mean, prior = self._low.mean(points), self._low.covariance(points, points)
            part = rng.permutation(len(points))[:MOST_TUNED]
            self._ratio, self._above, self._noise = tuned_difference(
                points[part], targets[part], weights[part], prior_mean[part], prior[np.ix_(part, part)],
                self._low.process,
            )  # fmt: skip
            self._known = self._low.carried(points)
        matrix = self._ratio**2 * prior + self._above.covariance(points, points)
        matrix[np.diag_indices_from(matrix)] += self._noise / weights
        self._factor = factorised(matrix)
        self._weights: Floats = cho_solve((self._factor, True), targets - self._ratio * prior_mean)

    def _estimate(self, features: Floats) -> Floats:
        parts = [self._means(features[at : at + CHUNK] - self._shift)[0] for at in range(0, len(features), CHUNK)]
        found: Floats = np.concatenate(parts) * self._unit + self._middle
        return found

    def _means(self, points: Floats) -> tuple[Floats, Floats]:
        """(n,) standardised means, and (n, m) covariances with the real labels given the cheap ones."""
        cross = self._above.covariance(points, self._points)
        means = np.zeros(len(points))
        if self._low is not None:
            near = self._low.process.covariance(points, self._low.points)
            cross += self._ratio**2 * (self._low.process.covariance(points, self._points) - near @ self._known)
            means = self._ratio * (near @ self._low.weights)
        return means + cross @ self._weights, cross

    def _estimate_with_std(self, features: Floats) -> tuple[Floats, Floats]:
        means, deviations = np.empty(len(features)), np.empty(len(features))
        for at in range(0, len(features), CHUNK):
            points = features[at : at + CHUNK] - self._shift
            means[at : at + CHUNK], cross = self._means(points)
            variance = self._above.variance(points)
            if self._low is not None:
                variance += self._ratio**2 * self._low.variance(points)
            told = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
            left = np.maximum(variance - (told**2).sum(axis=0), 0.0)
            deviations[at : at + CHUNK] = np.sqrt(left + self._noise)
        return means * self._unit + self._middle, deviations * self._unit
