"""The whole of ``netwright predict``: what a predictor says of the networks of a table, and how far to trust it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nas.fitting.gaps import InvalidColumns
from nas.fitting.table import near
from predictors.conformal import TooFewLabels, conformal_quantile, rank_needed
from predictors.novelty import NoveltyWarning
from predictors.regressor import Floats

OURS = ("predicted", "predicted_std", "predicted_low", "predicted_high", "predicted_bound", "outside")
UNLIKE = 0.05  # p-value up to which a network lies outside


@dataclass(frozen=True)
class Predicted:
    """Predictions.

    Attributes:
        rows: (n rows) with the columns ``OURS`` and the index of the table given: mean, standard deviation, ends of
            the interval, the bound that the label is at least as good as, and whether the network lies outside of what
            the predictor has learned from.
        warnings: sentences that a user must see.
        ignored: columns of the table that the predictor does not need.
    """

    rows: pd.DataFrame
    warnings: tuple[str, ...]
    ignored: tuple[str, ...]


def predict_table(
    predictor: Any, frame: pd.DataFrame, *, coverage: float = 0.9, lower_is_better: bool = False
) -> Predicted:
    """Predict the networks of a table.

    Args:
        predictor: a fitted ``AutoPredictor``.
        frame: with the columns of the fitted table; further ones are ignored.
        coverage: of the intervals and of the one-sided bound, between 0 and 1.
        lower_is_better: the bound is then an upper one.
    Raises: InvalidTable, UnseenChoice, InvalidColumns, InvalidCoverage.
    """
    data, ignored = _needed(predictor, frame)
    mean, deviations, said = _predicted(predictor, data)
    rows = pd.DataFrame({"predicted": mean, "predicted_std": deviations}, index=frame.index)
    try:
        rank_needed(len(predictor.scores_), coverage)
        width = conformal_quantile(np.abs(predictor.scores_), coverage)
        sign = -1 if lower_is_better else 1
        rows["predicted_low"], rows["predicted_high"] = mean - width * deviations, mean + width * deviations
        rows["predicted_bound"] = mean - sign * conformal_quantile(-sign * predictor.scores_, coverage) * deviations
    except TooFewLabels as error:
        rows[["predicted_low", "predicted_high", "predicted_bound"]] = np.nan
        said.append(f"no intervals: {error}")
    rows["outside"] = predictor.novelty(data) <= UNLIKE
    return Predicted(rows[list(OURS)], tuple(said), tuple(ignored))


def _needed(predictor: Any, frame: pd.DataFrame) -> tuple[Any, list[str]]:
    """What the predictor reads of a table, and the names of the rest."""
    source = predictor.schema_.source
    names = [str(name) for name in frame.columns]
    if source.get("input") == "frame":
        wanted = [*source["fields"], *(name for name in source["constants"] if name in names)]
        missing = [name for name in source["fields"] if name not in names]
        if missing:
            hint = near(missing[0], [name for name in names if name not in source["fields"]])
            raise InvalidColumns(f"table: no column {missing[0]!r}, which the predictor needs; {hint}")
        return frame[list(dict.fromkeys(wanted))], [name for name in names if name not in wanted]
    if source.get("input") == "array":
        numeric = frame.select_dtypes("number")
        return numeric.to_numpy(np.float64), [name for name in names if name not in numeric.columns]
    texts = [name for name in names if frame[name].dtype == object]
    if len(texts) != 1:
        raise InvalidColumns(f"table: {len(texts)} columns of text, expected one of structures, as the fitted networks")
    return frame[texts[0]].tolist(), [name for name in names if name != texts[0]]


def _predicted(predictor: Any, data: Any) -> tuple[Floats, Floats, list[str]]:
    """Means, standard deviations, and what the predictor warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NoveltyWarning)
        mean, deviations = predictor.predict(data, return_std=True)
    return mean, deviations, [str(one.message) for one in caught if issubclass(one.category, NoveltyWarning)]
