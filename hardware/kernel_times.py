"""How long each kernel takes inside networks, by the runtime's own profile with the profiler's cost removed.

Every network is loaded twice, plain and profiled, and both are timed in interleaved bursts under the protocol of the
timer. The profiler costs some microseconds a node; they are found by comparing the sums with the plain latencies. A
chain of the smallest convolutions shows what a node costs at least, so that the profiler's cost never eats a small one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardware.conditions import Conditions, Surroundings
from hardware.device import Device
from hardware.kernels import Kernel, fuse
from hardware.measure import Progress, RealClock
from hardware.models import CHAIN, CHAIN_LENGTH, EMPTY, LayerModel, model_to_dict
from hardware.protocol import MeasureProtocol, estimate_ms, run_campaign
from hardware.target import Target

LEAST_MS = 1e-4  # of a kernel: what a runtime computes with another one costs nothing, or next to it
LEAST_SHARE = 0.7  # of the smallest convolution in a chain: no node costs less
LEAST_BURSTS = 3
USUAL = (0.1, 0.9)  # quantiles between which the profiler's cost of a node is believed


@dataclass(frozen=True)
class NetworkTimes:
    """One network, timed whole and inside.

    Attributes:
        model: the network.
        latency_ms: of one call, unprofiled.
        bursts_ms: the burst medians behind it.
        kernels: its kernels.
        kernels_ms: (len(kernels),) milliseconds of each inside the network; their sum is the latency less what one
            call costs beside its kernels.
        nodes: operations of the runtime.
    """

    model: LayerModel
    latency_ms: float
    bursts_ms: tuple[float, ...]
    kernels: tuple[Kernel, ...]
    kernels_ms: tuple[float, ...]
    nodes: int


@dataclass(frozen=True)
class KernelCampaign:
    """Networks timed together.

    Attributes:
        networks: in the order of the models.
        overhead_ms: of one call of an empty network.
        profiler_ms: what the profiler adds to a node, median over the networks.
        conditions: of the measurements.
    """

    networks: tuple[NetworkTimes, ...]
    overhead_ms: float
    profiler_ms: float
    conditions: Conditions


def time_kernels(
    models: Sequence[LayerModel], device: Device, protocol: MeasureProtocol, progress: Progress | None = None
) -> KernelCampaign:
    """Time networks whole and inside.

    Args:
        models: networks; those that could not be timed thrice in the time are left out of the result.
        device: whose runtime tells times (``hardware.runtimes.PROFILERS``).
        protocol: how much to measure; its cap holds for all networks together, loading excluded.
        progress: told what is going on.
    Raises: RuntimeRefused, NumericsMismatch, MeasurementFailed like ``hardware.measure.measure``.
    """
    surroundings = Surroundings()
    tell = progress or (lambda what, share: None)
    clock = RealClock()
    with Target(device, protocol.hang_s) as target:
        target.ask(f"starting {device.runtime}", do="start", device=device.to_dict())
        for i, model in enumerate((EMPTY, CHAIN, *models)):
            tell("loading", i / (2 + len(models)))
            for profiled in (False, True):
                asked = {"do": "load", "model": model_to_dict(model), "profiled": profiled}
                target.ask(f"loading {model.name}", **asked)
        began = clock.now()

        def burst(at: int) -> float:
            tell("timing", min(1.0, (clock.now() - began) / protocol.max_s))
            answer = target.ask("timing", do="burst", at=at, burst_ms=protocol.burst_ms)
            return float(np.median(answer["times_ms"]))

        medians_ms = run_campaign(4 + 2 * len(models), burst, protocol, clock)
        empty_ms, chain_ms, *plain_ms = medians_ms[::2]
        enough = [i for i, bursts_ms in enumerate(plain_ms) if len(bursts_ms) >= LEAST_BURSTS]
        profiles = [target.ask("ending a profile", do="profile", at=2 * i + 5) for i in enough]
    timed = [_Timed(models[i], tuple(plain_ms[i]), profile) for i, profile in zip(enough, profiles, strict=True)]
    overhead_ms = estimate_ms(empty_ms)
    least_ms = LEAST_SHARE * max(LEAST_MS, (estimate_ms(chain_ms) - overhead_ms) / CHAIN_LENGTH)
    costs_ms = profiler_costs_ms([(each.inside_ms, each.latency_ms - overhead_ms, each.nodes) for each in timed])
    return KernelCampaign(
        tuple(
            each.times(overhead_ms, cost_ms, least_ms, device.batch)
            for each, cost_ms in zip(timed, costs_ms, strict=True)
        ),
        overhead_ms,
        float(np.median(costs_ms)),
        surroundings.conditions(device, None),
    )


def profiler_costs_ms(networks: Sequence[tuple[float, float, int]]) -> list[float]:
    """What the profiler adds to a node of each network, >= 0: as much as explains its sum, kept within the usual.

    Args:
        networks: of each the sum of its profiled times and its plain latency in milliseconds, and its nodes.
    """
    costs_ms = [max(0.0, inside_ms - plain_ms) / nodes for inside_ms, plain_ms, nodes in networks]
    least, most = np.quantile(costs_ms, USUAL)
    return [float(cost_ms) for cost_ms in np.clip(costs_ms, least, most)]


@dataclass(frozen=True)
class _Timed:
    """What was measured of one network."""

    model: LayerModel
    bursts_ms: tuple[float, ...]
    profile: dict[str, Any]

    @property
    def latency_ms(self) -> float:
        return estimate_ms(self.bursts_ms)

    @property
    def inside_ms(self) -> float:
        return float(sum(self.profile["layers_ms"].values()))

    @property
    def nodes(self) -> int:
        return int(sum(self.profile["nodes"].values()))

    def times(self, overhead_ms: float, profiler_ms: float, least_ms: float, batch: int) -> NetworkTimes:
        """Kernels with the profiler's cost removed, scaled to the plain latency."""
        fused = fuse(self.model.layers, batch)
        places = {self.model.layers[at].name: i for i, each in enumerate(fused) for at in each.layers}
        inside_ms = np.full(len(fused), LEAST_MS)
        for layer, layer_ms in self.profile["layers_ms"].items():
            nodes = self.profile["nodes"][layer]
            inside_ms[places[layer]] += max(layer_ms - profiler_ms * nodes, least_ms * nodes)
        rest_ms = max(self.latency_ms - overhead_ms, 0.1 * self.latency_ms)
        kernels_ms = inside_ms * (rest_ms / inside_ms.sum())
        kernels = tuple(each.kernel for each in fused)
        return NetworkTimes(
            self.model, self.latency_ms, self.bursts_ms, kernels, tuple(kernels_ms.tolist()), self.nodes
        )
