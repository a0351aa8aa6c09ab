"""Which networks to label first, before anything is known of their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictors.regressor import Floats

Rows = NDArray[np.intp]
PASSES = 10  # rounds of exchanges


class InvalidDesign(ValueError):
    """More networks asked for than there are candidates, or features that are not a finite table."""


@dataclass
class _Knowledge:
    """What labels of the chosen rows leave unknown of a linear model, for all candidates.

    Attributes:
        points: (m, d) candidates.
        moments: (d, d) mean of x x^T over the candidates.
        inverse: (d, d) of ridge I + sum of x x^T over the chosen.
        variance: (m,) x^T inverse x.
        shared: (m,) x^T inverse moments inverse x: how much the predictions of all depend on that of x.
    """

    points: Floats
    moments: Floats
    inverse: Floats
    variance: Floats
    shared: Floats

    @classmethod
    def of(cls, points: Floats, taken: Rows, ridge: float) -> Self:
        """With labels of the rows taken."""
        unknown = ridge * np.eye(points.shape[1]) + points[taken].T @ points[taken]
        inverse = np.asarray(np.linalg.inv(unknown), np.float64)
        moments, along = points.T @ points / len(points), points @ inverse
        return cls(points, moments, inverse, (along * points).sum(axis=1), ((along @ moments) * along).sum(axis=1))

    def move(self, row: int, sign: float) -> None:
        """Add a label (sign 1) or take it away (-1)."""
        direction = self.inverse @ self.points[row]
        scale = sign / (1 + sign * float(self.points[row] @ direction))
        pull = self.moments @ direction
        seen = self.points @ direction
        self.shared = (
            self.shared
            - 2 * scale * seen * (self.points @ (self.inverse @ pull))
            + (scale * seen) ** 2 * float(direction @ pull)
        )
        self.variance = self.variance - scale * seen**2
        self.inverse = self.inverse - scale * np.outer(direction, direction)


def v_optimal(features: ArrayLike, n: int, *, seed: int, start: Sequence[int] = (), ridge: float = 1.0) -> Rows:
    """The candidates whose labels make the predictions of all candidates most precise.

    They minimise the mean variance of a ridge regression's predictions over the candidates, x being the features in
    standard deviations and a constant. Unlike a D-optimal choice it does not look for extreme networks: it pays to
    learn what many candidates share. First each candidate that helps most is taken, then single ones are exchanged as
    long as that helps.

    Args:
        features: (m, d) of the candidates, finite; draw them as those that will be predicted.
        n: how many to choose, from 1 on.
        seed: decides among equals.
        start: candidates that have a label already; they are not chosen again.
        ridge: noise variance over the prior variance of a weight; above 0.
    Returns: (n,) rows of ``features``, in the order taken.
    Raises: InvalidDesign.
    Source: Yu, Bi, Tresp 2006, "Active learning via transductive experimental design" (the criterion); Fedorov 1972,
        "Theory of Optimal Experiments" (exchange). Deviations: exchanges after the greedy choice.
    """
    return _optimal(features, n, seed, start, ridge, lambda known: known.shared / (1 + known.variance))


def d_optimal(features: ArrayLike, n: int, *, seed: int, start: Sequence[int] = (), ridge: float = 1.0) -> Rows:
    """The candidates whose labels tell most about the weights of a linear model of the features.

    They maximise log det (ridge I + sum of x x^T) over the chosen and the started ones, x being the features in
    standard deviations and a constant: the expected information about the weights of a ridge regression. It favours
    extreme networks; to rank networks like the candidates, ``v_optimal`` is the better choice.

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
    return _optimal(features, n, seed, start, ridge, lambda known: known.variance)


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


def _optimal(
    features: ArrayLike,
    n: int,
    seed: int,
    start: Sequence[int],
    ridge: float,
    gain: Callable[[_Knowledge], Floats],
) -> Rows:
    """Take what gains most, then exchange single ones for what gains more until none does."""
    points, taken = _prepared(features, n, start)
    if not ridge > 0:
        raise InvalidDesign(f"ridge={ridge}, expected a number above 0")
    favour = 1 + 1e-9 * np.random.default_rng(seed).random(len(points))
    points = np.hstack([points, np.ones((len(points), 1))])
    known = _Knowledge.of(points, taken, ridge)
    free = np.ones(len(points), dtype=bool)
    free[taken] = False

    def best() -> int:
        return int(np.argmax(np.where(free, gain(known) * favour, -np.inf)))

    chosen: list[int] = []
    for _ in range(n):
        chosen.append(best())
        known.move(chosen[-1], 1.0)
        free[chosen[-1]] = False
    for _ in range(PASSES):
        before = list(chosen)
        for place, old in enumerate(before):
            known.move(old, -1.0)
            free[old] = True
            new = best()
            gains = gain(known)
            chosen[place] = new if gains[new] > gains[old] * (1 + 1e-6) else old
            known.move(chosen[place], 1.0)
            free[chosen[place]] = False
        if chosen == before:
            break
    return np.array(chosen, dtype=np.intp)


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
