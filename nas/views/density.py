"""How many points lie where: a grid that grows with what it is given, and forgets nothing but the places."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CELLS = 256  # along each axis, at most
FINEST = 2.0**-30


class Density:
    """Counts of points (x, y) in cells whose sides are powers of two; points in any order give the same grid."""

    def __init__(self) -> None:
        self._steps = [FINEST, FINEST]
        self._cells = np.empty((0, 2), np.int64)  # each a column and a row
        self._counts = np.empty(0, np.int64)

    def add(self, x: Floats, y: Floats) -> None:
        """Count points; all finite, (n,) each."""
        if not len(x):
            return
        points = np.column_stack([x, y])
        points[np.abs(points) < FINEST / 2] = 0.0  # below, a quotient may vanish, and its sign with it
        for axis in (0, 1):
            self._widen(axis, points[:, axis])
        cells = np.floor(points / np.array(self._steps)).astype(np.int64)
        self._merge(np.concatenate([self._cells, cells]), np.concatenate([self._counts, np.ones(len(x), np.int64)]))

    def _widen(self, axis: int, values: Floats) -> None:
        """Double the cells until all that are known and the new values lie within ``CELLS`` of them."""
        known = self._cells[:, axis]
        least, most = float(values.min()), float(values.max())
        while True:
            step = self._steps[axis]
            ends = [math.floor(least / step), math.floor(most / step)]
            if len(known):
                ends += [int(known.min()), int(known.max())]
            if max(ends) - min(ends) < CELLS:
                break
            self._steps[axis] *= 2
            known = known >> 1
        self._cells[:, axis] = known

    def _merge(self, cells: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        self._cells, self._counts = merged(cells, counts)

    def shown(self, bins: int) -> dict[str, Any]:
        """The grid with at most ``bins`` cells along each axis.

        Returns: "x_edges" (n + 1,), "y_edges" (m + 1,), rising, and "counts" m rows of n; empty without points.
        """
        if not len(self._counts):
            return {"x_edges": [], "y_edges": [], "counts": []}
        cells, steps = self._cells, list(self._steps)
        for axis in (0, 1):
            while int(np.ptp(cells[:, axis])) >= bins:
                cells = cells.copy()
                cells[:, axis] >>= 1
                steps[axis] *= 2
        low = cells.min(axis=0)
        size = cells.max(axis=0) - low + 1
        table = np.zeros((int(size[1]), int(size[0])), np.int64)
        np.add.at(table, (cells[:, 1] - low[1], cells[:, 0] - low[0]), self._counts)
        edges = [(low[axis] + np.arange(size[axis] + 1)) * steps[axis] for axis in (0, 1)]
        return {"x_edges": edges[0], "y_edges": edges[1], "counts": table}


def merged(cells: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Equal cells as one, with the sum of their counts."""
    low = cells.min(axis=0)
    width = int(np.ptp(cells[:, 1])) + 1
    sums = np.bincount((cells[:, 0] - low[0]) * width + cells[:, 1] - low[1], counts)  # few cells: no sorting
    keys = np.flatnonzero(sums)
    return np.column_stack([keys // width + low[0], keys % width + low[1]]), sums[keys].astype(np.int64)
