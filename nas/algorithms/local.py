"""Local search: walk to better neighbours, and start again where there is none."""

from __future__ import annotations

from math import inf

import numpy as np

from nas.algorithms.ordered import OrderedSearch, violation_of
from nas.protocols import SearchSpace
from nas.records import Candidate, Result, Success
from search_spaces.arch import Architecture


class LocalSearch(OrderedSearch):
    """Hill climbing by random neighbours with restarts.

    The walk moves whenever a neighbour is better (closer to the constraints, or of a higher score within them), and
    starts again from a fresh sample after ``patience`` neighbours of the current design were no better.

    Source: White et al. 2021, "Exploring the Loss Landscape in Neural Architecture Search" (arXiv 2005.02960), its
    query-until-improvement variant. Deviations: neighbours are drawn at random instead of listed, because spaces are
    large; results are applied ``lookahead`` candidates late, so up to that many belong to the design before.
    """

    def __init__(self, space: SearchSpace, *, seed: int, patience: int = 100, lookahead: int = 64) -> None:
        """Start nowhere.

        Args:
            space: where to walk; a space with a ``seed`` architecture starts there, and later from samples.
            seed: of all randomness.
            patience: neighbours without improvement before a new start.
            lookahead: see OrderedSearch.
        """
        super().__init__(space, seed=seed, lookahead=lookahead)
        if patience < 1:
            raise ValueError(f"patience={patience}, expected at least 1")
        self.patience = patience
        start = getattr(space, "seed", None)
        self._start = start if isinstance(start, Architecture) else None
        self._here: Candidate | None = None
        self._cost = (inf, inf)
        self._in_vain = 0

    def _propose(self, index: int, rng: np.random.Generator) -> tuple[Architecture, int | None]:
        if index == 0 and self._start is not None:
            return self._start, None
        if self._here is None:
            return self.space.sample(rng), None
        return self.space.mutate(self._here.arch, rng), self._here.id

    def _apply(self, result: Result) -> None:
        if result.candidate.parent != (None if self._here is None else self._here.id):
            return  # a neighbour of a design that the walk has left
        violation = violation_of(result)
        score = result.metrics["score"] if isinstance(result, Success) else 0.0
        if violation < inf and (violation, -score) < self._cost:
            self._here, self._cost, self._in_vain = result.candidate, (violation, -score), 0
            return
        self._in_vain += 1
        if self._in_vain >= self.patience:
            self._here, self._cost, self._in_vain = None, (inf, inf), 0
