"""Columns on their way into a schema: what is known of each before levels and kinds are settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictors.reading.sequences import is_number
from predictors.reading.tokens import ABSENT, Tokens
from predictors.schema import Kind

NUMBERS = -1  # the part of columns that are numbers in the input


@dataclass
class Draft:
    """A column that may come into the schema.

    Attributes:
        name: of the column.
        family: columns of one family may share levels.
        part: which structure it comes from; NUMBERS for a numeric field.
        take: position among the tokens of the part, or among the numeric fields.
        seen: its different values.
        kind: as in the schema.
        optional: whether the choice is absent in some row.
        place, stage: as in the schema.
    """

    name: str
    family: str
    part: int
    take: int
    seen: frozenset[Any]
    kind: Kind = "choice"
    optional: bool = False
    place: str = ""
    stage: str = ""


@dataclass
class Part:
    """A structure that was read from one field.

    Attributes:
        field: name in the input.
        form: key into ``structures.READERS``.
        spec: how it is read; plain data.
        tokens: of the rows.
        gates: (token, deciding token's part, its position there, depth): a token exists where the deciding one,
            a depth, is above ``depth``.
    """

    field: str
    form: str
    spec: dict[str, Any]
    tokens: Tokens
    gates: list[tuple[int, int, int, int]] = dataclass_field(default_factory=list)

    def full_name(self, take: int) -> str:
        """Name of a column of this part."""
        return self.field + self.tokens.names[take]

    def seen(self) -> list[frozenset[Any]]:
        """Different symbols at each position, without absence."""
        symbols, codes = self.tokens.symbols, self.tokens.codes
        found = []
        for column in codes.T:
            at = np.flatnonzero(np.bincount(column[column != ABSENT], minlength=len(symbols)))
            found.append(frozenset(symbols[i] for i in at if symbols[i] is not None))
        return found

    def absent(self) -> NDArray[np.bool_]:
        """(k,) whether a position is absent in some row."""
        codes = self.tokens.codes
        missing = codes == ABSENT
        if None in self.tokens.symbols:
            missing |= codes == self.tokens.symbols.index(None)
        return np.asarray(missing.any(axis=0))


def numbers_of(tokens: Tokens, take: Sequence[int]) -> NDArray[np.float64] | None:
    """(n, len(take)) tokens as numbers; None where one is absent or is no number."""
    codes = tokens.codes[:, list(take)]
    if not codes.size or codes.min() == ABSENT:
        return None
    table = np.full(len(tokens.symbols), np.nan)
    for at in np.unique(codes).tolist():
        if not is_number(tokens.symbols[at]):
            return None
        table[at] = float(tokens.symbols[at])
    return np.asarray(table[codes])
