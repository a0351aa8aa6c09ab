"""Regularised evolution: the oldest dies, not the worst."""

from __future__ import annotations

from collections import deque
from math import inf

import numpy as np

from nas.algorithms.ordered import OrderedSearch, violation_of
from nas.protocols import SearchSpace
from nas.records import Candidate, Result, Success
from search_spaces.arch import Architecture


class RegularizedEvolution(OrderedSearch):
    """Aging evolution: mutate the best of a random sample of the population; the oldest member leaves.

    Candidates outside the constraints are members whose rank is below every feasible one, the least violating first.

    Source: Real et al. 2019, "Regularized Evolution for Image Classifier Architecture Search" (arXiv 1802.01548),
    algorithm 1. Deviations: infeasible members as above; results are applied ``lookahead`` candidates late.
    """

    def __init__(
        self, space: SearchSpace, *, seed: int, population: int = 100, sample: int = 25, lookahead: int = 256
    ) -> None:
        """Set up an empty population.

        Args:
            space: where to search; a space with a ``seed`` architecture begins with it.
            seed: of all randomness.
            population: members; the first so many candidates are samples of the space.
            sample: members that compete to be the parent.
            lookahead: see OrderedSearch.
        """
        super().__init__(space, seed=seed, lookahead=lookahead)
        if not 1 <= sample <= population:
            raise ValueError(f"sample={sample}, population={population}, expected 1 <= sample <= population")
        self.sample = sample
        start = getattr(space, "seed", None)
        self._start = start if isinstance(start, Architecture) else None
        self._members: deque[tuple[tuple[float, float], Candidate]] = deque(maxlen=population)

    def _propose(self, index: int, rng: np.random.Generator) -> tuple[Architecture, int | None]:
        if index == 0 and self._start is not None:
            return self._start, None
        if len(self._members) < (self._members.maxlen or 0):
            return self.space.sample(rng), None
        drawn = rng.integers(len(self._members), size=self.sample)
        _, parent = min((self._members[i] for i in drawn), key=lambda member: (member[0], member[1].id))
        return self.space.mutate(parent.arch, rng), parent.id

    def _apply(self, result: Result) -> None:
        violation = violation_of(result)
        if violation < inf:
            score = result.metrics["score"] if isinstance(result, Success) else 0.0
            self._members.append(((violation, -score), result.candidate))
