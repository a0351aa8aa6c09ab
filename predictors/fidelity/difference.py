"""What stands between a known cheap function and real labels: a ratio, a smooth difference, and noise."""

from __future__ import annotations

import numpy as np
from scipy.linalg import LinAlgError, cho_solve

from predictors.fidelity.level import CONSTANT, Process, factorised
from predictors.regressor import Floats

MOST_TUNED = 300  # real labels on which the parameters are to be found; the time grows with the cube
RATIO = (0.7, 0.5)  # prior mean and standard deviation, both labels having variance 1
LENGTH = 1.0  # prior standard deviation of the log length around that of the cheap function
SIGNAL = (-2.3, 1.5)  # of the log variance of the difference
NOISE = (-2.3, 1.5)  # of the log noise variance
STEPS = 60


def tuned_difference(
    points: Floats, targets: Floats, weights: Floats, known: Floats, doubt: Floats, cheap: Process
) -> tuple[float, Process, float]:
    """The ratio, the process of the difference and the noise variance that are most probable.

    Args:
        points: (n, d) really labelled networks.
        targets: (n,) their labels, standardised.
        weights: (n,) precisions of the labels.
        known: (n,) the cheap function there.
        doubt: (n, n) its covariance, given the cheap labels.
        cheap: the process of the cheap function.
    """
    from scipy.optimize import minimize

    prior = np.array([RATIO[0], np.log(cheap.length), SIGNAL[0], NOISE[0]])
    width = np.array([RATIO[1], LENGTH, SIGNAL[1], NOISE[1]])

    def cost(values: Floats) -> float:
        ratio, length, signal, noise = values[0], *np.exp(values[1:])
        matrix = Process(cheap.kernel, length, signal, CONSTANT).covariance(points, points) + ratio**2 * doubt
        matrix[np.diag_indices_from(matrix)] += noise / weights
        try:
            factor = factorised(matrix)
        except LinAlgError:
            return 1e25
        left = targets - ratio * known
        fit = 0.5 * left @ cho_solve((factor, True), left) + np.log(np.diag(factor)).sum()
        return float(fit + 0.5 * (((values - prior) / width) ** 2).sum())

    bounds = [(-3.0, 5.0), *((middle - 6, middle + 6) for middle in prior[1:])]
    found = minimize(cost, prior, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS}).x
    ratio, (length, signal, noise) = float(found[0]), np.exp(found[1:])
    return ratio, Process(cheap.kernel, float(length), float(signal), CONSTANT), float(noise)
