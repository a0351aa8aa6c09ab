"""How much of the spread of short-training accuracies is chance, and how well a perfect proxy could rank them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from predictors.rank import kendall, spearman

DRAWS = 1_000
LOW, HIGH = 2.5, 97.5


def noise_ceiling(top1: Sequence[float], pairs: Sequence[tuple[float, float]], *, seed: int) -> dict[str, Any]:
    """The correlation that the true order of the networks would have with accuracies as noisy as these.

    The variance between seeds is the mean of (a - b)^2 / 2 over the pairs; what the accuracies vary beyond it is taken
    for real. Truths are drawn by shrinking the accuracies to that variance, then noise is added and both are ranked;
    each draw takes a resample of the pairs, so the interval covers that they are few.

    Args:
        top1: (n,) accuracies of the networks, one training each.
        pairs: accuracies of the networks that were trained twice.
        seed: of the draws.
    Returns: JSON-ready: "pairs", "seed_deviation" and "network_deviation" (standard deviations, unit of top1),
        "spearman" and "kendall", each with "value", "low", "high"; None without pairs.
    """
    if not pairs:
        return {"pairs": 0, "seed_deviation": None, "network_deviation": None, "spearman": None, "kendall": None}
    accuracies = np.array(top1)
    squares = np.array([(a - b) ** 2 / 2 for a, b in pairs])
    total = float(accuracies.var(ddof=1))
    rng = np.random.default_rng((seed, 0x4E_01))
    found: dict[str, list[float]] = {"spearman": [], "kendall": []}
    for i in range(DRAWS):
        noise = float(squares[rng.integers(len(squares), size=len(squares))].mean()) if i else float(squares.mean())
        real = max(0.0, total - noise)
        truth = accuracies.mean() + np.sqrt(real / total if total else 0.0) * (accuracies - accuracies.mean())
        seen = truth + np.sqrt(min(noise, total)) * rng.standard_normal(len(truth))
        for name, of in (("spearman", spearman), ("kendall", kendall)):
            found[name].append(of(truth, seen))
    noise = float(squares.mean())
    return {
        "pairs": len(pairs),
        "seed_deviation": float(np.sqrt(noise)),
        "network_deviation": float(np.sqrt(max(0.0, total - noise))),
        **{name: _spread(values) for name, values in found.items()},
    }


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    sound = np.array([value for value in values if np.isfinite(value)])
    if not len(sound):
        return None
    low, high = np.percentile(sound, [LOW, HIGH])
    return {"value": float(np.median(sound)), "low": float(low), "high": float(high)}
