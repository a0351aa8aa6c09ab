"""What a predictor must beat on a table without costs: the best single quantity of the structure."""

from __future__ import annotations

import numpy as np

from predictors.reading.names import family_of
from predictors.regressor import Floats
from predictors.schema import Schema


def says_something(values: Floats) -> bool:
    """Whether numbers are finite and not all the same."""
    return bool(np.isfinite(values).all() and np.ptp(values) > 0)


def structure_scores(schema: Schema, raw: Floats) -> dict[str, Floats]:
    """Baselines of a table without costs: every number, ordered choice, and sum or count over places of one kind."""
    found: dict[str, Floats] = {}
    families: dict[str, list[int]] = {}
    for at, column in enumerate(schema.columns):
        families.setdefault(family_of(column.name), []).append(at)
        if column.ordered:
            found[column.name] = np.nan_to_num(raw[:, at])
    for family, places in families.items():
        if len(places) < 2:
            continue
        first = schema.columns[places[0]]
        if all(schema.columns[at].ordered for at in places):
            found[f"sum of {family}"] = np.nan_to_num(raw[:, places]).sum(axis=1)
        else:
            for level in first.levels:
                index = [_index(schema, at, level) for at in places]
                found[f"number of {level} in {family}"] = (raw[:, places] == index).sum(axis=1).astype(np.float64)
    return {name: values for name, values in found.items() if says_something(values)}


def _index(schema: Schema, at: int, level: float | str) -> float:
    levels = schema.columns[at].levels
    return float(levels.index(level)) if level in levels else -1.0
