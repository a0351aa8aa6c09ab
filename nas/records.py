"""Plain data that flows through a search: what was asked, what came back, what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from search_spaces.arch import Architecture

Metrics = Mapping[str, float]

HIGHER_IS_BETTER = frozenset({"score", "zen", "top1"})


@dataclass(frozen=True, slots=True)
class Constraint:
    """An upper limit on one metric of the *model*, for example ``Constraint("latency_ms", 2.0)``."""

    metric: str
    at_most: float


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit on the *search*: candidates generated, wall-clock seconds, or both; None means no limit."""

    evaluations: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One architecture that a search asked for.

    Attributes:
        id: position in the search, from 0; every random decision about it is keyed by (seed, id).
        arch: the design.
        parent: id of the architecture that it was mutated from; None for a sample.
        metrics: what the gates already know (params, macs, latency_ms …).
    """

    id: int
    arch: Architecture
    parent: int | None = None
    metrics: Metrics = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Success:
    """A candidate with its metrics, the score among them."""

    candidate: Candidate
    metrics: Metrics


FailureKind = Literal["rejected", "duplicate", "invalid", "error", "crash"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A candidate that has no score, and why: outside a constraint, seen before, or its evaluation failed."""

    candidate: Candidate
    kind: FailureKind
    message: str


Result = Success | Failure
