"""Gaussian process regression with one length scale, one per group of features, or one per feature (ARD)."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular

from predictors.models.kernels import KERNELS, KernelName, length_gradient, value_of, variance_of
from predictors.regressor import Floats, Regressor

SPREAD = 0.7  # prior standard deviation of a log length around the common one
STEPS = 60
CHUNK = 8_192  # rows predicted at a time
LOG_NOISE = (-11.0, 2.0)  # of the noise variance, labels having variance 1
LOG_SIGNAL = (-7.0, 7.0)
LOG_LENGTH = (-4.0, 6.0)


class GaussianProcess(Regressor):
    """Exact Gaussian process; all its parameters maximise the marginal likelihood.

    y = mean + linear part + kernel part + noise. Lengths of groups or features have a log-normal prior around their
    common length, so that a few dozen labels do not switch features off.

    Args:
        kernel: "rbf", "matern" (5/2), "quadratic" (degree 2) or "linear".
        lengths: "one" for all features; "group", one for each group of ``groups``; "feature" (ARD).
        groups: (d,) group of each feature; None takes each feature as its own.
        linear: whether a linear part stands beside the kernel; it carries the prediction beyond the training rows.
        most_tuned: rows on which the parameters are found; with more rows a sample of so many is taken.
        random_state: of that sample.

    Attributes:
        lengths_: (d,) length scale of each feature; long means that it matters little.
        noise_: standard deviation of a label of weight 1.
        likelihood_: log marginal likelihood of the standardised labels, on the rows that tuned it.
    Weights are precisions: a label of weight 2 has half the noise variance.
    Source: Rasmussen, Williams 2006, "Gaussian Processes for Machine Learning", eq. 2.23, 2.24, 5.8, 5.9. Deviations:
        the prior on lengths (then it is maximum a posteriori).
    """

    def __init__(
        self,
        kernel: KernelName = "rbf",
        lengths: Literal["one", "group", "feature"] = "one",
        groups: Any = None,
        linear: bool = False,
        most_tuned: int = 800,
        random_state: int = 0,
    ) -> None:
        self.kernel = kernel
        self.lengths = lengths
        self.groups = groups
        self.linear = linear
        self.most_tuned = most_tuned
        self.random_state = random_state

    def _fit(self, features: Floats, labels: Floats, weights: Floats) -> None:
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel={self.kernel!r}, expected one of {', '.join(KERNELS)}")
        self._shift = np.average(features, axis=0, weights=weights)
        self._middle = float(np.average(labels, weights=weights))
        spread = float(np.sqrt(np.average((labels - self._middle) ** 2, weights=weights)))
        self._unit = spread if spread > 0 else 1.0
        points, targets = features - self._shift, (labels - self._middle) / self._unit
        members = self._membership(features.shape[1])
        chosen = np.arange(len(points))
        if len(points) > self.most_tuned:
            chosen = np.random.default_rng(self.random_state).choice(len(points), self.most_tuned, replace=False)
        likelihood = Likelihood(points[chosen], targets[chosen], 1 / weights[chosen], members, self.kernel, self.linear)
        parameters, self.likelihood_ = likelihood.maximise()
        self._settle(points, targets, weights, parameters, members)

    def _membership(self, count: int) -> Floats:
        """(groups, d) 0/1: which features share a length."""
        if self.lengths == "one":
            return np.ones((1, count))
        if self.lengths not in ("group", "feature"):
            raise ValueError(f"lengths={self.lengths!r}, expected 'one', 'group' or 'feature'")
        each = np.arange(count)
        groups = each if self.lengths == "feature" or self.groups is None else np.asarray(self.groups)
        if groups.shape != (count,):
            raise ValueError(f"groups: shape {groups.shape}, expected one entry for each of {count} features")
        return np.asarray((np.unique(groups)[:, None] == groups).astype(np.float64))

    def _settle(
        self, points: Floats, targets: Floats, weights: Floats, parameters: Parameters, members: Floats
    ) -> None:
        """Condition on all rows with these parameters."""
        self._scale: Floats = np.exp(-members.T @ parameters.log_lengths)
        self._signal, self._slope = parameters.signal, parameters.slope
        self.noise_ = float(np.sqrt(parameters.noise)) * self._unit
        self.lengths_ = 1 / self._scale
        self._points = points * self._scale
        matrix = self._covariance(self._points)
        matrix[np.diag_indices_from(matrix)] += parameters.noise / weights
        self._factor = _factorise(matrix)
        self._weights: Floats = cho_solve((self._factor, True), targets) * self._unit
        if self._slope > 0:
            self._direct: Floats = self._slope * (self._weights @ self._points)

    def _covariance(self, points: Floats) -> Floats:
        """(m, n) of new scaled points with the training rows."""
        found = value_of(self.kernel, points, self._points)
        found *= self._signal
        if self._slope > 0:
            found += self._slope * (points @ self._points.T)
        return found

    def _estimate(self, features: Floats) -> Floats:
        found = np.empty(len(features))
        for start in range(0, len(features), CHUNK):
            points = (features[start : start + CHUNK] - self._shift) * self._scale
            found[start : start + CHUNK] = value_of(self.kernel, points, self._points) @ (self._signal * self._weights)
            if self._slope > 0:
                found[start : start + CHUNK] += points @ self._direct
        return found + self._middle

    def _estimate_with_std(self, features: Floats) -> tuple[Floats, Floats]:
        means, deviations = np.empty(len(features)), np.empty(len(features))
        for start in range(0, len(features), CHUNK):
            part = slice(start, start + CHUNK)
            points = (features[part] - self._shift) * self._scale
            cross = self._covariance(points)
            means[part] = cross @ self._weights
            known = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
            prior = self._signal * variance_of(self.kernel, points)
            if self._slope > 0:
                prior = prior + self._slope * (points**2).sum(axis=1)
            left = np.maximum(prior - (known**2).sum(axis=0), 0.0)
            deviations[part] = np.sqrt(left * self._unit**2 + self.noise_**2)
        return means + self._middle, deviations


class Parameters(NamedTuple):
    """Of a Gaussian process on labels of variance 1."""

    log_lengths: Floats
    signal: float
    noise: float
    slope: float


class Likelihood:
    """The log marginal likelihood of labels, and where it is largest."""

    def __init__(
        self, points: Floats, targets: Floats, spread: Floats, members: Floats, kernel: str, linear: bool
    ) -> None:
        self._points, self._targets, self._spread = points, targets, spread
        self._members, self._kernel, self._linear = members, kernel, linear
        self._groups = len(members)

    def maximise(self) -> tuple[Parameters, float]:
        """The best of a few starts with one length; from there all lengths are let free."""
        from scipy.optimize import minimize

        varied = np.sqrt(max(float(self._points.var(axis=0).sum()), 1e-12))
        starts = [np.log(varied * ratio) for ratio in ((0.7, 2.0) if self._kernel in ("rbf", "matern") else (1.0,))]
        found = []
        for start in starts:
            guess = np.array([start, 0.0, np.log(0.1), np.log(0.3)][: 3 + self._linear])
            found.append(minimize(self._common, guess, jac=True, method="L-BFGS-B", bounds=self._bounds(1, varied),
                                  options={"maxiter": STEPS}))  # fmt: skip
        best = min(found, key=lambda result: float(result.fun))
        if self._groups > 1:
            guess = np.concatenate([np.full(self._groups, best.x[0]), best.x[1:]])
            best = minimize(self._cost, guess, jac=True, method="L-BFGS-B",
                            bounds=self._bounds(self._groups, varied), options={"maxiter": STEPS})  # fmt: skip
            lengths, others = best.x[: self._groups], best.x[self._groups :]
        else:
            lengths, others = best.x[:1], best.x[1:]
        slope = float(np.exp(others[2])) if self._linear else 0.0
        return Parameters(lengths, float(np.exp(others[0])), float(np.exp(others[1])), slope), -float(best.fun)

    def _bounds(self, lengths: int, varied: float) -> list[tuple[float, float]]:
        middle = float(np.log(varied))
        free = [(middle + LOG_LENGTH[0], middle + LOG_LENGTH[1])] * lengths
        return [*free, LOG_SIGNAL, LOG_NOISE, *([LOG_SIGNAL] if self._linear else [])]

    def _common(self, values: Floats) -> tuple[float, Floats]:
        """The cost and its gradient when all groups share one length."""
        spread = np.concatenate([np.full(self._groups, values[0]), values[1:]])
        cost, gradient = self._cost(spread)
        return cost, np.concatenate([[gradient[: self._groups].sum()], gradient[self._groups :]])

    def _cost(self, values: Floats) -> tuple[float, Floats]:
        """Negative log posterior and its gradient in (log lengths, log signal, log noise, log slope)."""
        log_lengths, others = values[: self._groups], values[self._groups :]
        signal, noise = np.exp(others[:2])
        slope = float(np.exp(others[2])) if self._linear else 0.0
        points = self._points * np.exp(-self._members.T @ log_lengths)
        kernel = KERNELS[self._kernel](points, points)
        matrix = signal * kernel.value
        if self._linear:
            line = points @ points.T
            matrix += slope * line
        matrix[np.diag_indices_from(matrix)] += noise * self._spread
        try:
            factor = _factorise(matrix)
        except LinAlgError:
            return 1e25, np.zeros_like(values)
        weights = cho_solve((factor, True), self._targets, check_finite=False)
        inverse = cho_solve((factor, True), np.eye(len(matrix)), check_finite=False)
        cost = 0.5 * self._targets @ weights + np.log(np.diag(factor)).sum() + 0.5 * len(matrix) * np.log(2 * np.pi)
        pull = inverse - np.outer(weights, weights)  # gradient of the cost in the matrix, times 2
        by_feature = 0.5 * signal * length_gradient(points, kernel, pull)
        gradient = [0.5 * signal * (pull * kernel.value).sum(), 0.5 * noise * (np.diag(pull) * self._spread).sum()]
        if self._linear:
            by_feature -= slope * (points * (pull @ points)).sum(axis=0)
            gradient.append(0.5 * slope * (pull * line).sum())
        deviation = log_lengths - log_lengths.mean()
        cost += 0.5 * (deviation**2).sum() / SPREAD**2
        by_group = self._members @ by_feature + deviation / SPREAD**2
        return float(cost), np.concatenate([by_group, gradient])


def _factorise(matrix: Floats) -> Floats:
    """Lower Cholesky factor; the diagonal is lifted by a trace of its mean for the rounding."""
    matrix[np.diag_indices_from(matrix)] += 1e-10 * max(float(np.trace(matrix)) / len(matrix), 1e-300)
    factor: Floats = cho_factor(matrix, lower=True, check_finite=False)[0]
    return np.tril(factor)
