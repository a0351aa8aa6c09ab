"""The points nearest to the front: the highest of each of many slices of the horizontal axis."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SLICES, EACH = 256, 8  # slices at most, and points kept in each
FINEST = 2.0**-30


class Nearest:
    """Keeps (id, x, y) of the points with the largest y by slice; the same points in any order are kept."""

    def __init__(self) -> None:
        self._step = FINEST
        self._points = np.empty((0, 3))
        self._ranks = np.empty(0, np.int64)

    def add(self, points: Floats) -> None:
        """Take in (n, 3) points, all finite."""
        if not len(points):
            return
        points = points[self._rises(points)]
        known = np.concatenate([self._points, points])
        if not len(known):
            return
        low, high = float(known[:, 1].min()), float(known[:, 1].max())
        while math.floor(high / self._step) - math.floor(low / self._step) >= SLICES:
            self._step *= 2
        slices = np.floor(known[:, 1] / self._step)
        order = np.lexsort((known[:, 0], -known[:, 2], slices))
        known, slices = known[order], slices[order]
        first = np.concatenate([[True], np.diff(slices) != 0])
        starts = np.flatnonzero(first)
        ranks = np.arange(len(known)) - starts[np.cumsum(first) - 1]
        kept = ranks < EACH
        self._points, self._ranks = known[kept], ranks[kept]

    def _rises(self, points: Floats) -> NDArray[np.bool_]:
        """Which points are not below all that is kept in a full slice."""
        full = self._ranks == EACH - 1
        least = np.full(int(full.sum()) + 1, -np.inf)
        least[:-1] = self._points[full, 2]
        slices = np.floor(self._points[full, 1] / self._step)
        asked = np.floor(points[:, 1] / self._step)
        at = np.searchsorted(slices, asked)
        at[(at == len(slices)) | (np.concatenate([slices, [np.nan]])[at] != asked)] = len(slices)
        rises: NDArray[np.bool_] = points[:, 2] >= least[at]
        return rises

    def best(self, count: int) -> Floats:
        """At most so many (id, x, y): those that are highest in their slice first."""
        order = np.lexsort((self._points[:, 0], self._ranks))[:count]
        chosen: Floats = self._points[np.sort(order)]
        return chosen
