"""The whole Pareto front where value and costs are sums over stages: list every stage, prune, merge.

Nothing is assumed inside a stage: any interaction of its blocks, and latencies measured stage by stage, are exact. A
stage of 22,608 configurations keeps some hundred after pruning, and so do the merged stages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from nas.exact.one_budget import undominated
from nas.exact.program import NothingFeasible
from predictors.models.bilinear_structure import Floats, Indices, Stage

MOST_POINTS = 200_000  # of a front of several costs


class FrontTooLarge(ValueError):
    """Several costs leave more networks that none beats than can be listed."""


@dataclass(frozen=True, slots=True, eq=False)
class StageOptions:
    """All configurations of one stage.

    Attributes:
        values: (n,) what each adds; higher is better.
        costs: (n, r) of each, resource by resource.
    """

    values: Floats
    costs: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """Networks that no other one beats in value and all costs, cheapest first.

    Attributes:
        values: (n,).
        costs: (n, r).
        options: (n, stages) chosen option of each stage.
    """

    values: Floats
    costs: Floats
    options: Indices

    def best_within(self, at_most: Sequence[float]) -> int:
        """Position of the best network under budgets, one a cost; raises NothingFeasible."""
        kept = (self.costs <= np.asarray(at_most, np.float64)).all(axis=1)
        if not kept.any():
            least = ", ".join(f"{value:.6g}" for value in self.costs.min(axis=0))
            raise NothingFeasible(f"front: no network keeps {list(at_most)}; the least of each cost is {least}")
        return int(np.where(kept, self.values, -np.inf).argmax())


def pareto_front(stages: Sequence[StageOptions], *, value: float = 0.0, costs: Sequence[float] | None = None) -> Front:
    """The exact front of all combinations of one option a stage.

    Args:
        stages: their options.
        value: of what has no choice.
        costs: likewise, one a resource; None for zeros.
    Raises: FrontTooLarge: only with several costs.
    """
    fixed = np.zeros(stages[0].costs.shape[1]) if costs is None else np.asarray(costs, np.float64)
    front = Front(np.array([value]), fixed[None], np.zeros((1, 0), np.intp))
    for stage in stages:
        front = _merged(front, stage)
    return front


def _merged(front: Front, stage: StageOptions) -> Front:
    kept = _nondominated(stage.costs, stage.values)
    values = (front.values[:, None] + stage.values[kept]).ravel()
    costs = (front.costs[:, None, :] + stage.costs[kept][None]).reshape(len(values), -1)
    order = _nondominated(costs, values)
    if len(order) > MOST_POINTS:
        raise FrontTooLarge(
            f"front: {len(order):,} networks that none beats, more than {MOST_POINTS:,}; give budgets to the exact "
            "program instead, or fewer costs"
        )
    before, choice = order // len(kept), kept[order % len(kept)]
    return Front(values[order], costs[order], np.column_stack([front.options[before], choice]))


def _nondominated(costs: Floats, values: Floats) -> NDArray[np.intp]:
    """Entries that no other one beats, cheapest first."""
    if costs.shape[1] == 1:
        return undominated(costs[:, 0], values)
    order = np.lexsort((-values, *costs.T[::-1]))
    kept: list[int] = []
    sums, tops = np.empty((0, costs.shape[1])), np.empty(0)
    for block in np.array_split(order, max(1, len(order) // 512)):  # one comparison with what is kept for many at once
        left = block
        if kept:
            beaten = ((sums[None] <= costs[left][:, None]).all(axis=2) & (tops >= values[left][:, None])).any(axis=1)
            left = left[~beaten]
        for at in left:
            if not any(
                (costs[other] <= costs[at]).all() and values[other] >= values[at] for other in kept[len(tops) :]
            ):
                kept.append(int(at))
        sums, tops = costs[kept], values[kept]
    return np.array(kept, np.intp)


def stage_configurations(stage: Stage) -> tuple[Indices, Indices]:
    """Every configuration of one stage: (n,) depths and (n, blocks) configurations, 0 at absent blocks."""
    depths, configs = [], []
    for depth in stage.depths:
        ranges = [range(count) if block < depth else range(1) for block, count in enumerate(stage.configs)]
        rows = np.array(list(product(*ranges)), np.intp)
        configs.append(rows)
        depths.append(np.full(len(rows), depth, np.intp))
    return np.concatenate(depths), np.concatenate(configs)


def stage_options(
    stage: Stage,
    value: Callable[[Indices, Indices], Floats],
    costs: Sequence[Callable[[Indices, Indices], Floats]],
) -> StageOptions:
    """The options of a stage by functions of its configurations.

    Args:
        stage: its depths and configurations.
        value: of (n,) depths and (n, blocks) configurations -> (n,).
        costs: likewise, one a resource.
    """
    depths, configs = stage_configurations(stage)
    return StageOptions(value(depths, configs), np.column_stack([cost(depths, configs) for cost in costs]))
