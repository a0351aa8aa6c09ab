"""Pareto fronts: which of many results no other beats in everything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pareto_front(costs: NDArray[np.float64]) -> NDArray[np.intp]:
    """Positions of the rows that no other row dominates, by first cost, then the others.

    Args:
        costs: (n, m) float, smaller is better in every column; of equal rows the first is kept.
    Raises: ValueError: a cost is not finite.
    """
    costs = np.asarray(costs, dtype=np.float64)
    if costs.ndim != 2 or not np.isfinite(costs).all():
        raise ValueError(f"costs of shape {costs.shape}, expected a finite (n, m) array")
    order = np.lexsort(costs.T[::-1])
    kept: list[int] = []
    for i in order:
        row = costs[i]
        if not kept or not (costs[kept] <= row).all(axis=1).any():
            kept.append(int(i))
    return np.array(kept, dtype=np.intp)
