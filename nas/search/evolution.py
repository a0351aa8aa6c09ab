"""Evolution of Zen-NAS: mutate a random member, insert, drop the worst."""

from __future__ import annotations

import bisect
from math import inf

import numpy as np

from nas.protocols import SearchSpace
from nas.records import Candidate, Result, Success
from nas.search.ordered import OrderedSearch, violation_of
from search_spaces.arch import Architecture

Key = tuple[float, float, int]  # violation, minus score, id: the smallest is the best


class Evolution(OrderedSearch):
    """Steady-state evolution under hard constraints.

    The population is ordered by constraint domination: a candidate within the constraints beats any outside,
    two within compare by score, two outside by how much they violate. So a search that starts outside the
    constraints walks in, and once the population is full of feasible networks no other survives.

    Source: Lin et al. 2021 (Zen-NAS, arXiv 2102.01063), algorithm 1: parents uniform at random, no crossover,
    the worst is removed. Deviations: duplicates are mutated again, infeasible ones may be parents until enough
    feasible ones exist, and results are applied ``lookahead`` candidates late (see OrderedSearch).
    """

    def __init__(self, space: SearchSpace, *, seed: int, population: int = 512, initial: int = 64, lookahead: int = 256) -> None:  # noqa: PLR0913, E501
        """Set up an empty population.

        Args:
            space: where to search; a space with a ``seed`` architecture starts there, others by sampling.
            seed: of all randomness.
            population: members kept.
            initial: candidates sampled before mutation starts, in a space without a seed architecture.
            lookahead: see OrderedSearch.
        """
        super().__init__(space, seed=seed, lookahead=lookahead)
        if population < 1:
            raise ValueError(f"population={population}, expected at least 1")
        self.population = population
        self.start: Architecture | None = getattr(space, "seed", None)
        self.initial = 1 if self.start is not None else initial
        self._keys: list[Key] = []
        self._members: dict[int, Candidate] = {}

    def _propose(self, index: int, rng: np.random.Generator) -> tuple[Architecture, int | None]:
        if self.start is not None and index == 0:
            return self.start, None
        if not self._keys:
            if self.start is None or index < self.initial:
                return self.space.sample(rng), None
            return self.space.mutate(self.start, rng), 0
        if index < self.initial:
            return self.space.sample(rng), None
        parent = self._members[self._keys[rng.integers(len(self._keys))][2]]
        return self.space.mutate(parent.arch, rng), parent.id

    def _apply(self, result: Result) -> None:
        violation = violation_of(result)
        if violation == inf:  # a duplicate, an invalid design or a crash teaches nothing
            return
        score = result.metrics["score"] if isinstance(result, Success) else 0.0
        key = (violation, -score, result.candidate.id)
        if len(self._keys) >= self.population and key > self._keys[-1]:
            return
        bisect.insort(self._keys, key)
        self._members[result.candidate.id] = result.candidate
        if len(self._keys) > self.population:
            del self._members[self._keys.pop()[2]]
