"""Each level of each choice its own feature."""

from __future__ import annotations

from collections.abc import Sequence

from predictors.encoders.encoder import Encoder, Floats, group_of_columns
from predictors.encoders.hats import Hats, absent_columns
from predictors.schema import Schema


class OneHot(Encoder):
    """1 for the chosen level; a choice that does not exist is 0 in all its levels and 1 in its absence."""

    def _fit_choices(self, raw: Floats, schema: Schema) -> tuple[Sequence[str], Sequence[int]]:
        self._hats = Hats.on(schema, schema.of_kind("choice"), absent_columns(raw, schema))
        groups = group_of_columns(schema)
        return self._hats.names, [groups[at] for at in self._hats.of]

    def _encode(self, raw: Floats) -> Floats:
        return self._hats.apply(raw)
