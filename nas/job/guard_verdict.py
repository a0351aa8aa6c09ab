"""What the baseline guard concludes: the searched network against the best baseline, with every source of chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np

TOLERANCE = 1.03  # equal latency: no more than this over the searched network's
LEVEL = 0.05  # of a false "helped" or "did not help" where there is no difference

Row = Mapping[str, Any]


def conclude(rows: Sequence[Row], images: int) -> str:
    """One honest sentence about the searched network and the best baseline that is no slower.

    The standard error of the difference has two parts: the spread between seeds, pooled over all networks, and the
    chance in which ``images`` were held out (binomial; that all networks saw the same images is not used, which is
    on the safe side). The quantile is Student's; it allows for the baseline having been picked as the best of several.

    Args:
        rows: "name", "latency_ms" and "top1" (a list, 0..1, one value per seed); the searched network first.
        images: on which the accuracies were taken.
    """
    searched, *others = rows
    rivals = [row for row in others if row["top1"] and row["latency_ms"] <= TOLERANCE * searched["latency_ms"]]
    if not searched["top1"] or not rivals:
        return "no comparison: no baseline is as fast as the searched network, or trainings diverged"
    best = max(rivals, key=lambda row: float(np.mean(row["top1"])))
    gain = float(np.mean(searched["top1"]) - np.mean(best["top1"]))
    share = best["latency_ms"] / searched["latency_ms"]
    text = f"{100 * gain:+.2f} points against the best baseline ({best['name']}, {share:.2f} of the latency)"
    if min(len(searched["top1"]), len(best["top1"])) < 2:
        return f"{text}; one seed, so no spread: not a conclusion"
    error, freedom = _standard_error(searched, best, rows, images)
    text += f", standard error {100 * error:.2f}"
    if gain > _quantile(LEVEL / 2, freedom) * error:
        return f"the search helped: {text}"
    if gain < -_quantile(LEVEL / 2 / len(rivals), freedom) * error:
        return f"the search did not help: {text}"
    return f"no clear difference: {text}"


def _standard_error(one: Row, other: Row, rows: Sequence[Row], images: int) -> tuple[float, int]:
    """Of the difference of two mean accuracies, and the degrees of freedom of its estimate."""
    repeated = [np.array(row["top1"]) for row in rows if len(row["top1"]) > 1]
    freedom = sum(len(top1) - 1 for top1 in repeated)
    between_seeds = sum(float(((top1 - top1.mean()) ** 2).sum()) for top1 in repeated) / freedom
    variance = sum(between_seeds / len(row["top1"]) + _image_variance(row, images) for row in (one, other))
    return sqrt(variance), freedom


def _image_variance(row: Row, images: int) -> float:
    """Binomial, with one right and one wrong answer added, so that 100 % does not look certain."""
    share = (float(np.mean(row["top1"])) * images + 1) / (images + 2)
    return share * (1 - share) / images


def _quantile(tail: float, freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(1 - tail, freedom))
