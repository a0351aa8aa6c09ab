"""The part that makes every search deterministic: results are applied in candidate order, at a fixed distance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from nas.algorithms.keyed import KeyedGenerators
from nas.protocols import SearchSpace
from nas.records import Candidate, Failure, Result
from search_spaces.arch import Architecture

TRIES = 19  # further ones, after a duplicate


class OrderedSearch(ABC):
    """Base of searches whose outcome does not depend on the number or speed of workers.

    Candidate i is proposed from exactly the results of candidates 0 … i - lookahead, whatever else has arrived,
    with randomness keyed by (seed, i). So up to ``lookahead`` candidates can be under way, and one worker or
    eight, serial or Ray, interrupted or not, propose the same sequence.
    """

    def __init__(self, space: SearchSpace, *, seed: int, lookahead: int = 256) -> None:
        if lookahead < 1:
            raise ValueError(f"lookahead={lookahead}, expected at least 1")
        self.space = space
        self.seed = seed
        self.lookahead = lookahead
        self._asked = 0
        self._applied = 0
        self._told: dict[int, Result] = {}
        self._contiguous = 0  # all results below this id have been told
        self._seen: set[str] = set()
        self._found_new = True
        self._given: dict[int, Architecture] = {}
        ours = type(space).__module__.split(".")[0] == "search_spaces"  # and draws from a generator, nothing else
        self._keyed = KeyedGenerators(seed) if ours else None

    def begin_with(self, archs: Sequence[Architecture]) -> None:
        """Ask for these designs right after the first candidate; call it before anything is asked."""
        self._given = dict(enumerate(archs, start=1))

    @property
    def asked(self) -> int:
        """Number of candidates proposed so far."""
        return self._asked

    @property
    def under_way(self) -> int:
        """Number of candidates proposed whose results have not been told."""
        return self._asked - self._applied - len(self._told)

    def ask(self, n: int) -> list[Candidate]:
        """At most n candidates; none while the results that the next one depends on are outstanding."""
        candidates: list[Candidate] = []
        while len(candidates) < n and self._asked - self.lookahead < self._contiguous:
            while self._applied <= self._asked - self.lookahead:
                self._apply(self._told.pop(self._applied))
                self._applied += 1
            candidates.append(self._next_candidate())
        return candidates

    def tell(self, result: Result) -> None:
        """Accept a result in any order; it takes effect in its own place."""
        self._told[result.candidate.id] = result
        while self._contiguous in self._told:
            self._contiguous += 1

    def _next_candidate(self) -> Candidate:
        if self._asked in self._given:
            return self._take(self._given[self._asked], None)
        rng = self._generator(self._asked)
        arch, parent = self._propose(self._asked, rng)
        for _ in range(TRIES if self._found_new else 0):  # an exhausted space is not searched again and again
            if arch.digest not in self._seen:
                break
            arch, parent = self._propose_instead(arch, parent, rng)
        self._found_new = arch.digest not in self._seen
        return self._take(arch, parent)

    def _generator(self, index: int) -> np.random.Generator:
        """That of (seed, index)."""
        return np.random.default_rng((self.seed, index)) if self._keyed is None else self._keyed.at(index)

    def _take(self, arch: Architecture, parent: int | None) -> Candidate:
        self._seen.add(arch.digest)
        candidate = Candidate(self._asked, arch, parent)
        self._asked += 1
        return candidate

    @abstractmethod
    def _propose(self, index: int, rng: np.random.Generator) -> tuple[Architecture, int | None]:
        """A design and the id of its parent, from the current state."""

    def _propose_instead(
        self, arch: Architecture, parent: int | None, rng: np.random.Generator
    ) -> tuple[Architecture, int | None]:
        """In place of a design that was proposed before; here another draw of the same kind."""
        return self._propose(self._asked, rng)

    @abstractmethod
    def _apply(self, result: Result) -> None:
        """Take one result into the state; called in candidate order."""


def violation_of(result: Result) -> float:
    """0 for a success, the recorded violation for a failure."""
    return result.violation if isinstance(result, Failure) else 0.0
