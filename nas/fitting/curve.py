"""The learning curve of a fit: whether more labels would help."""

from __future__ import annotations

from typing import Any

import numpy as np

from nas.fitting.folds import OnRows, Progress
from nas.fitting.learner import Learner
from nas.fitting.table import LabelledTable
from predictors.evaluation import TooFewRows
from predictors.evaluation.crossvalidate import plain
from predictors.evaluation.learning_curve import learning_curve

REPEATS = 3


def curve_of(table: LabelledTable, learner: Learner, sign: int, progress: Progress) -> list[dict[str, Any]]:
    """Points of ``predictors.evaluation.learning_curve``, JSON-ready; none where there are too few networks."""
    done = 0

    def fresh() -> OnRows:
        nonlocal done
        done += 1
        progress(f"learning curve, fit {done}", None)
        return OnRows(table, learner, sign)

    try:
        points = learning_curve(
            fresh,
            np.arange(len(table.labels)),
            sign * table.labels,
            repeats=REPEATS,
            seed=learner.seed,
            costs=table.baselines,
            groups=table.networks,
        )
    except TooFewRows:
        return []
    made: list[dict[str, Any]] = plain(list(points))
    return made
