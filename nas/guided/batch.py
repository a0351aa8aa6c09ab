"""Several at once: the best by value, less what stands next to one already taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEAST = 1e-9  # what the least value is worth, where the best is worth 1
SPACED = 400  # rows whose nearest neighbours tell the spacing


def diverse_best(values: Floats, features: Floats, wanted: int, *, taken: Sequence[int] = ()) -> list[int]:
    """Positions of rows, the best first, each value reduced near the rows taken before it.

    A row at distance d of a taken one keeps 1 - exp(-d^2 / (2 h^2)) of what its value is above the least, where h is
    the median distance to the nearest neighbour. A row equal to a taken one is never taken.

    Args:
        values: (n,) higher is better.
        features: (n, d) on a common scale.
        wanted: how many.
        taken: positions that are taken already.
    Returns: at most ``wanted`` positions, none of ``taken`` among them; equal values in the order of the rows.
    """
    above = values - values.min()
    most = float(above.max())
    left = above / most + LEAST if most > 0 else np.ones(len(values))
    width = _spacing(features)
    for at in taken:
        left = _penalised(left, features, at, width)
    found: list[int] = []
    while len(found) < wanted and left.max() > 0:
        at = int(np.argmax(left))
        found.append(at)
        left = _penalised(left, features, at, width)
    return found


def _penalised(left: Floats, features: Floats, at: int, width: float) -> Floats:
    squares = ((features - features[at]) ** 2).sum(axis=1)
    reduced: Floats = left * -np.expm1(-squares / (2 * width**2))
    reduced[at] = 0.0
    return reduced


def _spacing(features: Floats) -> float:
    """Median distance of a row to the nearest different one, on evenly picked rows."""
    rows = features[np.unique(np.linspace(0, len(features) - 1, SPACED).astype(int))]
    squares = ((rows[:, None, :] - rows[None, :, :]) ** 2).sum(axis=2)
    squares[squares <= 1e-12] = np.inf
    nearest = squares.min(axis=1)
    sound = nearest[np.isfinite(nearest)]
    return float(np.sqrt(np.median(sound))) if len(sound) else 1.0
