"""Ordered choices as one number each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from predictors.encoders.encoder import Encoder, Floats, group_of_columns
from predictors.encoders.hats import Hats, absent_columns
from predictors.schema import Schema


class Ordinal(Encoder):
    """Values scaled to 0..1, absent ones 0 with a feature that says so; symbols one-hot."""

    @classmethod
    def applies(cls, schema: Schema) -> bool:
        """Whether a choice is ordered and has more than two levels."""
        return any(c.ordered and len(c.levels) > 2 for c in schema.columns if c.kind == "choice")

    def _fit_choices(self, raw: Floats, schema: Schema) -> tuple[Sequence[str], Sequence[int]]:
        choices = schema.of_kind("choice")
        ordered = [at for at in choices if schema.columns[at].ordered]
        ends = [(float(schema.columns[at].levels[0]), float(schema.columns[at].levels[-1])) for at in ordered]
        self._ordered = np.array(ordered, np.intp)
        self._low = np.array([low for low, _ in ends])
        self._range = np.array([high - low or 1.0 for low, high in ends])
        symbols = [at for at in choices if not schema.columns[at].ordered]
        self._hats = Hats.on(schema, symbols, absent_columns(raw, schema))
        groups = group_of_columns(schema)
        names = [schema.columns[at].name for at in ordered] + self._hats.names
        return names, [groups[at] for at in (*ordered, *self._hats.of)]

    def _encode(self, raw: Floats) -> Floats:
        scaled = (raw[:, self._ordered] - self._low) / self._range
        return np.hstack([np.nan_to_num(scaled, copy=False, nan=0.0), self._hats.apply(raw)])
