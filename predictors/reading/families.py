"""From the values of columns to their choices: which columns are choices, and which share their levels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictors.reading.sequences import is_number
from predictors.schema import Level

MOST_NUMBERS = 32  # different values of a numeric choice
MOST_FRACTIONS = 12  # of one with values that are not whole
REPEATED = 3  # rows for each of them
MOST_TOKENS = 64  # different numbers at a position of a structure, and different symbols
KNOTS = 33  # levels that stand for more of them


@dataclass(frozen=True)
class Levels:
    """Choices of a column.

    Attributes:
        values: in ascending order when they are numbers.
        ordered: whether they are numbers.
    """

    values: tuple[Level, ...]
    ordered: bool


def shared_levels(seen: Sequence[tuple[str, frozenset[Any]]]) -> list[Levels]:
    """Levels of every column: all that columns of its family have which overlap with it, directly or through others.

    Args:
        seen: family and different values of each column; numbers, or texts, which may be written numbers.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for at, (family, _) in enumerate(seen):
        members[family].append(at)
    found: dict[int, Levels] = {}
    for group in members.values():
        for columns, values in _overlapping(group, seen):
            levels = _levels(values)
            found |= dict.fromkeys(columns, levels)
    return [found[at] for at in range(len(seen))]


def _overlapping(
    group: Sequence[int], seen: Sequence[tuple[str, frozenset[Any]]]
) -> Iterable[tuple[list[int], set[Any]]]:
    parts: list[tuple[list[int], set[Any]]] = []
    for at in group:
        columns, values = [at], set(seen[at][1])
        apart = []
        for other in parts:
            if values.isdisjoint(other[1]):
                apart.append(other)
            else:
                columns, values = other[0] + columns, values | other[1]
        parts = [*apart, (columns, values)]
    return parts


def _levels(values: set[Any]) -> Levels:
    if all(map(is_number, values)):
        numbers = np.unique([float(value) for value in values])
        if len(numbers) > MOST_TOKENS:
            numbers = np.unique(np.quantile(numbers, np.linspace(0, 1, KNOTS), method="nearest"))
        return Levels(tuple(float(value) for value in numbers), True)
    return Levels(tuple(sorted({str(value) for value in values})), False)


def are_choices(columns: NDArray[np.float64]) -> bool:
    """Whether numeric columns of one family are choices: few different values, which repeat.

    Args:
        columns: (n, k); NaN where a choice does not exist.
    """
    values = columns[~np.isnan(columns)]
    if not values.size or not np.isfinite(values).all():
        return False
    different = np.unique(values)
    whole = bool((different == np.round(different)).all())
    most = MOST_NUMBERS if whole else MOST_FRACTIONS
    return len(different) <= most and values.size >= REPEATED * len(different)


def pooled_arrays(columns: NDArray[np.float64], chosen: Sequence[int]) -> bool:
    """Whether choices of an array without names have one alphabet: each has at least half of all values."""
    different = [frozenset(np.unique(columns[:, at])) for at in chosen]
    every = frozenset[float]().union(*different)
    return len(every) <= MOST_NUMBERS and all(2 * len(values) >= len(every) for values in different)
