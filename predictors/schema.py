"""What the columns of a table of networks mean: choices, numbers and costs. Plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["choice", "number", "cost"]
Level = float | str


class InvalidTable(ValueError):
    """A table cannot be read, or does not have the columns that it should; the message names the place."""


class UnseenChoice(InvalidTable):
    """A network has a choice that no network of the table had; a predictor knows nothing about it."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the numeric table that encoders read.

    Attributes:
        name: as the user knows it: ``block0_k``, ``arch[3]``, a knob's name, ``x12`` of an array.
        kind: "choice" (finitely many values, a design decision), "number" (anything else, such as a proxy's score),
            or "cost" (params, MACs, latency …: known without training, and the baseline).
        levels: of a choice: its values in ascending order when they are numbers, else sorted symbols; () of others.
        place: columns of one place (the same block or edge) are taken to interact; "" where nothing is known.
        stage: places of one stage are taken to interact less, those of different stages least; "" where nothing is
            known.
        optional: whether the choice may not exist, which is NaN in the matrix.
    """

    name: str
    kind: Kind
    levels: tuple[Level, ...] = ()
    place: str = ""
    stage: str = ""
    optional: bool = False

    @property
    def ordered(self) -> bool:
        """Whether the values are numbers, not symbols."""
        return not any(isinstance(level, str) for level in self.levels)


@dataclass(frozen=True)
class Schema:
    """The columns of a table, and how it is read from what the user gives (see ``predictors.reading``).

    ``read`` gives a float64 matrix (n, len(columns)): a number as it is, a symbol as its index among the levels, and
    NaN where a choice does not exist (a block beyond the depth of its stage).

    Attributes:
        columns: in the order of the matrix.
        source: how ``predictors.reading`` finds them in the input; plain JSON-like data.
    """

    columns: tuple[Column, ...]
    source: dict[str, Any]

    def of_kind(self, *kinds: Kind) -> tuple[int, ...]:
        """Positions of the columns of these kinds."""
        return tuple(i for i, column in enumerate(self.columns) if column.kind in kinds)

    @property
    def names(self) -> Sequence[str]:
        """Of the columns."""
        return [column.name for column in self.columns]
