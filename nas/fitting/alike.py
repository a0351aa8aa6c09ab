"""Columns that are labels themselves: known only after the work that a predictor is to save."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from predictors.rank import Floats, kendall
from predictors.reading.names import family_of, is_cost

SAME_ORDER = 0.9  # |tau| from which on a column ranks as the target does
MOST_ROWS = 2_000  # looked at
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
TRAINED = frozenset(
    {
        *("acc", "accs", "accuracy", "accuracies", "top", "val", "valid", "validation", "test", "train", "training"),
        *("trained", "loss", "losses", "err", "error", "errors", "rank", "ranks", "map", "miou", "iou", "auc"),
        *("psnr", "ppl", "perplexity", "bleu", "std", "stddev", "stdev"),
    }
)
MEASURED = frozenset(("latency", "throughput", "fps", "energy", "power", "time", "runtime"))


def words_of(name: str) -> frozenset[str]:
    """``c10_val12`` and ``ValAcc`` as lower-case words."""
    return frozenset(word.lower() for word in _WORD.findall(name))


def alike(target: str, labels: Floats, columns: Mapping[str, Floats]) -> tuple[dict[str, str], dict[str, float]]:
    """Which numeric columns are other labels.

    By name: a column that is named after training (accuracy, validation, loss, rank …) when the target is a result of
    training or a measurement. By name and values: a name that differs from the target's in digits alone, with a tau of
    at least ``SAME_ORDER``. By values alone a column is only suspected.

    Args:
        target: name of the column of labels.
        labels: (n,) finite.
        columns: (n,) by name, without the target.
    Returns: reasons of those that are labels by name; taus of those that are suspected and are no costs.
    """
    seen = np.linspace(0, len(labels) - 1, min(len(labels), MOST_ROWS)).astype(np.intp)
    known_late = not words_of(target).isdisjoint(TRAINED | MEASURED) or is_cost(target)
    labelled: dict[str, str] = {}
    suspected: dict[str, float] = {}
    for name, values in columns.items():
        tau = _tau(values[seen], labels[seen])
        same_order = abs(tau) >= SAME_ORDER
        if known_late and not words_of(name).isdisjoint(TRAINED):
            labelled[name] = f"by its name known only after training; tau {tau:.2f} with the target"
        elif same_order and family_of(name) == family_of(target):
            labelled[name] = f"by its name and values the same label again; tau {tau:.2f} with the target"
        elif same_order and not is_cost(name):
            suspected[name] = tau
    return labelled, suspected


def _tau(values: Floats, labels: Floats) -> float:
    """Of the rows where the column has a number; 0 where there are too few or they are all equal."""
    sound = np.isfinite(values)
    if sound.sum() < 2:
        return 0.0
    return float(np.nan_to_num(kendall(values[sound], labels[sound])))
