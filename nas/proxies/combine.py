"""The rank ensemble of a trust report: its members, their weights, and what it is worth on networks left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from nas.proxies.rate import COUNTS, Column, compare, judge
from nas.proxies.settings import FEWEST
from predictors.rank import draw, interval, kendall_of, spearman, spearman_of
from predictors.rank_ensemble import Member, RankEnsemble, Scale
from predictors.rank_weights import cross_validate, fit_weights
from search_spaces.layers import Shape


def make_ensemble(
    scores: Mapping[str, Column], counts: Mapping[str, Column], top1: Column, *, input_shape: Shape, seed: int
) -> dict[str, Any]:
    """The ensemble of the proxies that may join, from the networks whose training came to an end.

    A proxy joins when it has a score for every such network and not the same for all.

    Returns: JSON-ready, readable by ``RankEnsemble.from_dict``: "members" (none, with a "reason", when no proxy beats
        chance), "left_out", "ridge", and "cross_validated": "spearman", "kendall", "baseline", "difference" to it,
        "best_single" (in hindsight), "difference_to_best_single", "verdict".
    """
    kept = [i for i, accuracy in enumerate(top1) if accuracy is not None]
    complete = {
        name: np.array([column[i] for i in kept], dtype=np.float64)
        for name, column in scores.items()
        if all(column[i] is not None for i in kept)
    }
    joining = {name: values for name, values in complete.items() if len(kept) and np.ptp(values) > 0}
    left_out = [name for name in scores if name not in joining]
    empty: dict[str, Any] = {"members": [], "left_out": left_out, "input_shape": list(input_shape)}
    if len(kept) < FEWEST or not joining:
        return empty | {"reason": f"{len(joining)} proxies and {len(kept)} trained networks are too few"}
    accuracy = np.array([top1[i] for i in kept], dtype=np.float64)
    table = np.stack(list(joining.values()), axis=1)
    fitted = fit_weights(table, accuracy)
    if not fitted.weights.any():
        return empty | {"reason": f"none of {', '.join(joining)} ranks these networks better than chance"}
    members = tuple(
        Member(name, float(weight), Scale(tuple(values.tolist())))
        for (name, values), weight in zip(joining.items(), fitted.weights, strict=True)
        if weight > 0
    )
    rivals = {name: np.array([counts[name][i] for i in kept], dtype=np.float64) for name in COUNTS}
    worth = _worth(cross_validate(table, accuracy), joining, rivals, accuracy, seed)
    plain = RankEnsemble(members, input_shape).to_dict()
    return plain | {"left_out": left_out, "ridge": fitted.ridge, "cross_validated": worth}


def _worth(
    left_out: Any, singles: Mapping[str, Any], rivals: Mapping[str, Any], accuracy: Any, seed: int
) -> dict[str, Any]:
    resamples = draw(len(accuracy), seed=seed)
    rho = interval(lambda c: spearman_of(left_out, accuracy, c), resamples)
    baseline, difference = compare(left_out, rivals, accuracy, resamples)
    best = max(singles, key=lambda name: spearman(singles[name], accuracy))
    _, to_best = compare(left_out, {best: singles[best]}, accuracy, resamples)
    return {
        "networks": len(accuracy),
        "spearman": asdict(rho),
        "kendall": asdict(interval(lambda c: kendall_of(left_out, accuracy, c), resamples)),
        "baseline": baseline,
        "difference": None if difference is None else asdict(difference),
        "best_single": best,
        "difference_to_best_single": None if to_best is None else asdict(to_best),
        "verdict": judge(rho, baseline, difference, len(accuracy)),
    }


def weights_of(ensemble: Mapping[str, Any]) -> Sequence[tuple[str, float]]:
    """(score, weight) of the members, heaviest first."""
    return sorted(((row["score"], row["weight"]) for row in ensemble["members"]), key=lambda row: -row[1])
