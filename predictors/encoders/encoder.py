"""What all encoders share: fitted on rows of a schema, then any rows become features, costs and numbers beside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from predictors.encoders.scales import Scales
from predictors.schema import Schema

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
NO_GROUP = -1
CHUNK = 8_192  # rows encoded at a time: their features stay in the cache


class Encoder(ABC):
    """From the matrix of ``predictors.reading.read`` to features that one length scale suits.

    Args:
        costs: append the costs, standardised, as logarithms where they spread.
        numbers: append the numbers in the same way.

    After ``fit`` there are ``names`` (d,) of the features, and ``groups`` (d,): index of the stage, or else the place,
    or else the column that a feature is about; NO_GROUP for costs and numbers.
    """

    names: list[str]
    groups: Ints

    def __init__(self, costs: bool = True, numbers: bool = True) -> None:
        self.costs = costs
        self.numbers = numbers

    @classmethod
    def applies(cls, schema: Schema) -> bool:
        """Whether the schema has columns that this encoder is for."""
        return True

    def fit(self, raw: Floats, schema: Schema) -> Self:
        """Freeze scales.

        Args:
            raw: (n, columns) rows to learn from, as ``predictors.reading.read`` gives them.
            schema: of those columns; levels come from it, not from the rows.
        """
        names, groups = self._fit_choices(raw, schema)
        taken = [*(schema.of_kind("cost") if self.costs else ()), *(schema.of_kind("number") if self.numbers else ())]
        self._scales = Scales.of(raw, sorted(taken))
        self.names = [*names, *(schema.columns[at].name for at in sorted(taken))]
        self.groups = np.array([*groups, *[NO_GROUP] * len(taken)], dtype=np.intp)
        return self

    def transform(self, raw: Floats) -> Floats:
        """Features of rows.

        Args:
            raw: (n, columns) of the schema that the encoder was fitted with.
        Returns: (n, d).
        """
        features = np.empty((len(raw), len(self.names)))
        choices = len(self.names) - len(self._scales.columns)
        for start in range(0, len(raw), CHUNK):
            rows = raw[start : start + CHUNK]
            if choices:
                features[start : start + CHUNK, :choices] = self._encode(rows)
            features[start : start + CHUNK, choices:] = self._scales.apply(rows)
        return features

    @abstractmethod
    def _fit_choices(self, raw: Floats, schema: Schema) -> tuple[Sequence[str], Sequence[int]]:
        """Names and groups of the features of the choices."""

    @abstractmethod
    def _encode(self, raw: Floats) -> Floats:
        """(n, d) features of the choices."""


def group_of_columns(schema: Schema) -> list[int]:
    """Group of each column: its stage, or else its place, or else itself."""
    keys = [column.stage or column.place or column.name for column in schema.columns]
    at = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return [at[key] for key in keys]
