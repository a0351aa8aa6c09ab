"""What an activation makes of two correlated normal values: the moments that closed-form scores need.

For u, u' ~ N(0, 1) with correlation 1 - q and an activation f:

    mean = E f(u),   square = E f(u)^2,   loss(q) = E (f(u) - f(u'))^2 / 2,   distance(q) = E |f(u) - f(u')|.

ReLU and the identity have formulas (Cho and Saul 2009, the arc-cosine kernel). For any other f, loss is the sum over
its Hermite coefficients a_n of a_n^2 (1 - (1 - q)^n) (Daniely et al. 2016, arXiv 1602.05897, "dual activation"),
integrated once; distance is integrated on a grid of q and interpolated in the logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from search_spaces.layers import GELU, HARD_SIGMOID, HARD_SWISH, RELU, RELU6, SIGMOID, SILU

LINEAR = "identity"
"""Name of a norm without an activation behind it."""

Vector = NDArray[np.float64]
_TERMS = 80  # Hermite coefficients; what is left of a kinked activation is below 1e-5 of its square
_GRID = np.linspace(-9.0, 9.0, 4_001)
_PAIR_GRID = np.linspace(-6.5, 6.5, 260)  # symmetric, but without 0, where ReLU6 has a kink
_LOG_Q = np.linspace(math.log(1e-9), math.log(1.5), 40)


def _relu6(x: Vector) -> Vector:
    return np.clip(x, 0, 6)


def _sigmoid(x: Vector) -> Vector:
    return np.asarray(1 / (1 + np.exp(-x)))


def _gelu(x: Vector) -> Vector:
    from scipy.special import erf

    return np.asarray(x * (1 + erf(x / math.sqrt(2))) / 2)


_FUNCTIONS: dict[str, Callable[[Vector], Vector]] = {
    RELU6: _relu6,
    HARD_SWISH: lambda x: x * _relu6(x + 3) / 6,
    HARD_SIGMOID: lambda x: _relu6(x + 3) / 6,
    SILU: lambda x: x * _sigmoid(x),
    SIGMOID: _sigmoid,
    GELU: _gelu,
}
KNOWN = frozenset((RELU, LINEAR, *_FUNCTIONS))


@dataclass(frozen=True, eq=False)
class Response:
    """Moments of one activation, see above; ``loss`` and ``log_distance`` are functions of q in (0, 2)."""

    mean: float
    square: float
    loss: Callable[[float], float]
    log_distance: Callable[[float], float]


def relu_loss(q: float) -> float:
    """Half of E (ReLU(u) - ReLU(u'))^2 at a correlation of 1 - q, without cancellation."""
    angle = 2 * math.asin(math.sqrt(q / 2))
    return (angle - math.sin(angle) + q * (math.pi - angle)) / (2 * math.pi)


@lru_cache(maxsize=32)
def response(activation: str) -> Response:
    """Moments of an activation by its operation's name, or of ``LINEAR``; raises KeyError for any other."""
    if activation == RELU:
        mean = 1 / math.sqrt(2 * math.pi)
        # |ReLU(u) - ReLU(u')| and its mirror image add up to |u - u'|, so that it has half the mean
        return Response(mean, 0.5, relu_loss, lambda q: 0.5 * math.log(q / math.pi))
    if activation == LINEAR:
        return Response(0.0, 1.0, lambda q: q, lambda q: 0.5 * math.log(q / math.pi) + math.log(2))
    return _integrated(_FUNCTIONS[activation])


def _integrated(f: Callable[[Vector], Vector]) -> Response:
    weights = np.exp(-(_GRID**2) / 2)
    weights /= weights.sum()
    values = f(_GRID)
    mean, square = float(weights @ values), float(weights @ values**2)
    squares = _hermite_squares(values, weights)
    orders = np.arange(1, _TERMS)
    rest = max(0.0, square - squares.sum())

    def loss(q: float) -> float:
        shares = -np.expm1(orders * math.log1p(-q)) if q < 1 else np.ones(_TERMS - 1)
        return float(squares[1:] @ shares + rest * shares[-1])

    return Response(mean, square, loss, _log_distance(f))


def _hermite_squares(values: Vector, weights: Vector) -> Vector:
    """Squares of the coefficients of normalised probabilists' Hermite polynomials."""
    before, now = np.zeros_like(_GRID), np.ones_like(_GRID)
    squares = []
    for n in range(_TERMS):
        squares.append(float(weights @ (values * now)) ** 2)
        before, now = now, (_GRID * now - math.sqrt(n) * before) / math.sqrt(n + 1)
    return np.array(squares)


def _log_distance(f: Callable[[Vector], Vector]) -> Callable[[float], float]:
    """Interpolates ln (E |f(u) - f(u')| / sqrt q), which is smooth in ln q."""
    weights = np.exp(-(_PAIR_GRID**2) / 2)
    weights /= weights.sum()
    u, z = _PAIR_GRID[:, None], _PAIR_GRID[None, :]
    logs = []
    for log_q in _LOG_Q:
        c = 1 - math.exp(log_q)
        other = c * u + math.sqrt(max(0.0, 1 - c * c)) * z
        distance = weights @ np.abs(f(np.broadcast_to(u, other.shape)) - f(other)) @ weights
        logs.append(math.log(distance) - 0.5 * log_q)
    table = np.array(logs)
    return lambda q: float(np.interp(math.log(q), _LOG_Q, table)) + 0.5 * math.log(q)
