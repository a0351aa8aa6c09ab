"""Widths and other sizes by their logarithm and their inverse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from predictors.encoders.encoder import Encoder, Floats, group_of_columns
from predictors.encoders.hats import Hats, absent_columns
from predictors.schema import Column, Schema

LEAST_LEVELS = 3
LEAST_SPREAD = 1.5  # highest over lowest level


class Widths(Encoder):
    """log2 v and 1/v of positive ordered choices: doubling a width helps alike, and a bottleneck hurts most.

    Each is standardised over the levels of its column, all equally often; absent ones are 0 with a feature that says
    so. Other choices are one-hot.
    """

    @classmethod
    def applies(cls, schema: Schema) -> bool:
        """Whether a choice is a size: positive, of three levels at least."""
        return any(_is_size(column) for column in schema.columns)

    def _fit_choices(self, raw: Floats, schema: Schema) -> tuple[Sequence[str], Sequence[int]]:
        choices = schema.of_kind("choice")
        sizes = [at for at in choices if _is_size(schema.columns[at])]
        self._sizes = np.array(sizes, np.intp)
        levels = [_both(np.array(schema.columns[at].levels, np.float64)) for at in sizes]
        self._mean = np.array([found.mean(axis=1) for found in levels]).T.reshape(2, 1, -1)
        self._deviation = np.array([found.std(axis=1) for found in levels]).T.reshape(2, 1, -1)
        others = [at for at in choices if at not in sizes]
        self._hats = Hats.on(schema, others, absent_columns(raw, schema))
        groups = group_of_columns(schema)
        names = [f"{form} {schema.columns[at].name}" for form in ("log2", "1 /") for at in sizes]
        return [*names, *self._hats.names], [groups[at] for at in (*sizes, *sizes, *self._hats.of)]

    def _encode(self, raw: Floats) -> Floats:
        found = (_both(raw[:, self._sizes]) - self._mean) / self._deviation
        logarithm, inverse = np.nan_to_num(found, copy=False, nan=0.0)
        return np.hstack([logarithm, inverse, self._hats.apply(raw)])


def _is_size(column: Column) -> bool:
    if column.kind != "choice" or not column.ordered or len(column.levels) < LEAST_LEVELS:
        return False
    low, high = float(column.levels[0]), float(column.levels[-1])
    return low > 0 and high >= LEAST_SPREAD * low


def _both(values: NDArray[np.float64]) -> Floats:
    """(2, …) logarithms and inverses."""
    return np.stack([np.log2(values), 1 / values])
