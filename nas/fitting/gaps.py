"""Columns of numbers with gaps, infinities, or values that stand for a failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from predictors.reading import schema_of
from predictors.regressor import Floats

LARGEST = 1e150  # its square is still a number
HEADER = 2  # the first network stands in the second line of a file
FAR = 1_000  # times the spread of the middle half: no measured value


class InvalidColumns(ValueError):
    """A column that is asked for is not there or cannot be what it should be; the message names it."""


def finite_columns(
    frame: pd.DataFrame, names: Sequence[str], costs: Sequence[str], asked: bool
) -> tuple[list[str], dict[str, str]]:
    """Leave out columns of numbers with gaps or infinities; refuse them where they were asked for.

    A gap in a choice is no fault: there the choice does not exist.
    """
    numbers = numbers_of(frame, names)
    huge = {name for name, values in numbers.items() if (np.abs(values) > LARGEST).any()}
    rest = [name for name in names if name not in huge]
    schema = schema_of(frame[rest], costs=[name for name in costs if name in rest]) if rest else None
    measured = {column.name for column in (schema.columns if schema else ()) if column.kind != "choice"}
    broken = {}
    for name in [name for name in numbers if name in huge | measured]:
        values = numbers[name]
        bad = np.flatnonzero(~(np.abs(values) <= LARGEST))
        if not len(bad):
            continue
        said = said_of(values[bad[0]])
        if asked:
            raise InvalidColumns(f"--features {name!r}: line {bad[0] + HEADER} is {said}, expected finite numbers")
        broken[name] = f"{said} in {len(bad)} of {len(values)} rows"
    return [name for name in names if name not in broken], broken


def stand_ins(columns: Mapping[str, Floats]) -> list[str]:
    """Warnings of values that are far from all others, as programs write them for a failure."""
    found = []
    for name, values in columns.items():
        if not np.isfinite(values).all():
            continue
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        far = np.flatnonzero(np.abs(values - middle) > FAR * (high - low))
        if high > low and len(far):
            found.append(
                f"column {name!r} is {values[far[0]]:g} in line {far[0] + HEADER}, far from all others: does it stand "
                f"for a failure? leave such lines out ({len(far)}), or the column with --drop {name!r}"
            )
    return found


def numbers_of(frame: pd.DataFrame, names: Sequence[str]) -> dict[str, Floats]:
    """(n,) by name, of the columns that hold numbers."""
    return {name: frame[name].to_numpy(np.float64) for name in names if frame[name].dtype.kind in "fiub"}


def said_of(value: float) -> str:
    """A value that is no number to learn from, in words."""
    return "missing" if np.isnan(value) else f"{value:g}"
