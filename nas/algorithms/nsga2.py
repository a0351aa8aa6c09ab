"""NSGA-II: a whole Pareto front in one search, under constraints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from nas.algorithms.ordered import OrderedSearch, violation_of
from nas.protocols import SearchSpace
from nas.records import LARGER_IS_BETTER, Candidate, InvalidObjectives, Result, Success, check_objectives
from search_spaces.arch import Architecture

CROSSOVER = 0.9  # share of children with two parents


@dataclass(frozen=True, slots=True)
class _Member:
    """A candidate with what selection looks at."""

    candidate: Candidate
    costs: tuple[float, ...]  # smaller is better; empty when infeasible
    violation: float


class NSGA2(OrderedSearch):
    """Fronts by constrained non-domination, spread by crowding distance, binary tournaments, uniform crossover.

    Of two candidates the one that violates the constraints less wins; of two that keep them, the one that dominates.
    A generation ends when ``population`` results have been applied: the best of parents and children are the next
    parents. Duplicates and crashes are not members.

    Source: Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II", sections III and VI.
    Deviations: the space's own crossover (each knob from either parent) and mutation instead of simulated binary
    crossover, as designs are discrete; until the first generation is complete candidates are samples; results are
    applied ``lookahead`` candidates late (see OrderedSearch).
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        objectives: Sequence[str] = ("score", "macs"),
        population: int = 100,
        lookahead: int = 256,
    ) -> None:
        """Set up an empty population.

        Args:
            space: where to search; a space with a ``seed`` architecture begins with it.
            seed: of all randomness.
            objectives: two or more metrics; "score" is maximised, everything else minimised.
            population: parents of a generation.
            lookahead: see OrderedSearch.
        Raises: InvalidObjectives.
        """
        super().__init__(space, seed=seed, lookahead=lookahead)
        if population < 2:
            raise ValueError(f"population={population}, expected at least 2")
        self.objectives = check_objectives(objectives)
        self.population = population
        start = getattr(space, "seed", None)
        self._start = start if isinstance(start, Architecture) else None
        self._parents: list[_Member] = []
        self._children: list[_Member] = []

    def _propose(self, index: int, rng: np.random.Generator) -> tuple[Architecture, int | None]:
        if index == 0 and self._start is not None:
            return self._start, None
        if not self._parents:
            return self.space.sample(rng), None
        first = self._tournament(rng)
        arch = first.arch
        if rng.random() < CROSSOVER:
            arch = self.space.crossover(arch, self._tournament(rng).arch, rng)
        return self.space.mutate(arch, rng), first.id

    def _tournament(self, rng: np.random.Generator) -> Candidate:
        """The better of two; the parents are sorted by front, then by crowding, the best first."""
        best = int(rng.integers(len(self._parents), size=2).min())
        return self._parents[best].candidate

    def _apply(self, result: Result) -> None:
        violation = violation_of(result)
        if violation == inf:
            return
        costs = _costs(result, self.objectives) if isinstance(result, Success) else ()
        self._children.append(_Member(result.candidate, costs, violation))
        if len(self._children) >= self.population:
            self._parents = _select([*self._parents, *self._children], self.population)
            self._children = []


def _costs(result: Success, objectives: Sequence[str]) -> tuple[float, ...]:
    missing = [name for name in objectives if name not in result.metrics]
    if missing:
        raise InvalidObjectives(f"objective {missing[0]!r}: candidates have only {', '.join(sorted(result.metrics))}")
    return tuple(-result.metrics[n] if n in LARGER_IS_BETTER else result.metrics[n] for n in objectives)


def _select(members: Sequence[_Member], places: int) -> list[_Member]:
    """The best members in order: feasible ones by front and then crowding, then the least violating."""
    feasible = [member for member in members if member.costs]
    ordered: list[_Member] = []
    if feasible:
        costs = np.array([member.costs for member in feasible])
        for front in fronts(costs):
            crowding = crowding_distance(costs[front])
            ordered += [feasible[front[i]] for i in np.argsort(-crowding, kind="stable")]
            if len(ordered) >= places:
                return ordered[:places]
    outside = sorted((m for m in members if not m.costs), key=lambda m: (m.violation, m.candidate.id))
    return [*ordered, *outside][:places]


def fronts(costs: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Positions of the rows front by front: the first is dominated by nobody, the next only by the first, and so on.

    Args:
        costs: (n, m), smaller is better in every column.
    """
    no_worse: NDArray[np.bool_] = np.all(costs[:, None, :] <= costs[None, :, :], axis=2)
    dominates: NDArray[np.bool_] = np.logical_and(no_worse, ~no_worse.T)
    left = np.arange(len(costs))
    found = []
    while len(left):
        beaten = dominates[np.ix_(left, left)].any(axis=0)
        found.append(left[~beaten])
        left = left[beaten]
    return found


def crowding_distance(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Size of the box that the neighbours along each axis leave to a row of one front; infinite at the ends.

    Args:
        costs: (n, m).
    Returns: (n,), in units of the front's range, summed over the axes.
    """
    distance = np.zeros(len(costs))
    for column in costs.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = inf
        if span > 0:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return distance
