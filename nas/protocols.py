"""What the search loop consumes; implementations fit structurally and need not import this."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nas.records import Candidate, Result
from search_spaces.arch import Architecture


class SearchSpace(Protocol):
    """A set of architectures that can be sampled and walked."""

    @property
    def name(self) -> str:
        """Name for reports."""

    def sample(self, rng: np.random.Generator) -> Architecture:
        """A random member."""

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """A different member near this one."""

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """A member made of two."""

    def validate(self, arch: Architecture) -> None:
        """Raise InvalidArchitecture unless this is a member."""

    def encode(self, arch: Architecture) -> NDArray[np.float64]:
        """(n_features,) float64 for predictors."""


class Search(Protocol):
    """Proposes candidates and learns from results; its state is a function of (seed, told results)."""

    def ask(self, n: int) -> list[Candidate]:
        """At most n new candidates; fewer, or none, while it must wait for results."""

    def tell(self, result: Result) -> None:
        """Give a result back, in any order."""


class Runner(Protocol):
    """Evaluates candidates somewhere. Only plain data crosses a process."""

    @property
    def free_slots(self) -> int:
        """How many candidates it can take now without idling or hoarding."""

    @property
    def busy(self) -> bool:
        """Whether any candidate is under way."""

    def submit(self, candidates: Sequence[Candidate]) -> None:
        """Take candidates."""

    def wait_any(self, at_most_s: float | None = None) -> list[Result]:
        """Block until at least one result is there; return those that are.

        Args:
            at_most_s: come back after so long, with nothing: further candidates are on their way.
        """

    def close(self) -> None:
        """Release workers."""


class Estimate(Protocol):
    """A predicted latency."""

    @property
    def mean_ms(self) -> float:
        """Expected milliseconds per call."""

    @property
    def upper_ms(self) -> float:
        """Upper bound at the model's stated confidence."""


class LatencyModel(Protocol):
    """Predicts the latency of a design on one device."""

    def estimate(self, arch: Architecture) -> Estimate:
        """The prediction; raises InvalidArchitecture."""


class Store(Protocol):
    """Durable log of results in candidate order."""

    def append(self, results: Sequence[Result]) -> None:
        """Record results; they are durable after ``commit``."""

    def commit(self) -> None:
        """Make everything appended durable."""

    def results(self) -> Iterator[Result]:
        """All recorded results in candidate order."""
