"""One level of labels: a Gaussian process with one length, its parameters, and what it knows after its labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from predictors.models.gaussian_process import Likelihood
from predictors.models.kernels import KernelName, value_of, variance_of
from predictors.regressor import Floats

CONSTANT = 1.0  # prior variance of the level's mean, labels having variance 1 around their average


@dataclass(frozen=True)
class Process:
    """A function before labels: a constant and a kernel part.

    Attributes:
        kernel: its name.
        length: length scale of all features.
        signal: variance factor of the kernel.
        constant: variance of the constant.
    """

    kernel: KernelName
    length: float
    signal: float
    constant: float

    def covariance(self, left: Floats, right: Floats) -> Floats:
        """(m, n) of points (m, d) and (n, d)."""
        found: Floats = value_of(self.kernel, left / self.length, right / self.length)
        found *= self.signal
        found += self.constant
        return found

    def variance(self, points: Floats) -> Floats:
        """(n,) of every point."""
        found: Floats = self.signal * variance_of(self.kernel, points / self.length) + self.constant
        return found


@dataclass(frozen=True)
class Level:
    """A process after its labels, which have variance about 1.

    Attributes:
        process: before the labels.
        noise: variance of a label of weight 1.
        points: (n, d) where labels are.
        factor: (n, n) lower Cholesky factor of the covariance of the labels.
        weights: (n,) inverse covariance times labels.
    """

    process: Process
    noise: float
    points: Floats
    factor: Floats
    weights: Floats

    def mean(self, points: Floats) -> Floats:
        """(m,) of the function."""
        found: Floats = self.process.covariance(points, self.points) @ self.weights
        return found

    def carried(self, points: Floats) -> Floats:
        """(n, m) how each label bears on the function at each point."""
        found: Floats = cho_solve((self.factor, True), self.process.covariance(self.points, points))
        return found

    def covariance(self, left: Floats, right: Floats) -> Floats:
        """(m, k) of the function, given the labels."""
        told = self.process.covariance(left, self.points) @ self.carried(right)
        found: Floats = self.process.covariance(left, right) - told
        return found

    def variance(self, points: Floats) -> Floats:
        """(m,) of the function, given the labels."""
        cross = self.process.covariance(self.points, points)
        told = solve_triangular(self.factor, cross, lower=True, check_finite=False)
        found: Floats = np.maximum(self.process.variance(points) - (told**2).sum(axis=0), 0.0)
        return found


def tuned_level(
    points: Floats, targets: Floats, weights: Floats, kernel: KernelName, most_tuned: int, rng: np.random.Generator
) -> Level:
    """The level whose parameters maximise the marginal likelihood of these standardised labels."""
    chosen = np.arange(len(points))
    if len(chosen) > most_tuned:
        chosen = rng.choice(len(chosen), most_tuned, replace=False)
    every = np.ones((1, points.shape[1]))
    found, _ = Likelihood(points[chosen], targets[chosen], 1 / weights[chosen], every, kernel, False).maximise()
    process = Process(kernel, float(np.exp(found.log_lengths[0])), found.signal, CONSTANT)
    matrix = process.covariance(points, points)
    matrix[np.diag_indices_from(matrix)] += found.noise / weights
    factor = factorised(matrix)
    return Level(process, found.noise, points, factor, cho_solve((factor, True), targets))


def factorised(matrix: Floats) -> Floats:
    """Lower Cholesky factor; the diagonal is lifted a little for the rounding."""
    matrix[np.diag_indices_from(matrix)] += 1e-9 * max(float(np.trace(matrix)) / len(matrix), 1e-300)
    found: Floats = np.tril(cho_factor(matrix, lower=True, check_finite=False)[0])
    return found
