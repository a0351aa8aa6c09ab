"""What a candidate costs, and whether it keeps the constraints: microseconds, in the driver."""

from __future__ import annotations

from dataclasses import dataclass

from hardware.counts import count
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
    """

    input_shape: Shape
    num_classes: int
    constraints: tuple[Constraint, ...] = ()
    table: LatencyModel | None = None

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
        return metrics

    def violations(self, metrics: Metrics) -> dict[str, float]:
        """Relative excess over each violated constraint."""
        excess = {}
        for constraint in self.constraints:
            held_by = "latency_upper_ms" if constraint.metric == "latency_ms" else constraint.metric
            value = metrics[held_by]
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
