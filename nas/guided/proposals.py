"""Networks evolved on what a predictor makes of them: hundreds of predictions instead of trainings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.gates import Gates
from nas.protocols import SearchSpace
from nas.records import Candidate, Failure
from search_spaces.arch import Architecture
from search_spaces.space import NothingToMutate

Floats = NDArray[np.float64]
GENERATIONS = 8
PARENTS = 32  # the best by acquisition
LABELLED = 8  # the best by label, parents as well
CROSSED = 0.5  # share of children with two parents
MUTATED = 0.7  # share of those that are mutated, too


@dataclass(frozen=True, slots=True)
class Scored:
    """What a predictor makes of networks, (n,) each: acquisition, upper bound and standard deviation of the label."""

    value: Floats
    upper: Floats
    deviation: Floats


class Proposals:
    """A population that grows by the offspring of its best; all members keep the limits."""

    def __init__(
        self,
        space: SearchSpace,
        gates: Gates,
        rng: np.random.Generator,
        acquire: Callable[[Sequence[Architecture]], Scored],
        *,
        asked: set[str],
    ) -> None:
        """Start empty; networks whose digests are in ``asked`` can be parents, but are not proposed."""
        self._space, self._gates, self._rng, self._acquire = space, gates, rng, acquire
        self._asked = asked
        self._seen: set[str] = set()
        self._members: list[Architecture] = []
        self._scored: list[Scored] = []
        self._labelled: list[Architecture] = []

    def begin(self, pool: Sequence[Architecture], labelled: Sequence[Architecture]) -> None:
        """Take in members within the limits, and the labelled networks, best first."""
        self._labelled = list(labelled[:LABELLED])
        self._add(pool)

    def evolve(self, count: int) -> None:
        """Make so many children, in generations that are scored at once."""
        for generation in range(GENERATIONS):
            size = count * (generation + 1) // GENERATIONS - count * generation // GENERATIONS
            parents = [*self._labelled, *self._best()]
            if not parents:
                return
            self._add([child for child in (self._child(parents) for _ in range(size)) if child is not None])

    def open(self) -> tuple[list[Architecture], Scored]:
        """The members that were not asked for, with what the predictor makes of them."""
        scored = self._all()
        kept = np.array([arch.digest not in self._asked for arch in self._members], dtype=bool)
        found = [arch for arch, keep in zip(self._members, kept, strict=True) if keep]
        return found, Scored(scored.value[kept], scored.upper[kept], scored.deviation[kept])

    def _all(self) -> Scored:
        parts = self._scored or [Scored(np.empty(0), np.empty(0), np.empty(0))]
        return Scored(
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.upper for part in parts]),
            np.concatenate([part.deviation for part in parts]),
        )

    def _best(self) -> list[Architecture]:
        order = np.argsort(-self._all().value, kind="stable")[:PARENTS]
        return [self._members[i] for i in order]

    def _child(self, parents: Sequence[Architecture]) -> Architecture | None:
        first, second = (parents[i] for i in self._rng.integers(len(parents), size=2))
        try:
            if self._rng.random() < CROSSED:
                child = self._space.crossover(first, second, self._rng)
                return self._space.mutate(child, self._rng) if self._rng.random() < MUTATED else child
            return self._space.mutate(first, self._rng)
        except NothingToMutate:
            return None

    def _add(self, archs: Sequence[Architecture]) -> None:
        """Take in those that are new and keep the limits."""
        new = []
        for arch in archs:
            if arch.digest in self._seen:
                continue
            self._seen.add(arch.digest)
            if not isinstance(self._gates.check(Candidate(0, arch)), Failure):
                new.append(arch)
        if new:
            self._members += new
            self._scored.append(self._acquire(new))
