"""Cheap labels in the unit of real ones, without a change of their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
LEAST_SLOPE = 1e-3  # of the slope that the spreads alone would give: where the pairs say nothing, or the opposite


class InvalidPairs(ValueError):
    """Lists of different lengths, fewer than two different cheap labels, or values that are not finite."""


@dataclass(frozen=True)
class MonotoneMap:
    """A strictly increasing piecewise linear function.

    Attributes:
        places: (k,) ascending cheap labels.
        values: (k,) ascending real labels at them.
        low_slope, high_slope: above 0: of the lines before the first and after the last place.
    """

    places: Floats
    values: Floats
    low_slope: float
    high_slope: float

    def __call__(self, weak: ArrayLike) -> Floats:
        """Cheap labels in the unit of real ones, any shape."""
        cheap = np.asarray(weak, np.float64)
        below, above = np.minimum(cheap - self.places[0], 0.0), np.maximum(cheap - self.places[-1], 0.0)
        found: Floats = np.interp(cheap, self.places, self.values) + self.low_slope * below + self.high_slope * above
        return found


def rank_preserving(
    weak: ArrayLike,
    real: ArrayLike,
    *,
    population: ArrayLike | None = None,
    shape: Literal["isotonic", "scores", "line"] = "isotonic",
) -> MonotoneMap:
    """What cheap labels mean in the unit of real ones, from networks that have both.

    The order of the cheap labels is kept, strictly: networks that the real labels do not separate stay in their order.

    Args:
        weak: (n,) cheap labels, at least two different ones; higher is taken to be better, so negate losses.
        real: (n,) real labels of the same networks; noise is smoothed.
        population: cheap labels of many networks, for "scores"; None takes ``weak``.
        shape: "isotonic": increasing least squares, its levels joined by lines, straight at the ends; "scores": real
            labels linear in the normal scores of the ranks among the population, for cheap labels of a strange scale;
            "line": a shift and a factor.
    Raises: InvalidPairs: lengths differ, values are not finite, or fewer than two different cheap labels.
    Source: Barlow et al. 1972, "Statistical inference under order restrictions" (isotonic); Blom 1958, "Statistical
        estimates and transformed beta-variables" (normal scores). Deviations: levels are joined, so none is flat.
    """
    cheap, labels = np.asarray(weak, np.float64), np.asarray(real, np.float64)
    if cheap.ndim != 1 or cheap.shape != labels.shape:
        raise InvalidPairs(
            f"pairs: weak of shape {cheap.shape}, real of shape {labels.shape}, expected two of one length"
        )
    if not (np.isfinite(cheap).all() and np.isfinite(labels).all()):
        raise InvalidPairs("pairs: NaN or infinite values, expected finite ones; leave those networks out")
    places, group = np.unique(cheap, return_inverse=True)
    if len(places) < 2:
        raise InvalidPairs(f"pairs: {len(places)} different cheap labels in {len(cheap)} pairs, expected at least 2")
    if shape == "line":
        return _line(cheap, labels)
    if shape == "scores":
        return _scores(cheap, labels, cheap if population is None else np.asarray(population, np.float64))
    counts = np.bincount(group).astype(np.float64)
    return _isotonic(places, np.bincount(group, labels) / counts, counts, slope_of(cheap, labels))


def slope_of(weak: Floats, real: Floats) -> float:
    """Least squares, and at least a little above 0."""
    apart = weak - weak.mean()
    spread = float(apart @ apart)
    least = LEAST_SLOPE * max(float(np.std(real) / np.std(weak)), 1e-9)
    return max(float(apart @ real) / spread, least)


def _line(weak: Floats, real: Floats) -> MonotoneMap:
    slope = slope_of(weak, real)
    return MonotoneMap(np.array([weak.mean()]), np.array([real.mean()]), slope, slope)


def _scores(weak: Floats, real: Floats, population: Floats) -> MonotoneMap:
    places, counts = np.unique(population, return_counts=True)
    if len(places) < 2 or not np.isfinite(places).all():
        raise InvalidPairs(f"population: {len(places)} different cheap labels, expected at least 2, all finite")
    from scipy.special import ndtri

    middle_ranks = np.cumsum(counts) - (counts - 1) / 2
    scores = ndtri((middle_ranks - 0.375) / (len(population) + 0.25))
    slopes = np.diff(scores) / np.diff(places)
    ends = float(np.median(slopes))
    to_score = MonotoneMap(places, scores, ends, ends)
    line = _line(to_score(weak), real)
    return MonotoneMap(places, line(scores), line.low_slope * ends, line.high_slope * ends)


def _isotonic(places: Floats, means: Floats, counts: Floats, slope: float) -> MonotoneMap:
    """Levels of increasing least squares, each at the mean place of its members, joined by lines."""
    from sklearn.isotonic import isotonic_regression

    fitted = isotonic_regression(means, sample_weight=counts)
    starts = np.flatnonzero(np.diff(fitted, prepend=-np.inf) > 1e-12 * max(float(np.ptp(means)), 1e-300))
    weight = np.add.reduceat(counts, starts)
    centres = np.add.reduceat(counts * places, starts) / weight
    return MonotoneMap(centres, fitted[starts], slope, slope)
