"""Interpolation between measured points by a Gaussian process: fitted once, evaluated in microseconds."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Kriging:
    """A fitted Gaussian process with a squared exponential kernel, mean prediction only.

    Attributes:
        shift, scale: (d,) standardisation and length scales in one: z = (x - shift) / scale.
        points: (n, d) measured points, as z.
        weights: (n,) kernel weights, signal variance included.
        mean: value far from every point.
    """

    shift: Vector
    scale: Vector
    points: Matrix
    weights: Vector
    mean: float

    def predict(self, x: Vector) -> float:
        """The value at x (d,)."""
        z = (x - self.shift) / self.scale
        exponent = self.points @ z  # half the squared distance, expanded: |p - z|^2 = |p|^2 - 2 p z + |z|^2
        exponent -= self._half_squares
        exponent -= 0.5 * (z @ z)
        return self.mean + float(np.exp(exponent, out=exponent) @ self.weights)

    @cached_property
    def _half_squares(self) -> Vector:
        return np.asarray(0.5 * (self.points**2).sum(axis=1))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "shift": self.shift.tolist(),
            "scale": self.scale.tolist(),
            "points": self.points.tolist(),
            "weights": self.weights.tolist(),
            "mean": self.mean,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        arrays = {name: np.array(data[name], dtype=np.float64) for name in ("shift", "scale", "points", "weights")}
        return cls(**arrays, mean=float(data["mean"]))


def fit_kriging(x: Matrix, y: Vector, seed: int) -> Kriging:
    """Fit length scales, signal and noise by maximum likelihood.

    Args:
        x: (n, d) points, any scale.
        y: (n,) values.
        seed: of the optimiser's restarts.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
    from threadpoolctl import threadpool_limits

    shift, spread = x.mean(axis=0), x.std(axis=0)
    spread[spread < 1e-9] = 1.0
    mean = float(np.median(y))
    lengths = RBF(np.full(x.shape[1], 3.0), (0.3, 1e3))
    kernel = ConstantKernel(0.05, (1e-4, 10.0)) * lengths + WhiteKernel(1e-3, (1e-5, 0.5))
    model = GaussianProcessRegressor(kernel, optimizer=_few_steps, random_state=seed)
    with warnings.catch_warnings(), threadpool_limits(1):  # more threads only fight over so small matrices
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length scale at its bound: that feature is idle
        model.fit((x - shift) / spread, y - mean)
    signal = model.kernel_.k1
    scale = spread * signal.k2.length_scale
    return Kriging(shift, scale, (x - shift) / scale, signal.k1.constant_value * model.alpha_.ravel(), mean)


def _few_steps(objective: Callable[..., Any], start: Vector, bounds: Matrix) -> tuple[Vector, float]:
    """The optimiser of scikit-learn, stopped when seconds of fitting would buy nothing measurable."""
    from scipy.optimize import minimize

    found = minimize(objective, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": 30})
    return found.x, found.fun
