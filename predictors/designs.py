"""Which networks to label first, before anything is known of their labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictors.regressor import Floats

Rows = NDArray[np.intp]
PASSES = 10  # rounds of exchanges


class InvalidDesign(ValueError):
    """More networks asked for than there are candidates, or features that are not a finite table."""


def d_optimal(features: ArrayLike, n: int, *, seed: int, start: Sequence[int] = (), ridge: float = 1.0) -> Rows:
    """The candidates whose labels tell most about a linear model of the features.

    They maximise log det (ridge I + sum of x x^T) over the chosen and the started ones, x being the features in
    standard deviations and a constant: the expected information about the weights of a ridge regression. First each
    candidate that adds most is taken, then single ones are exchanged as long as that helps.

    Args:
        features: (m, d) of the candidates, finite.
        n: how many to choose, from 1 on.
        seed: decides among equals.
        start: candidates that have a label already; they are not chosen again.
        ridge: noise variance over the prior variance of a weight; above 0.
    Returns: (n,) rows of ``features``, in the order taken.
    Raises: InvalidDesign.
    Source: Fedorov 1972, "Theory of Optimal Experiments" (exchange); Chaloner, Verdinelli 1995, "Bayesian experimental
        design: a review" (the ridge). Deviations: one network is exchanged at a time for the best of all others.
    """
    points, taken = _prepared(features, n, start)
    if not ridge > 0:
        raise InvalidDesign(f"ridge={ridge}, expected a number above 0")
    rng = np.random.default_rng(seed)
    points = np.hstack([points, np.ones((len(points), 1))])
    favour = 1e-9 * rng.random(len(points))
    inverse = np.asarray(np.linalg.inv(ridge * np.eye(points.shape[1]) + points[taken].T @ points[taken]), np.float64)
    gain: Floats = np.einsum("ij,ij->i", points @ inverse, points) + favour
    free = np.ones(len(points), dtype=bool)
    free[taken] = False
    chosen: list[int] = []
    for _ in range(n):
        best = int(np.argmax(np.where(free, gain, -np.inf)))
        inverse, gain = _moved(points, inverse, gain, best, 1.0)
        free[best] = False
        chosen.append(best)
    return np.array(_exchanged(points, inverse, gain, free, chosen), dtype=np.intp)


def diverse(features: ArrayLike, n: int, *, seed: int, start: Sequence[int] = ()) -> Rows:
    """Candidates that are spread over all: each is the one farthest from those before it.

    Args:
        features: (m, d) of the candidates, finite.
        n: how many to choose, from 1 on.
        seed: decides among equals; without ``start`` the first is the candidate nearest to the mean of all.
        start: candidates that have a label already; they are not chosen again.
    Returns: (n,) rows of ``features``, in the order taken; distances are in standard deviations of each feature.
    Raises: InvalidDesign.
    Source: Gonzalez 1985, "Clustering to minimize the maximum intercluster distance"; Kennard, Stone 1969, "Computer
        aided design of experiments" (from the mean).
    """
    points, taken = _prepared(features, n, start)
    favour = 1e-9 * np.random.default_rng(seed).random(len(points))
    squares = (points**2).sum(axis=1)
    nearest = np.full(len(points), np.inf)
    for row in taken:
        nearest = np.minimum(nearest, _apart(points, squares, int(row)))
    nearest[taken] = -np.inf
    chosen: list[int] = []
    for _ in range(n):
        first = not len(taken) and not chosen
        best = int(np.argmax(favour - squares if first else nearest + favour))
        chosen.append(best)
        nearest = np.minimum(nearest, _apart(points, squares, best))
        nearest[best] = -np.inf
    return np.array(chosen, dtype=np.intp)


def _exchanged(points: Floats, inverse: Floats, gain: Floats, free: NDArray[np.bool_], chosen: list[int]) -> list[int]:
    """Exchange single chosen candidates for free ones until none makes the determinant larger."""
    for _ in range(PASSES):
        changed = False
        for place, old in enumerate(chosen):
            inverse, gain = _moved(points, inverse, gain, old, -1.0)
            best = int(np.argmax(np.where(free, gain, -np.inf)))
            if not free[best] or gain[best] <= gain[old] * (1 + 1e-6):
                best = old
            inverse, gain = _moved(points, inverse, gain, best, 1.0)
            free[old], free[best] = True, False
            chosen[place] = best
            changed |= best != old
        if not changed:
            break
    return chosen


def _moved(points: Floats, inverse: Floats, gain: Floats, row: int, sign: float) -> tuple[Floats, Floats]:
    """Inverse and x^T inverse x of all candidates after one is added (sign 1) or removed (-1)."""
    direction = inverse @ points[row]
    scale = sign / (1 + sign * float(points[row] @ direction))
    return inverse - scale * np.outer(direction, direction), gain - scale * (points @ direction) ** 2


def _apart(points: Floats, squares: Floats, row: int) -> Floats:
    """(m,) squared distances of all candidates from one."""
    found: Floats = np.maximum(squares + squares[row] - 2 * points @ points[row], 0.0)
    return found


def _prepared(features: ArrayLike, n: int, start: Sequence[int]) -> tuple[Floats, Rows]:
    """Features in standard deviations around their means, those that vary; and the rows started with."""
    points = np.asarray(features, dtype=np.float64)
    if points.ndim != 2 or not np.isfinite(points).all():
        raise InvalidDesign(f"features of shape {points.shape}, expected a table of finite numbers")
    taken = np.asarray(start, dtype=np.intp)
    if len(taken) and (taken.min() < 0 or taken.max() >= len(points)):
        raise InvalidDesign(
            f"start holds {taken.min()} to {taken.max()}, expected rows of the {len(points)} candidates"
        )
    left = len(points) - len(np.unique(taken))
    if not 1 <= n <= left:
        raise InvalidDesign(f"n={n}, expected 1 to the {left} candidates that are not in start")
    varying = np.ptp(points, axis=0) > 0
    points = points[:, varying] - points[:, varying].mean(axis=0)
    return points / points.std(axis=0), taken
