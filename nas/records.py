"""Plain data that flows through a search: what was asked, what came back, what is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal

from search_spaces.arch import Architecture

Metrics = Mapping[str, float]

COUNTS = ("params", "macs", "depth", "convs", "peak_memory_bytes")  # whole numbers
METRICS = ("score", "latency_ms", "latency_upper_ms", *COUNTS)
LARGER_IS_BETTER = ("score",)  # everything else is a cost


class InvalidObjectives(ValueError):
    """What is to be optimised together is unknown, repeated or a single metric."""


def check_objectives(names: Sequence[str]) -> tuple[str, ...]:
    """Two or more different metrics, as a tuple; raises InvalidObjectives."""
    if len(names) < 2 or len(set(names)) != len(names) or not set(names) <= set(METRICS):
        raise InvalidObjectives(f"objectives={list(names)}, expected two or more different ones of {list(METRICS)}")
    return tuple(names)


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
    """A candidate that has no score, and why: outside a constraint, seen before, or its evaluation failed.

    Attributes:
        candidate: what was asked.
        kind: "rejected" by a constraint, "duplicate", "invalid" design, "error" or "crash" of its evaluation.
        message: one line for a person.
        violation: sum of the relative excesses over the constraints; infinite when unknown.
    """

    candidate: Candidate
    kind: FailureKind
    message: str
    violation: float = inf


Result = Success | Failure
