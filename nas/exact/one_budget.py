"""One budget: the exact optimum by merging lists of choices, faster than branch and bound where choices are alike.

For given depths of all stages the program is a multiple-choice knapsack. Its linear relaxation is a minimum over one
price of the budget; at that price every choice falls short of the best one of its block by some amount, and a network
whose shortfalls add up to more than the distance between the relaxation and a known network cannot be better than it.
What is left is listed for two halves of the blocks, without dominated entries, and the halves are matched.
Source: reduced-cost pruning and lists as in Pisinger 1995, "A minimal algorithm for the multiple-choice knapsack
problem", and Horowitz, Sahni 1974. Deviations: all depths at once are branches; a list that grows too long is thinned,
and the result then counts only where it comes within a millionth of the relaxation.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod

import numpy as np
from numpy.typing import NDArray

from nas.exact.program import RELATIVE_GAP, BilinearProgram, Resource, Solution
from predictors.models.bilinear_structure import Floats, Indices

MOST_DEPTHS = 4_096  # combinations of depths
MOST_ENTRIES = 20_000  # of a list that is merged on
MOST_UNPROVEN = 16  # combinations of depths with thinned lists, until another one reaches their bound
ROUNDING = 1e-9  # of the largest effect: differences that count as none
SUMMING = 1e-14  # of all sizes: differences between orders of summation


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Choices of one block."""

    values: Floats
    costs: Floats

    def prices(self) -> Floats:
        """Prices at which the best choice changes: slopes of the upper hull."""
        order = np.lexsort((-self.values, self.costs))
        hull: list[int] = []
        for at in order:
            if hull and self.values[at] <= self.values[hull[-1]]:
                continue
            while len(hull) > 1 and self._slope(hull[-2], hull[-1]) <= self._slope(hull[-1], at):
                hull.pop()
            hull.append(int(at))
        return np.array([self._slope(a, b) for a, b in pairwise(hull)])

    def _slope(self, a: int, b: int) -> float:
        return float((self.values[b] - self.values[a]) / max(self.costs[b] - self.costs[a], 1e-300))


@dataclass(frozen=True, slots=True, eq=False)
class _Lists:
    """Combinations of some blocks: sums, sorted by cost, values ascending; of each merge where entries came from."""

    values: Floats
    costs: Floats
    shortfalls: Floats
    steps: tuple[tuple[Indices, Indices], ...]
    whole: bool

    def choices(self, at: int) -> list[int]:
        """Of every block the choice of entry ``at``."""
        found = []
        for before, choice in reversed(self.steps):
            found.append(int(choice[at]))
            at = int(before[at])
        return found[::-1]


class _OneBudget:
    """The program's arrays, and all combinations of depths with their relaxations."""

    def __init__(self, program: BilinearProgram, resource: Resource) -> None:
        self.program, self.room = program, resource.at_most - resource.fixed
        structure = program.structure
        starts = structure.alpha_starts
        self.blocks = [_Block(program.configs[a:b], resource.configs[a:b]) for a, b in pairwise(starts)]
        self.depths = np.array(list(product(*(stage.depths for stage in structure.stages))))
        places = structure.places(self.depths, np.zeros((len(self.depths), len(self.blocks)), np.intp))
        self.exists = places[2]
        self.values: Floats = program.base + program.depths[places[0]].sum(axis=1)
        self.costs: Floats = resource.depths[places[0]].sum(axis=1)
        sizes = abs(self.room) + np.abs(self.costs).max() + sum(np.abs(block.costs).max() for block in self.blocks)
        self.summing = SUMMING * float(sizes)
        self.rounding = ROUNDING * max(1e-300, np.abs(program.configs).max(), np.abs(program.depths).max())

    def near(self, value: float) -> float:
        """A bound that lies so much above a value proves it."""
        return max(self.rounding, RELATIVE_GAP * abs(value - self.program.base)) if np.isfinite(value) else 0.0

    def relax(self) -> tuple[Floats, Floats]:
        """Of each combination of depths: upper bound, -inf where no network keeps the budget, and the price."""
        prices = np.unique(np.concatenate([np.zeros(1), *(block.prices() for block in self.blocks)]))
        best = np.array([(block.values[:, None] - block.costs[:, None] * prices).max(axis=0) for block in self.blocks])
        bounds = self.exists @ best + self.values[:, None] - (self.costs - self.room)[:, None] * prices
        least = self.costs + self.exists @ np.array([block.costs.min() for block in self.blocks])
        kept = least <= self.room + self.summing
        lowest = bounds.argmin(axis=1)
        return np.where(kept, bounds.min(axis=1), -np.inf), prices[lowest]

    def search(self, at: int, price: float, bound: float, known: float) -> tuple[float, list[int], float]:
        """Best network of one combination of depths.

        Returns: its value and its choices, -inf and none where it is no better than ``known``; and an upper bound on
        all networks of these depths that are better than ``known``.
        """
        blocks = [block for block, there in zip(self.blocks, self.exists[at], strict=True) if there]
        short = [_shortfalls(block, price) for block in blocks]
        everything = sum(float(each.max()) for each in short)
        allowed = float(np.sort(np.concatenate(short))[min(2 * len(blocks), sum(map(len, short)) - 1)])
        allowed = max(allowed, self.rounding)
        best: tuple[float, list[int]] = (-np.inf, [])
        while True:
            allowed = min(allowed, bound - max(known, best[0]) + self.rounding)
            found, whole = self._match(at, blocks, short, allowed)
            if found is not None and found[0] > max(known, best[0]):
                best = found
            level = max(known, best[0])
            if level >= bound - self.rounding or not whole:
                return (*best, bound)
            if allowed >= min(bound - level, everything):
                return (*best, level)
            allowed *= 4

    def _match(
        self, at: int, blocks: list[_Block], short: list[Floats], allowed: float
    ) -> tuple[tuple[float, list[int]] | None, bool]:
        """The best pair of entries of the two halves that keeps the budget, and whether the lists were whole."""
        half = len(blocks) // 2
        left, right = (_listed(blocks[part], short[part], allowed) for part in (slice(half), slice(half, None)))
        room = self.room - self.costs[at] + self.summing
        last = np.searchsorted(right.costs, room - left.costs, side="right") - 1
        kept = last >= 0
        if not kept.any():
            return None, left.whole and right.whole
        sums = np.where(kept, left.values + right.values[np.maximum(last, 0)], -np.inf)
        pick = int(sums.argmax())
        choices = left.choices(pick) + right.choices(int(last[pick]))
        return (float(self.values[at] + sums[pick]), choices), left.whole and right.whole


