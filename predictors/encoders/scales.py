"""Numbers on a common scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SPREAD = 2.0  # largest over smallest, from which the logarithm is taken
FAR = 10.0  # interquartile ranges beyond the quartiles: values farther out are taken to stand there
BELOW = 1e-3  # of the smallest fitted value: no logarithm of less


@dataclass
class Scales:
    """Columns that are standardised, some after the logarithm.

    Attributes:
        columns: (k,) positions in the matrix.
        logarithm: (k,) whether a column is all positive and spreads.
        least: (k,) below this the logarithm is not taken.
        mean, deviation: (k,) of the fitted rows.
        lowest, highest: (k,) values beyond are taken as these, so that a number that stands for a failure (-1e8)
            neither sets the scale nor is extrapolated to.
    """

    columns: NDArray[np.intp]
    logarithm: NDArray[np.bool_]
    least: Floats
    mean: Floats
    deviation: Floats
    lowest: Floats
    highest: Floats

    @classmethod
    def of(cls, raw: Floats, columns: Sequence[int]) -> Self:
        """Scales of fitted rows."""
        values = raw[:, list(columns)]
        low, high = (values.min(axis=0), values.max(axis=0)) if len(columns) else (np.empty(0), np.empty(0))
        logarithm = (low > 0) & (high > SPREAD * low)
        count = len(columns)
        found = cls(
            np.array(columns, np.intp), logarithm, low * BELOW, np.zeros(count), np.ones(count),
            np.full(count, -np.inf), np.full(count, np.inf),
        )  # fmt: skip
        values = found._values(values)
        if count:
            first, third = np.quantile(values, (0.25, 0.75), axis=0)
            reach = np.where(third > first, FAR * (third - first), np.inf)
            found.lowest, found.highest = first - reach, third + reach
            values = np.clip(values, found.lowest, found.highest)
        deviation = values.std(axis=0)
        constant = deviation <= 1e-12 * np.abs(values).max(axis=0, initial=0)
        found.mean, found.deviation = values.mean(axis=0), np.where(constant, 1.0, deviation)
        return found

    def apply(self, raw: Floats) -> Floats:
        """(n, k) standardised columns."""
        return np.asarray((self._values(raw[:, self.columns]) - self.mean) / self.deviation)

    def _values(self, values: Floats) -> Floats:
        """Logarithms where they are taken, and nothing beyond the bounds."""
        return np.clip(self._logarithms(values), self.lowest, self.highest)

    def _logarithms(self, values: Floats) -> Floats:
        if not self.logarithm.any():
            return values
        logs = np.log(np.where(self.logarithm, np.maximum(values, self.least), 1.0))
        return np.where(self.logarithm, logs, values)
