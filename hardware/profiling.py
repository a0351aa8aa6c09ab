"""Profiling: some kernels, or pieces, and networks of a space measured; the rest of the space is predicted from them.

Runtimes that tell times inside a network (``hardware.runtimes.PROFILERS``) are profiled by kernels, which serve every
space; of the others sub-layers are run alone. Either way the rows stay in the device's table, so that a second run adds
to the first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from hardware.calibration import LEAST_NETWORKS
from hardware.conditions import Surroundings
from hardware.counts import count
from hardware.device import FP32, Device
from hardware.device_store import device_name, device_path, load_device, save_device
from hardware.device_table import DeviceTable, InvalidTable, NetworkRow
from hardware.fitting import fit_latency_table
from hardware.here import changed_since
from hardware.kernel_profiling import Keep, measure_kernels
from hardware.lookup import LatencyTable
from hardware.measure import Measurement, MeasureProtocol, Progress, measure
from hardware.models import EMPTY, LayerModel
from hardware.probes import LEAST_SUB_LAYERS, choose_probes, planned_ms
from hardware.protocol import steady
from hardware.runtimes import PROFILERS
from hardware.spaces import Space, sample_widely
from search_spaces.arch import Architecture
from search_spaces.expand import expand
from search_spaces.layers import Shape

LEAST_SECONDS = 10.0
SAMPLED_NETWORKS = 300
LIGHTER_FOR_PROBES, LIGHTER_FOR_CALIBRATION = 0.75, 0.5  # walks reach giants that no budget would admit
CALIBRATION_NETWORKS = 20
LEAST_BURSTS = 3
PROBE_SHARE, NETWORK_SHARE = 0.55, 0.3  # of the time; fitting takes the rest
FIT_S = 12.0  # kept for fitting kernels
MEASURED_HERE = "measured here"


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
    rows: DeviceTable | None = None,
    keep: Keep | None = None,
    until_error: float = 0.0,
) -> LatencyTable:
    """Measure a space on a device and return its latency table.

    The upper bound holds for networks like those that were measured whole: what the space draws and a few mutations
    make of it, giants excepted; of runtimes that are measured by sub-layers the lighter half.

    Args:
        space: anything with ``sample(rng)``; with ``mutate`` the table learns where evolution goes.
        device: runtime, threads and batch.
        input_shape: (channels, height, width) of one image.
        num_classes: outputs of the classifier.
        seconds: about how long to take, >= 10; more means more kernels or sub-layers, and more networks.
        seed: of the choices; timing is never exactly repeatable.
        progress: told what is going on, and the share done in 0..1.
        confidence: of the upper bound, 0.5..0.99.
        spec: how ``load_space`` names the space, ``package.module:Space`` for a user's own; the command that
            renews the table says it. "" means the space's name.
        rows: what was measured of the device before, under the same conditions; None for nothing.
        keep: called with all rows whenever there are new ones.
        until_error: stop before the time when the held-out mean error, as a fraction, is no larger.
    Raises: ProfileFailed; and RuntimeRefused, NumericsMismatch, MeasurementFailed like ``measure``.
    """
    _check_request(seconds, confidence)
    began = time.monotonic()
    tell = progress or (lambda what, share: None)
    keep = keep or (lambda table: None)
    rng = np.random.default_rng(seed)
    rows = rows or empty_table(device)

    def fitted(table: DeviceTable) -> LatencyTable:
        return fit_latency_table(
            table, space, device, input_shape, num_classes, confidence=confidence, spec=spec, seed=seed
        )

    def good(table: DeviceTable) -> bool:
        return until_error > 0 and fitted(table).calibration.held_out.mape <= until_error

    def left_s() -> float:
        return seconds - FIT_S - (time.monotonic() - began)

    try:
        if tells_kernels(device):
            pool = _pool(space, rng, rows)
            rows = measure_kernels(
                rows,
                pool,
                device,
                input_shape,
                num_classes,
                left_s=left_s,
                progress=_overall(tell, began, seconds),
                keep=keep,
                done=good,
            )
        else:
            rows = _measure_pieces(rows, space, device, input_shape, num_classes, seconds, rng, tell)
            keep(rows)
        return fitted(rows)
    except InvalidTable as error:
        raise ProfileFailed(f"profile: {error}; give it more seconds, or a calmer machine") from None


def profile_stored(  # noqa: PLR0913 - as above
    space: Space,
    device: Device,
    input_shape: Shape,
    num_classes: int,
    *,
    name: str = "",
    seconds: float,
    seed: int,
    progress: Progress | None = None,
    confidence: float = 0.9,
    spec: str = "",
    until_error: float = 0.0,
) -> LatencyTable:
    """``profile_space``, adding to the table of the device that is stored under a name, "" for one made of the device.

    The table is kept after every part of the profile.
    """
    rows = stored_rows(device, name)
    return profile_space(
        space,
        device,
        input_shape,
        num_classes,
        seconds=seconds,
        seed=seed,
        progress=progress,
        confidence=confidence,
        spec=spec,
        rows=rows,
        keep=_store,
        until_error=until_error,
    )


def _store(table: DeviceTable) -> None:
    save_device(table)


def stored_rows(device: Device, name: str = "") -> DeviceTable:
    """The stored table of a device that is measured here, or an empty one where there is none under these conditions.

    Rows of other conditions that nobody named, as after an update of the runtime, are set aside under another name.
    Raises: InvalidTable: the table of that name is of another device or other conditions, or damaged.
    """
    fresh = empty_table(device, name)
    if not device_path(fresh.name).is_file():
        return fresh
    found = load_device(fresh.name)
    if found.device != fresh.device:
        where = found.device or found.source
        raise InvalidTable(f"device {fresh.name}: the stored table is of {where}, not of {device}; give another --name")
    changed = changed_since(found)
    if not changed:
        return found
    if name:
        raise InvalidTable(
            f"device {name}: its rows were measured under other conditions ({'; '.join(changed)}); give another "
            f"--name, or forget them: netwright device rm {name}"
        )
    save_device(replace(found, name=f"{found.name}-before-{found.digest[:8]}"))
    return fresh


def empty_table(device: Device, name: str = "") -> DeviceTable:
    """A table of a device that is measured here, without rows."""
    return DeviceTable(name or device_name(device), str(device), device.precision, MEASURED_HERE)


def tells_kernels(device: Device) -> bool:
    """Whether the runtime tells times inside a network there."""
    return device.runtime in PROFILERS and device.name == "cpu" and device.precision == FP32


def _pool(space: Space, rng: np.random.Generator, rows: DeviceTable) -> list[Architecture]:
    """Networks to choose from, other ones when some were measured before."""
    for _ in range(len(rows.networks)):
        rng.random()
    return sample_widely(space, SAMPLED_NETWORKS + len(rows.networks), rng)


def _measure_pieces(  # noqa: PLR0913 - as ``profile_space``
    rows: DeviceTable,
    space: Space,
    device: Device,
    input_shape: Shape,
    num_classes: int,
    seconds: float,
    rng: np.random.Generator,
    tell: Progress,
) -> DeviceTable:
    """Sub-layers alone, then whole networks spread over their size, both added to the rows."""
    surroundings = Surroundings()
    archs, others = sample_widely(space, SAMPLED_NETWORKS, rng), sample_widely(space, SAMPLED_NETWORKS, rng)
    archs = lighter(archs, LIGHTER_FOR_PROBES, input_shape, num_classes)
    others = lighter(others, LIGHTER_FOR_CALIBRATION, input_shape, num_classes)
    probes = choose_probes(archs, input_shape, num_classes, 1000 * PROBE_SHARE * seconds, rng, device.batch)
    models = [*(probe.model for probe in probes), EMPTY]
    protocol = MeasureProtocol.quick(PROBE_SHARE * seconds)
    *timed, empty = measure(models, device, protocol, _part_of(tell, "sub-layers", 0.0, PROBE_SHARE))
    pieces = tuple(
        replace(probe.row, latency_ms=found.latency_ms)
        for probe, found in _enough(probes, timed, LEAST_SUB_LAYERS // 2)
    )
    chosen = _spread_over_size(others, input_shape, num_classes, 1000 * NETWORK_SHARE * seconds)
    whole = [LayerModel.of(arch, input_shape, num_classes) for arch in chosen]
    protocol = MeasureProtocol.quick(NETWORK_SHARE * seconds)
    timed = measure(whole, device, protocol, _part_of(tell, "networks", PROBE_SHARE, 1.0))
    networks = tuple(
        NetworkRow(arch, input_shape, num_classes, found.latency_ms, found.low_ms, found.high_ms, device.batch)
        for arch, found in _enough(chosen, timed, LEAST_NETWORKS)
    )
    measured = replace(
        rows,
        pieces=pieces,
        networks=networks,
        kernels=(),
        overhead_ms=empty.latency_ms,
        conditions=surroundings.conditions(device, input_shape),
    )
    return rows.merged(measured)


def _spread_over_size(
    archs: Sequence[Architecture], input_shape: Shape, num_classes: int, budget_ms: float
) -> list[Architecture]:
    """Networks evenly spread over the logarithm of what they plan to take, as many as the time allows."""
    most_ms = budget_ms / LEAST_NETWORKS
    planned = {arch: planned_ms(expand(arch, input_shape, num_classes)) for arch in archs}
    affordable = sorted((ms, i) for i, (arch, ms) in enumerate(planned.items()) if ms < most_ms)
    if len(affordable) < LEAST_NETWORKS:
        raise ProfileFailed("profile: too little time for networks of this size, give it more seconds")
    logs = np.log([ms for ms, _ in affordable])
    by_place = list(planned)
    chosen: list[Architecture] = []
    for goal in np.linspace(logs[0], logs[-1], CALIBRATION_NETWORKS)[: len(logs)]:  # the cheapest first
        place = int(np.argmin(np.abs(logs - goal)))
        logs[place] = np.inf  # taken
        ms, at = affordable[place]
        budget_ms -= ms
        if budget_ms < 0 and len(chosen) >= LEAST_NETWORKS:
            break
        chosen.append(by_place[at])
    return chosen


def lighter(archs: Sequence[Architecture], share: float, input_shape: Shape, num_classes: int) -> list[Architecture]:
    """The networks with the fewest parameters, as a share 0..1 of all."""
    by_size = sorted(archs, key=lambda arch: count(arch, input_shape, num_classes).params)
    return by_size[: max(1, round(share * len(by_size)))]


T = TypeVar("T")


def _enough(things: Sequence[T], timed: Sequence[Measurement], least: int) -> list[tuple[T, Measurement]]:
    """What was timed at least thrice and is not void; a noisy figure still teaches, and widens the upper bound."""
    tried = [pair for pair in zip(things, timed, strict=True) if len(pair[1].bursts_ms) >= LEAST_BURSTS]
    pairs = steady(tried, [found.bursts_ms for _, found in tried], least)
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


def _overall(tell: Progress, began: float, seconds: float) -> Progress:
    """Progress by the time that is spent."""
    return lambda doing, share: tell(f"{doing} networks", min(1.0, (time.monotonic() - began) / seconds))


def _check_request(seconds: float, confidence: float) -> None:
    if seconds < LEAST_SECONDS:
        raise ProfileFailed(f"profile: {seconds:g} s is too short, give it {LEAST_SECONDS:g} s or more")
    if not 0.5 <= confidence <= 0.99:
        raise ProfileFailed(f"profile: confidence {confidence}, expected 0.5 to 0.99")
