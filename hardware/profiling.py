"""The latency table of a space: some sub-layers and a few networks measured, the rest interpolated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from hardware.calibration import LEAST_NETWORKS, UNCALIBRATED, calibrate
from hardware.conditions import Surroundings
from hardware.counts import count
from hardware.device import Device
from hardware.lookup import LatencyTable
from hardware.measure import LayerModel, Measurement, MeasureProtocol, Progress, measure
from hardware.probes import EMPTY, LEAST_SUB_LAYERS, choose_probes, fit_sub_layers, planned_ms
from hardware.spaces import Space, sample_widely, space_digest, space_name
from search_spaces.arch import Architecture
from search_spaces.expand import expand
from search_spaces.layers import Shape

LEAST_SECONDS = 10.0
SAMPLED_NETWORKS = 300
LIGHTER_FOR_PROBES, LIGHTER_FOR_CALIBRATION = 0.75, 0.5  # walks reach giants that no budget would admit
CALIBRATION_NETWORKS = 20
LEAST_BURSTS = 3
PROBE_SHARE, NETWORK_SHARE = 0.55, 0.3  # of the time; fitting takes the rest


class ProfileFailed(RuntimeError):
    """The time, the space or the machine does not allow a table; the message says why."""


def profile_space(  # noqa: PLR0913 - the facts of a table, and how long to take
    space: Space,
    device: Device,
    input_shape: Shape,
    num_classes: int,
    *,
    seconds: float,
    seed: int,
    progress: Progress | None = None,
    confidence: float = 0.9,
    spec: str = "",
) -> LatencyTable:
    """Measure a space on a device and return its latency table.

    The upper bound holds for networks like those of the calibration: the lighter half of what the space draws
    and a few mutations make of it, spread over latency, none of them among those that were taken apart.

    Args:
        space: anything with ``sample(rng)``; with ``mutate`` the table learns where evolution goes.
        device: runtime, threads and batch.
        input_shape: (channels, height, width) of one image.
        num_classes: outputs of the classifier.
        seconds: about how long to take, >= 10; more means more sub-layers and more bursts of each.
        seed: of the choices; timing is never exactly repeatable.
        progress: told what is going on, and the share done in 0..1.
        confidence: of the upper bound, 0.5..0.99.
        spec: how ``load_space`` names the space, ``package.module:Space`` for a user's own; the command that
            renews the table says it. "" means the space's name.
    Raises: ProfileFailed; and RuntimeRefused, NumericsMismatch, MeasurementFailed like ``measure``.
    """
    _check_request(seconds, confidence)
    tell = progress or (lambda what, share: None)
    surroundings = Surroundings()
    rng = np.random.default_rng(seed)
    archs, others = sample_widely(space, SAMPLED_NETWORKS, rng), sample_widely(space, SAMPLED_NETWORKS, rng)
    archs = lighter(archs, LIGHTER_FOR_PROBES, input_shape, num_classes)
    others = lighter(others, LIGHTER_FOR_CALIBRATION, input_shape, num_classes)

    probes = choose_probes(archs, input_shape, num_classes, 1000 * PROBE_SHARE * seconds, rng)
    protocol = MeasureProtocol.quick(PROBE_SHARE * seconds)
    models = [*(probe.model for probe in probes), EMPTY]
    *timed, empty = measure(models, device, protocol, _part_of(tell, "sub-layers", 0.0, PROBE_SHARE))
    usable = _enough(probes, timed, LEAST_SUB_LAYERS // 2)
    draft = LatencyTable(
        space=space_name(space),
        device=device,
        input_shape=input_shape,
        num_classes=num_classes,
        sub_layers=fit_sub_layers(usable, empty.latency_ms, seed),
        calibration=UNCALIBRATED,
        conditions=surroundings.conditions(device, input_shape),
        space_spec=spec or space_name(space),
        space_digest=space_digest(space),
    )
    table = _calibrated(
        draft, others, empty.latency_ms, seconds, confidence, _part_of(tell, "networks", PROBE_SHARE, 1.0)
    )
    return replace(table, conditions=surroundings.conditions(device, input_shape))


def _calibrated(
    draft: LatencyTable,
    archs: Sequence[Architecture],
    overhead_ms: float,
    seconds: float,
    confidence: float,
    progress: Progress,
) -> LatencyTable:
    """Measure a few whole networks and fit the step from the sum of blocks to them."""
    chosen = _spread_over_latency(draft, archs, 1000 * NETWORK_SHARE * seconds)
    models = [LayerModel.of(arch, draft.input_shape, draft.num_classes) for arch in chosen]
    timed = measure(models, draft.device, MeasureProtocol.quick(NETWORK_SHARE * seconds), progress)
    timed_well = _enough(chosen, timed, LEAST_NETWORKS)
    summed = np.array([draft.summed(arch) for arch, _ in timed_well])
    measured_ms = np.array([result.latency_ms for _, result in timed_well])
    calibration = calibrate(summed, measured_ms, overhead_ms, confidence)
    predicted_ms = [calibration.predict(*row) for row in summed]
    return replace(draft, calibration=calibration, measured=tuple(zip(predicted_ms, measured_ms.tolist(), strict=True)))


def _spread_over_latency(table: LatencyTable, archs: Sequence[Architecture], budget_ms: float) -> list[Architecture]:
    """Networks evenly spread over the logarithm of their predicted latency, as many as the time allows."""
    most_ms = budget_ms / LEAST_NETWORKS

    def planned(arch: Architecture) -> float:
        return planned_ms(expand(arch, table.input_shape, table.num_classes))

    affordable = {arch: table.summed(arch)[0] for arch in archs if planned(arch) < most_ms}
    if len(affordable) < LEAST_NETWORKS:
        raise ProfileFailed("profile: too little time for networks of this size, give it more seconds")
    by_latency = sorted(affordable.items(), key=lambda item: item[1])
    latencies = np.log([latency for _, latency in by_latency])
    wanted = np.linspace(latencies[0], latencies[-1], CALIBRATION_NETWORKS)
    chosen: list[Architecture] = []
    for goal in wanted[: len(latencies)]:  # the cheapest first
        place = int(np.argmin(np.abs(latencies - goal)))
        latencies[place] = np.inf  # taken
        arch = by_latency[place][0]
        budget_ms -= planned(arch)
        if budget_ms < 0 and len(chosen) >= LEAST_NETWORKS:
            break
        chosen.append(arch)
    return chosen


def lighter(archs: Sequence[Architecture], share: float, input_shape: Shape, num_classes: int) -> list[Architecture]:
    """The networks with the fewest parameters, as a share 0..1 of all."""
    by_size = sorted(archs, key=lambda arch: count(arch, input_shape, num_classes).params)
    return by_size[: max(1, round(share * len(by_size)))]


T = TypeVar("T")


def _enough(things: Sequence[T], timed: Sequence[Measurement], least: int) -> list[tuple[T, Measurement]]:
    """What was timed at least thrice; a noisy figure still teaches, and rightly widens the upper bound."""
    pairs = [pair for pair in zip(things, timed, strict=True) if len(pair[1].bursts_ms) >= LEAST_BURSTS]
    if len(pairs) < least:
        raise ProfileFailed(
            f"profile: only {len(pairs)} of {len(timed)} networks could be timed {LEAST_BURSTS} times, "
            f"{least} are needed; give it more seconds, or a calmer machine"
        )
    return pairs


def _part_of(tell: Progress, what: str, start: float, end: float) -> Progress:
    """Progress of one campaign, as a part of the whole: a third of it loads, the rest times."""

    def report(doing: str, share: float) -> None:
        within = share / 3 if doing == "loading" else 1 / 3 + 2 * share / 3
        tell(f"{doing} {what}", start + (end - start) * within)

    return report


def _check_request(seconds: float, confidence: float) -> None:
    if seconds < LEAST_SECONDS:
        raise ProfileFailed(f"profile: {seconds:g} s is too short, give it {LEAST_SECONDS:g} s or more")
    if not 0.5 <= confidence <= 0.99:
        raise ProfileFailed(f"profile: confidence {confidence}, expected 0.5 to 0.99")
