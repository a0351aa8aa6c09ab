"""The whole Pareto front where value and costs are sums over stages: list every stage, prune, merge.

Nothing is assumed inside a stage: any interaction of its blocks, and latencies measured stage by stage, are exact. A
stage of 22,608 configurations keeps some hundred after pruning, and so do the merged stages.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from nas.exact.one_budget import undominated
from nas.exact.program import NothingFeasible
from predictors.models.bilinear_structure import Floats, Indices, Stage

MOST_POINTS = 200_000  # of a front of several costs
BLOCK = 512  # rows that are compared at once
STRONG = 256  # rows that all others are held against first


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
    """Entries that no other one beats, cheapest first; of equal ones the first."""
    if costs.shape[1] == 1:
        return undominated(costs[:, 0], values)
    order = np.lexsort((-values, *costs.T[::-1]))  # so an entry can only be beaten by an earlier one
    if costs.shape[1] == 2:
        return order[_staircase(costs[order, 1], values[order])]
    points = np.column_stack([costs, -values])[order]
    rows = np.flatnonzero(~_beaten(points, points[_strong(points)]))
    kept = np.empty(0, np.intp)
    for block in np.array_split(rows, max(1, len(rows) // BLOCK)):
        left = block[~_beaten(points[block], points[block])]
        left = left[~_beaten(points[left], points[kept])]
        kept = np.concatenate([kept, left])
    return order[kept]


def _staircase(costs: Floats, values: Floats) -> NDArray[np.intp]:
    """Rows that no earlier one beats in cost and value, by the best value at every cost so far."""
    kept, steps, tops = [], [-np.inf], [-np.inf]  # what one may pay and the most that it brings; both ascend
    for row, (cost, value) in enumerate(zip(costs.tolist(), values.tolist(), strict=True)):
        at = bisect_right(steps, cost)
        if tops[at - 1] >= value:
            continue
        kept.append(row)
        first = bisect_left(steps, cost)
        last = bisect_right(tops, value, lo=first)  # steps that cost as much or more and bring no more
        steps[first:last], tops[first:last] = [cost], [value]
    return np.array(kept, np.intp)


def _strong(points: Floats) -> NDArray[np.intp]:
    """Some rows that beat many: the best ones by random weights."""
    scaled = (points - points.min(axis=0)) / np.maximum(np.ptp(points, axis=0), 1e-300)
    weights = np.random.default_rng(0).dirichlet(np.ones(points.shape[1]), STRONG)
    return np.unique((scaled @ weights.T).argmin(axis=0))


def _beaten(points: Floats, others: Floats) -> NDArray[np.bool_]:
    """(n,) whether one of the others is nowhere larger and somewhere smaller."""
    found = np.zeros(len(points), np.bool_)
    for start in range(0, len(others), BLOCK):
        part = others[start : start + BLOCK]
        for first in range(0, len(points), BLOCK):
            rows = first + np.flatnonzero(~found[first : first + BLOCK])
            no_larger = np.ones((len(rows), len(part)), np.bool_)
            smaller = np.zeros((len(rows), len(part)), np.bool_)
            for column in range(points.shape[1]):
                no_larger &= part[:, column] <= points[rows, column, None]
                smaller |= part[:, column] < points[rows, column, None]
            found[rows] = (no_larger & smaller).any(axis=1)
    return found


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