def _shortfalls(block: _Block, price: float) -> Floats:
    reduced = block.values - price * block.costs
    found: Floats = reduced.max() - reduced
    return found


def _listed(blocks: list[_Block], short: list[Floats], allowed: float) -> _Lists:
    """All undominated combinations with shortfalls of at most ``allowed``."""
    zero = np.zeros(1)
    found = _Lists(zero, zero, zero, (), True)
    for block, own in zip(blocks, short, strict=True):
        found = _thinned(found)
        choices = np.flatnonzero(own <= allowed)
        shortfalls = (found.shortfalls[:, None] + own[choices]).ravel()
        kept = np.flatnonzero(shortfalls <= allowed)
        before, choice = kept // len(choices), choices[kept % len(choices)]
        costs = found.costs[before] + block.costs[choice]
        values = found.values[before] + block.values[choice]
        order = undominated(costs, values)
        step = (before[order], choice[order])
        found = _Lists(values[order], costs[order], shortfalls[kept][order], (*found.steps, step), found.whole)
    return found


def _thinned(lists: _Lists) -> _Lists:
    """At most ``MOST_ENTRIES``, evenly by cost, so that few of the many in the middle and most of the rare remain."""
    if len(lists.values) <= MOST_ENTRIES:
        return lists
    some = np.unique(np.searchsorted(lists.costs, np.linspace(lists.costs[0], lists.costs[-1], MOST_ENTRIES)))
    *early, (before, choice) = lists.steps
    steps = (*early, (before[some], choice[some]))
    return _Lists(lists.values[some], lists.costs[some], lists.shortfalls[some], steps, False)


def undominated(costs: Floats, values: Floats) -> NDArray[np.intp]:
    """Entries that no other one beats in cost and value, cheapest first; of equal ones the first."""
    order = np.lexsort((-values, costs))
    best = np.maximum.accumulate(values[order])
    rises = np.concatenate([[True], best[1:] > best[:-1]]) if len(order) else np.zeros(0, np.bool_)
    return np.asarray(order[rises], np.intp)


def solve_one_budget(program: BilinearProgram, *, seconds: float = 60.0) -> Solution | None:
    """The best network under the program's only budget, proven.

    Args:
        program: with exactly one resource whose budget is finite.
        seconds: after which it gives up.
    Returns: None where it gives no proof (too many combinations of depths, lists too long, time over) or nothing keeps
        the budget; ask ``solve`` then.
    """
    started = time.perf_counter()
    limited = [resource for resource in program.resources if np.isfinite(resource.at_most)]
    if len(limited) != 1 or prod(len(stage.depths) for stage in program.structure.stages) > MOST_DEPTHS:
        return None
    problem = _OneBudget(program, limited[0])
    bounds, prices = problem.relax()
    best: tuple[float, int, list[int]] | None = None
    ceiling, unproven = -np.inf, 0
    for at in np.argsort(-bounds, kind="stable"):
        known = best[0] if best else -np.inf
        if bounds[at] <= known + (problem.near(known) if unproven else problem.rounding):
            ceiling = max(ceiling, float(bounds[at]))
            break
        value, choices, upper = problem.search(int(at), float(prices[at]), float(bounds[at]), known)
        if value > known:
            best = (value, int(at), choices)
        ceiling = max(ceiling, upper)
        unproven += upper > max(known, value) + problem.rounding
        if unproven > MOST_UNPROVEN or time.perf_counter() - started > seconds:
            return None
    if best is None or ceiling > best[0] + problem.near(best[0]):
        return None
    return _solution(problem, best, ceiling, time.perf_counter() - started)


def _solution(
    problem: _OneBudget, best: tuple[float, int, list[int]], ceiling: float, seconds: float
) -> Solution | None:
    _, at, choices = best
    configs = np.zeros(len(problem.blocks), np.intp)
    configs[problem.exists[at]] = choices
    depths, chosen = tuple(map(int, problem.depths[at])), tuple(map(int, configs))
    program = problem.program
    if not program.keeps(depths, chosen):  # over by the order of summation
        return None
    value = program.value(depths, chosen)
    bound = float(max(value, ceiling))
    return Solution(depths, chosen, value, bound, program.costs(depths, chosen), True, seconds)
