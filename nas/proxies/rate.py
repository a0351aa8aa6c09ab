"""What short trainings say about each proxy: correlations, intervals, the difference to mere counting, a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictors.rank import Counts, Estimate, draw, interval, kendall_of, spearman_of, top_k_regret

BASELINES = ("params", "macs", "depth")
COUNTS = ("params", "macs")  # what a proxy must beat
FEWEST = 8
MARGIN = 0.1  # of rho: a proxy that is surely within so much of counting is no better than counting
TOP = 3

Floats = NDArray[np.float64]
Column = Sequence[float | None]


def rate(name: str, scores: Column, counts: Mapping[str, Column], top1: Column, *, seed: int) -> dict[str, Any]:
    """One proxy, on the networks that it scored and whose training came to an end.

    Args:
        name: of the proxy or baseline.
        scores: one a network, higher is better; None where it does not apply.
        counts: "params" and "macs" of each network.
        top1: validation accuracy of each network; None where the training failed.
        seed: of the bootstrap over the networks.
    Returns: JSON-ready: "networks", "spearman", "kendall" (value, low, high), "top3_regret" (accuracy lost by training
        only the three of highest score), "baseline" (the count of higher rho on these networks), "difference" (to its
        rho, paired), "verdict".
    """
    kept = [i for i, (score, acc) in enumerate(zip(scores, top1, strict=True)) if score is not None and acc is not None]
    found: dict[str, Any] = {"name": name, "networks": len(kept)}
    values, accuracy = _take(scores, kept), _take(top1, kept)
    if len(kept) < FEWEST or np.ptp(values) == 0:
        reason = f"only {len(kept)} networks have a score" if len(kept) < FEWEST else "all networks score alike"
        return found | {"applies": False, "verdict": f"does not apply: {reason}"}
    if np.ptp(accuracy) == 0:
        return found | {"applies": False, "verdict": "cannot be told: all networks are equally accurate"}
    resamples = draw(len(kept), seed=seed)
    rho = interval(lambda c: spearman_of(values, accuracy, c), resamples)
    rivals = {count: _take(counts[count], kept) for count in COUNTS}
    found |= {
        "applies": True,
        "spearman": asdict(rho),
        "kendall": asdict(interval(lambda c: kendall_of(values, accuracy, c), resamples)),
        "top3_regret": top_k_regret(values, accuracy, TOP),
    }
    if name in BASELINES:
        return found | {"verdict": "baseline"}
    baseline, difference = compare(values, rivals, accuracy, resamples)
    found |= {"baseline": baseline, "difference": None if difference is None else asdict(difference)}
    return found | {"verdict": judge(rho, baseline, difference, len(kept))}


def compare(
    values: Floats, rivals: Mapping[str, Floats], accuracy: Floats, resamples: Counts
) -> tuple[str | None, Estimate | None]:
    """The rival of higher rho, and by how much the scores' rho is above it (paired); None when no rival varies."""
    varying = {name: rival for name, rival in rivals.items() if np.ptp(rival) > 0}
    if not varying:
        return None, None
    once = np.ones((1, len(accuracy)))
    best = max(varying, key=lambda name: float(spearman_of(varying[name], accuracy, once)[0]))

    def above(counts: Counts) -> Floats:
        return spearman_of(values, accuracy, counts) - spearman_of(varying[best], accuracy, counts)

    return best, interval(above, resamples)


def judge(rho: Estimate, baseline: str | None, difference: Estimate | None, networks: int) -> str:
    """The verdict in words, from the intervals alone."""
    counting = {"params": "counting parameters", "macs": "counting MACs", None: "chance"}.get(baseline, str(baseline))
    unknown = f"cannot be told from chance with {networks} networks"
    if difference is None:
        difference = Estimate(rho.value, rho.low, rho.high)
    verdicts = (
        (rho.high < 0, "misleading: ranks against accuracy"),
        (difference.low > 0 and rho.low > 0, f"better than {counting}"),
        (difference.high < 0, f"worse than {counting}"),
        (difference.high <= MARGIN, f"no better than {counting}"),
        (rho.low <= 0, unknown),
    )
    open_question = f"better than chance; against {counting} it cannot be told with {networks} networks"
    return next((words for holds, words in verdicts if holds), open_question)


def _take(column: Column, kept: Sequence[int]) -> Floats:
    return np.array([column[i] for i in kept], dtype=np.float64)
