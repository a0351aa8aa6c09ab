"""What a candidate costs, and whether it keeps the constraints: microseconds, in the driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from hardware.counts import count
from hardware.lookup import LatencyTable
from nas.protocols import LatencyModel
from nas.records import Candidate, Constraint, Failure, Metrics
from search_spaces.arch import Architecture, InvalidArchitecture
from search_spaces.layers import Shape


@dataclass(frozen=True, slots=True)
class Gates:
    """Costs of an architecture in microseconds, and whether they keep the constraints.

    Attributes:
        input_shape: (channels, height, width) of one image.
        num_classes: outputs of the classifier.
        constraints: upper limits; one on ``latency_ms`` is held by the upper bound of the estimate.
        table: latency model of the device; None when no latency is asked for.
        also: latency models of further devices by name; a constraint on ``latency_ms@NAME`` is held by their upper
            bound.
    """

    input_shape: Shape
    num_classes: int
    constraints: tuple[Constraint, ...] = ()
    table: LatencyModel | None = None
    also: tuple[tuple[str, LatencyModel], ...] = ()

    def to_dict(self) -> dict[str, Any] | None:
        """JSON-ready form, for workers; None where a latency model is no table."""
        models = [(name, model.to_json()) for name, model in self.also if isinstance(model, LatencyTable)]
        if len(models) < len(self.also) or not isinstance(self.table, LatencyTable | None):
            return None
        return {
            "input_shape": list(self.input_shape),
            "num_classes": self.num_classes,
            "constraints": [(constraint.metric, constraint.at_most) for constraint in self.constraints],
            "table": None if self.table is None else self.table.to_json(),
            "also": models,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        channels, height, width = data["input_shape"]
        return cls(
            (channels, height, width),
            data["num_classes"],
            tuple(Constraint(metric, at_most) for metric, at_most in data["constraints"]),
            None if data["table"] is None else LatencyTable.from_json(data["table"]),
            tuple((name, LatencyTable.from_json(text)) for name, text in data["also"]),
        )

    def __call__(self, arch: Architecture) -> Metrics:
        """Metrics of the architecture; raises InvalidArchitecture."""
        counts = count(arch, self.input_shape, self.num_classes)
        metrics: dict[str, float] = {
            "params": counts.params,
            "macs": counts.macs,
            "depth": counts.depth,
            "convs": counts.convs,
            "peak_memory_bytes": counts.peak_memory_bytes,
        }
        if self.table is not None:
            estimate = self.table.estimate(arch)
            metrics["latency_ms"] = estimate.mean_ms
            metrics["latency_upper_ms"] = estimate.upper_ms
        for name, table in self.also:
            metrics[f"latency_upper_ms@{name}"] = table.estimate(arch).upper_ms
        return metrics

    def violations(self, metrics: Metrics) -> dict[str, float]:
        """Relative excess over each violated constraint."""
        excess = {}
        for constraint in self.constraints:
            value = metrics[held_by(constraint.metric)]
            if not value <= constraint.at_most:
                excess[constraint.metric] = value / constraint.at_most - 1
        return excess

    def check(self, candidate: Candidate) -> Candidate | Failure:
        """The candidate with its metrics, or the reason for its rejection."""
        try:
            metrics = self(candidate.arch)
        except InvalidArchitecture as error:
            return Failure(candidate, "invalid", str(error))
        known = Candidate(candidate.id, candidate.arch, candidate.parent, metrics)
        excess = self.violations(metrics)
        if not excess:
            return known
        limits = {c.metric: c.at_most for c in self.constraints}
        reason = ", ".join(f"{metric} is {100 * e:.3g} % over {limits[metric]:g}" for metric, e in excess.items())
        return Failure(known, "rejected", reason, sum(excess.values()))


def held_by(metric: str) -> str:
    """The metric that a limit is held against: of a latency, the upper bound of its estimate."""
    name, at, device = metric.partition("@")
    return f"latency_upper_ms{at}{device}" if name == "latency_ms" else metric
