"""Choices as 0 and 1, and what lies between two levels of an ordered choice as a mixture of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from predictors.schema import Column, Schema

Floats = NDArray[np.float64]


@dataclass
class Hats:
    """Piecewise linear functions of one column each: 1 at a level, 0 at the levels beside it; of absence 0.

    Attributes:
        columns: (d,) column of each feature.
        up, down: (2, d) slope and offset of the rising and of the falling side.
        absent: (a,) columns with a feature that says that the choice does not exist.
        names: (d + a,).
        of: (d + a,) column that each feature is about.
    """

    columns: NDArray[np.intp]
    up: Floats
    down: Floats
    absent: NDArray[np.intp]
    names: list[str]
    of: list[int]

    @classmethod
    def on(cls, schema: Schema, columns: Sequence[int], absent: Sequence[int]) -> Self:
        """Hats of all levels of these choices, and absence of those."""
        feature_columns: list[int] = []
        sides: list[tuple[float, float, float, float]] = []
        names: list[str] = []
        for at in columns:
            column = schema.columns[at]
            for label, side in zip(labels_of(column), _sides(_values(column)), strict=True):
                feature_columns.append(at)
                sides.append(side)
                names.append(f"{column.name}={label}")
        table = np.array(sides, dtype=np.float64).reshape(-1, 4).T
        return cls(
            np.array(feature_columns, np.intp),
            table[:2].copy(),
            table[2:].copy(),
            np.array(absent, np.intp),
            names + [f"{schema.columns[at].name} absent" for at in absent],
            feature_columns + list(absent),
        )

    def apply(self, raw: Floats) -> Floats:
        """(n, d + a) features."""
        found = np.empty((len(raw), len(self.of)))
        inside = found[:, : len(self.columns)]
        values = raw[:, self.columns]
        np.multiply(values, self.up[0], out=inside)
        inside += self.up[1]
        values *= self.down[0]
        values += self.down[1]
        np.minimum(inside, values, out=inside)
        np.fmax(inside, 0.0, out=inside)  # absence is NaN, and becomes 0
        np.minimum(inside, 1.0, out=inside)
        found[:, len(self.columns) :] = np.isnan(raw[:, self.absent])
        return found


def absent_columns(raw: Floats, schema: Schema) -> list[int]:
    """Choices that may not exist, or do not in some fitted row."""
    missing = {int(at) for at in np.flatnonzero(np.isnan(raw).any(axis=0))}
    return [at for at in schema.of_kind("choice") if schema.columns[at].optional or at in missing]


def labels_of(column: Column) -> list[str]:
    """Levels of a choice as they are written in names."""
    return [f"{level:g}" if isinstance(level, float) else str(level) for level in column.levels]


def _values(column: Column) -> list[float]:
    return [float(level) for level in column.levels] if column.ordered else list(map(float, range(len(column.levels))))


def _sides(values: Sequence[float]) -> list[tuple[float, float, float, float]]:
    """Slopes and offsets of the hat of each value; beyond the ends a hat stays at 1."""
    found = []
    for i, value in enumerate(values):
        rise = 1 / (value - values[i - 1]) if i else 0.0
        fall = 1 / (values[i + 1] - value) if i + 1 < len(values) else 0.0
        found.append((rise, 1 - rise * value, -fall, 1 + fall * value))
    return found
