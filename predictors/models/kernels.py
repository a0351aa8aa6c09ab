"""Covariances between networks, and the gradients of a likelihood in their length scales.

Features are scaled, z = x / length, before a kernel sees them. All kernels here are functions of inner products or of
distances of z, so one weighted Gram product gives the gradient in all lengths at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
KernelName = Literal["linear", "quadratic", "rbf", "matern"]
ROOT5 = 5**0.5


class Slope(NamedTuple):
    """How a kernel matrix changes with the scaled features.

    Attributes:
        value: (m, n) the kernel.
        inner: (m, n) its derivative in the inner product <z, z'>; zeros for kernels of distances.
        squared: (m, n) its derivative in the squared distance |z - z'|^2; zeros for kernels of inner products.
    """

    value: Floats
    inner: Floats | None
    squared: Floats | None


def linear(left: Floats, right: Floats) -> Slope:
    """<z, z'>."""
    product = left @ right.T
    return Slope(product, np.ones_like(product), None)


def quadratic(left: Floats, right: Floats) -> Slope:
    """((1 + <z, z'>)^2 - 1) / 2: all features and all products of two."""
    product = 1 + left @ right.T
    return Slope(0.5 * (product**2 - 1), product, None)


def rbf(left: Floats, right: Floats) -> Slope:
    """exp(-|z - z'|^2 / 2)."""
    value = squared_distances(left, right)
    value *= -0.5
    np.exp(value, out=value)
    return Slope(value, None, -0.5 * value)


def matern(left: Floats, right: Floats) -> Slope:
    """Matern with nu = 5/2: rougher functions than the squared exponential has."""
    squared = squared_distances(left, right)
    distance = ROOT5 * np.sqrt(squared)
    decay = np.exp(-distance)
    value = (1 + distance + 5 / 3 * squared) * decay
    return Slope(value, None, -5 / 6 * (1 + distance) * decay)


KERNELS: dict[str, Callable[[Floats, Floats], Slope]] = {
    "linear": linear,
    "quadratic": quadratic,
    "rbf": rbf,
    "matern": matern,
}


def squared_distances(left: Floats, right: Floats) -> Floats:
    """(m, n) |z - z'|^2, never below 0."""
    found: Floats = left @ right.T
    found *= -2
    found += (left**2).sum(axis=1)[:, None]
    found += (right**2).sum(axis=1)
    return np.maximum(found, 0.0, out=found)


def value_of(name: str, left: Floats, right: Floats) -> Floats:
    """(m, n) the kernel alone, as prediction needs it."""
    if name == "rbf":
        found = squared_distances(left, right)
        found *= -0.5
        return np.asarray(np.exp(found, out=found))
    if name == "quadratic":
        found = left @ right.T
        found += 1
        found *= found
        found -= 1
        found *= 0.5
        return np.asarray(found)
    return KERNELS[name](left, right).value


def variance_of(name: str, points: Floats) -> Floats:
    """(n,) the kernel of every point with itself."""
    if name in ("rbf", "matern"):
        return np.ones(len(points))
    square = np.asarray((points**2).sum(axis=1))
    return square if name == "linear" else 0.5 * ((1 + square) ** 2 - 1)


def length_gradient(points: Floats, slope: Slope, weights: Floats) -> Floats:
    """(d,) derivative of sum(weights * kernel) in the logarithm of each feature's length.

    Args:
        points: (n, d) scaled features z; d z / d log length = -z.
        slope: of the kernel of the points with themselves.
        weights: (n, n), symmetric.
    """
    found = np.zeros(points.shape[1])
    if slope.inner is not None:  # d <z, z'> / d log length = -2 z z'
        found -= 2 * _gram_diagonal(points, weights * slope.inner)
    if slope.squared is not None:  # d |z - z'|^2 / d log length = -2 (z - z')^2
        weighted = weights * slope.squared
        sums = weighted.sum(axis=1)
        found -= 4 * (sums @ points**2 - _gram_diagonal(points, weighted))
    return found


def _gram_diagonal(points: Floats, weights: Floats) -> Floats:
    return np.asarray((points * (weights @ points)).sum(axis=0))
