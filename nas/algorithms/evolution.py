"""Evolution of Zen-NAS: mutate a random member, insert, drop the worst; optionally side by side at every depth."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal

import numpy as np

from nas.algorithms.ordered import OrderedSearch, violation_of
from nas.protocols import SearchSpace
from nas.records import Candidate, Result, Success
from search_spaces.arch import Architecture

Niches = Literal["none", "depth"]
ENOUGH = 16  # feasible members from which on no infeasible one is a parent
NICHE_SHARE = 16  # a niche holds this part of the population
DEPTHS_KEPT_APART = 8


@dataclass
class Members:
    """The best of one niche: sorted by (cost, id), the cheapest first, at most ``size``."""

    size: int
    keys: list[tuple[float, int]] = field(default_factory=list)
    candidates: dict[int, Candidate] = field(default_factory=dict)

    def insert(self, cost: float, candidate: Candidate) -> None:
        """Add a candidate and drop the worst if there are too many."""
        key = (cost, candidate.id)
        if len(self.keys) >= self.size:
            if key > self.keys[-1]:
                return
            del self.candidates[self.keys.pop()[1]]
        bisect.insort(self.keys, key)
        self.candidates[candidate.id] = candidate

    def draw(self, rng: np.random.Generator) -> Candidate:
        """A member, uniformly."""
        return self.candidates[self.keys[rng.integers(len(self.keys))][1]]


class Evolution(OrderedSearch):
    """Steady-state evolution under hard constraints.

    A candidate outside the constraints has no score and can only be a parent while fewer than 16 candidates keep
    them, the least violating first; so a search that starts outside walks in.

    With ``niches="depth"`` the population is split by depth (convolutions in a row), and a parent is drawn from a
    random niche: the result is the best-scoring network of every depth, instead of one family of near-equal and ever
    deeper ones. Zen-Score grows with depth almost by definition, accuracy does not; short trainings can then choose.

    Source: Lin et al. 2021 (Zen-NAS, arXiv 2102.01063), algorithm 1: parents uniform at random, no crossover, the
    worst is removed. Deviations: duplicates are mutated further, infeasible parents as above, results are applied
    ``lookahead`` candidates late (see OrderedSearch), and the niches (off: as published).
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        population: int = 256,
        niches: Niches = "none",
        initial: int = 64,
        lookahead: int = 256,
    ) -> None:
        """Set up an empty population.

        Args:
            space: where to search; a space with a ``seed`` architecture starts there, others by sampling.
            seed: of all randomness.
            population: members kept; a niche of depth holds 1/16 of them.
            niches: "none" or "depth".
            initial: candidates sampled before mutation starts, in a space without a seed architecture.
            lookahead: see OrderedSearch.
        """
        super().__init__(space, seed=seed, lookahead=lookahead)
        if population < 1:
            raise ValueError(f"population={population}, expected at least 1")
        self.niches = niches
        self.niche_size = population if niches == "none" else math.ceil(population / NICHE_SHARE)
        start = getattr(space, "seed", None)
        self.start = start if isinstance(start, Architecture) else None
        self.initial = 1 if self.start is not None else initial
        self._inside: dict[int, Members] = {}
        self._order: list[int] = []  # niches in order of first appearance
        self._outside = Members(ENOUGH)
        self._feasible = 0

    def _propose(self, index: int, rng: np.random.Generator) -> tuple[Architecture, int | None]:
        if index < self.initial:
            return (self.start, None) if self.start is not None else (self.space.sample(rng), None)
        parent = self._parent(rng)
        if parent is not None:
            return self.space.mutate(parent.arch, rng), parent.id
        if self.start is not None:
            return self.space.mutate(self.start, rng), 0
        return self.space.sample(rng), None

    def _propose_instead(
        self, arch: Architecture, parent: int | None, rng: np.random.Generator
    ) -> tuple[Architecture, int | None]:
        """A mutant that was seen before is mutated further.

        Mutating a member anew would find ever fewer new ones the more candidates are under way: of 80,000 mutants of
        the seed, every second was a duplicate.
        """
        return self._propose(self._asked, rng) if parent is None else (self.space.mutate(arch, rng), parent)

    def _parent(self, rng: np.random.Generator) -> Candidate | None:
        if self._outside.keys and self._feasible < ENOUGH and rng.random() * ENOUGH >= self._feasible:
            return self._outside.draw(rng)
        if not self._order:
            return None
        return self._inside[self._order[rng.integers(len(self._order))]].draw(rng)

    def _apply(self, result: Result) -> None:
        violation = violation_of(result)
        if isinstance(result, Success):
            self._feasible += 1
            niche = self._niche(result.metrics)
            if niche not in self._inside:
                self._inside[niche] = Members(self.niche_size)
                self._order.append(niche)
            self._inside[niche].insert(-result.metrics["score"], result.candidate)
        elif violation < inf and self._feasible < ENOUGH:  # a duplicate, an invalid design or a crash teaches nothing
            self._outside.insert(violation, result.candidate)

    def _niche(self, metrics: Mapping[str, float]) -> int:
        return 0 if self.niches == "none" else depth_niche(int(metrics["convs"]))


def depth_niche(convs: int) -> int:
    """The niche of a network with so many convolutions in a row: one each up to 8, then steps of 2 ** (1 / 4)."""
    if convs <= DEPTHS_KEPT_APART:
        return convs
    return DEPTHS_KEPT_APART + math.floor(4 * math.log2(convs / DEPTHS_KEPT_APART))
