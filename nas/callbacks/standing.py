"""Where a search stands: its counts, and the front so far."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field

from nas.records import Result, Success


@dataclass
class Front:
    """The Pareto front of cost (less is better) and score (more is better), kept up one result at a time."""

    costs: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)

    def add(self, cost: float, score: float, identity: int) -> bool:
        """Take a result in unless one is as good in both; whether it was taken in."""
        at = bisect.bisect_right(self.costs, cost)
        if at and self.scores[at - 1] >= score:
            return False
        first = at - 1 if at and self.costs[at - 1] == cost else at
        last = at
        while last < len(self.costs) and self.scores[last] <= score:
            last += 1
        for column, value in ((self.costs, cost), (self.scores, score)):
            column[first:last] = [value]
        self.ids[first:last] = [identity]
        return True


@dataclass
class Standing:
    """Counts of a search over all its sessions.

    Attributes:
        candidates: asked for, of any outcome.
        best_score: so far; None before the first.
        best_id: the candidate that has it.
        cost: the metric of the front beside the score, "latency_ms", or "macs" where no latency is known.
        front: of score and cost.
    """

    candidates: int = 0
    scored: int = 0
    rejected: int = 0
    duplicates: int = 0
    failed: int = 0
    best_score: float | None = None
    best_id: int | None = None
    cost: str = "macs"
    front: Front = field(default_factory=Front)

    def count(self, result: Result) -> bool:
        """Take one result into account; whether it changed the front."""
        self.candidates += 1
        if isinstance(result, Success):
            return self._count_scored(result)
        if result.kind == "rejected":
            self.rejected += 1
        elif result.kind == "duplicate":
            self.duplicates += 1
        else:
            self.failed += 1
        return False

    def _count_scored(self, result: Success) -> bool:
        if not self.scored and "latency_ms" in result.metrics:
            self.cost = "latency_ms"
        self.scored += 1
        score, identity = result.metrics["score"], result.candidate.id
        if self.best_score is None or score > self.best_score:
            self.best_score, self.best_id = score, identity
        cost = result.metrics.get(self.cost)
        return cost is not None and self.front.add(cost, score, identity)

    @property
    def feasible_share(self) -> float | None:
        """Of the designs that were new, those within the limits, 0..1; None before the first."""
        new = self.scored + self.rejected + self.failed
        return (self.scored + self.failed) / new if new else None

    def counts(self) -> dict[str, float]:
        """Numbers by name, without those that are not known yet."""
        known = {
            "candidates": self.candidates,
            "scored": self.scored,
            "rejected": self.rejected,
            "duplicates": self.duplicates,
            "failed": self.failed,
            "front": len(self.front.ids),
            "best_score": self.best_score,
            "feasible_share": self.feasible_share,
        }
        return {name: value for name, value in known.items() if value is not None}

    def front_rows(self) -> list[Mapping[str, float]]:
        """The front, cheapest first: id, score and cost."""
        columns = zip(self.front.ids, self.front.scores, self.front.costs, strict=True)
        return [{"id": identity, "score": score, self.cost: cost} for identity, score, cost in columns]
