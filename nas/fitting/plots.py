"""What the card draws, as plain data: parity, errors by choice, calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.fitting.facts import Judged
from nas.fitting.table import LabelledTable
from predictors.evaluation.crossvalidate import plain
from predictors.evaluation.out_of_fold import LEVELS
from predictors.evaluation.report_data import calibration, errors_by_family
from predictors.rank import Floats

POINTS = 1_500  # networks drawn
SHOWN = 12  # choices
STATED = LEVELS.index(0.9)


def plots_of(judged: Judged) -> dict[str, Any]:
    """All of it, JSON-ready; values in the unit of the labels."""
    found, table, sign = judged.evaluation, judged.table, judged.sign
    errors = errors_by_family(_choices(table), sign * found.out_of_fold.mean.mean(axis=0), table.labels)
    made: dict[str, Any] = plain(
        {
            "parity": _parity(judged),
            "errors": {"looked_at": len(errors), "rows": errors[:SHOWN]},
            "calibration": calibration(found.out_of_fold, sign * table.labels, groups=table.networks),
        }
    )
    return made


def _choices(table: LabelledTable) -> dict[str, NDArray[Any]]:
    """(n,) levels of every choice of the schema; "absent" where it does not exist."""
    found = {}
    for at, column in enumerate(table.schema.columns):
        if column.kind != "choice":
            continue
        values = table.raw[:, at]
        levels = [f"{level:g}" if isinstance(level, float) else str(level) for level in column.levels]
        place = (
            np.searchsorted(np.array(column.levels, np.float64), values) if column.ordered else np.nan_to_num(values)
        )
        names = np.array([*levels, "absent"])
        found[column.name] = names[np.where(np.isnan(values), len(levels), place).astype(np.intp)]
    return found


def _parity(judged: Judged) -> dict[str, Any]:
    """Predictions of the first repeat with their 90 % intervals; of many networks, a sample spread over the labels."""
    kept_out, sign = judged.evaluation.out_of_fold, judged.sign
    order = np.argsort(judged.table.labels, kind="stable")
    kept = order[np.linspace(0, len(order) - 1, min(len(order), POINTS)).astype(np.intp)]
    ends: list[Floats] = []
    if kept_out.low is not None and kept_out.high is not None:
        ends = [sign * kept_out.low[STATED, 0, kept], sign * kept_out.high[STATED, 0, kept]]
    low, high = ends[::sign] if ends else (None, None)
    return {
        "label": judged.table.labels[kept],
        "predicted": sign * kept_out.mean[0, kept],
        "low": low,
        "high": high,
        "drawn": len(kept),
        "rows": len(order),
    }
