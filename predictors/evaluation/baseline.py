"""The baseline that stands beside every predictor: one known column, such as MACs, with the sign that fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictors.evaluation.folds import Rows, Split
from predictors.rank import Floats, kendall

MOST_ROWS = 2_000  # looked at when the column is chosen; more would not change the choice
Columns = dict[str, Floats]


@dataclass(frozen=True, slots=True)
class CostBaseline:
    """One column as a score.

    Attributes:
        column: its name.
        sign: 1 when more of it goes with higher labels, else -1.
    """

    column: str
    sign: int

    def score(self, columns: Mapping[str, Floats], rows: Rows) -> Floats:
        """(rows,) higher is better."""
        return self.sign * columns[self.column][rows]


def baseline_columns(X: Any, costs: Any = None) -> Columns:
    """The columns that a baseline may choose from: the costs, or without costs every numeric column of the table.

    Args:
        X: what the model reads; a DataFrame or a 2-D numeric array has columns, anything else has none.
        costs: (n,), (n, c), a DataFrame or a mapping of names to (n,) arrays; None when there are none.
    Returns: (n,) arrays by name, only finite ones that are not constant; empty when there is nothing to choose from.
    """
    named = _named(X if costs is None else costs, "x" if costs is None else "cost")
    return {name: values for name, values in named.items() if np.isfinite(values).all() and np.ptp(values) > 0}


def choose_baseline(columns: Mapping[str, Floats], labels: ArrayLike, rows: Rows) -> CostBaseline | None:
    """The column with the largest absolute Kendall's tau on these rows; None without columns that vary there."""
    y = np.asarray(labels, dtype=np.float64)
    seen = rows[np.linspace(0, len(rows) - 1, MOST_ROWS).astype(np.intp)] if len(rows) > MOST_ROWS else rows
    taus = {name: kendall(values[seen], y[seen]) for name, values in columns.items()}
    sound = {name: tau for name, tau in taus.items() if np.isfinite(tau)}
    if not sound:
        return None
    best = max(sound, key=lambda name: abs(sound[name]))
    return CostBaseline(best, 1 if sound[best] >= 0 else -1)


def baseline_scores(
    columns: Mapping[str, Floats], labels: ArrayLike, splits: list[Split]
) -> tuple[list[Floats], str | None]:
    """Scores of the test rows of each split by the column chosen on its training rows.

    Returns: one array a split (0 everywhere where no column could be chosen), and the column chosen most often; the
        pair ([], None) without columns.
    """
    if not columns:
        return [], None
    chosen = [choose_baseline(columns, labels, train) for train, _ in splits]
    names = [found.column for found in chosen if found]
    if not names:
        return [], None
    scores = [
        found.score(columns, test) if found else np.zeros(len(test))
        for found, (_, test) in zip(chosen, splits, strict=True)
    ]
    return scores, max(sorted(set(names)), key=names.count)


def _named(table: Any, prefix: str) -> Columns:
    if isinstance(table, Mapping):
        return {str(name): np.asarray(values, np.float64) for name, values in table.items()}
    if hasattr(table, "select_dtypes"):
        numeric = table.select_dtypes("number")
        return {str(name): np.asarray(numeric[name], np.float64) for name in numeric.columns}
    array: NDArray[Any] = np.asarray(table) if isinstance(table, np.ndarray | list | tuple) else np.empty(0, object)
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2):
        return {}
    array = array.reshape(len(array), -1).astype(np.float64)
    single = array.shape[1] == 1
    return {prefix if single else f"{prefix}{i}": array[:, i] for i in range(array.shape[1])}
