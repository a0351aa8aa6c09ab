"""Kernels of a space, measured inside its networks: which networks, in which order, until time or error say stop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from hardware.calibration import LEAST_NETWORKS
from hardware.device import Device
from hardware.device_table import DeviceTable, KernelRow, NetworkRow
from hardware.kernel_features import demands
from hardware.kernel_model import footprint_of
from hardware.kernel_times import NetworkTimes, time_kernels
from hardware.kernels import Kernel, kernels_of
from hardware.kriging import Vector
from hardware.measure import Progress
from hardware.models import LayerModel
from hardware.probes import farthest_first, planned_ms
from hardware.protocol import MeasureProtocol, steady
from search_spaces.arch import Architecture
from search_spaces.expand import expand
from search_spaces.layers import Shape

CHUNK = 16  # networks that are timed together at most; the table is kept after each chunk
CHUNK_MS = 12_000.0  # and no more than are planned to take so long, lest large ones get too few bursts
PROTOCOL = MeasureProtocol(burst_ms=8.0, min_bursts=6, min_span_s=6.0, max_s=10.0, max_bursts=12)
CHUNK_S = 13.0  # about how long one takes
# Of the time, for loading and timing one network, by the seconds there are: with few of them giants, which stand first
# among the farthest, would leave none for the networks that a budget admits.
LARGEST_SHARES = ((30.0, 80.0), (1 / 100, 1 / 40))

Keep = Callable[[DeviceTable], None]


def measure_kernels(  # noqa: PLR0913 - the facts of a table, and how long to take
    table: DeviceTable,
    archs: Sequence[Architecture],
    device: Device,
    input_shape: Shape,
    num_classes: int,
    *,
    left_s: Callable[[], float],
    progress: Progress,
    keep: Keep,
    done: Callable[[DeviceTable], bool] = lambda table: False,
) -> DeviceTable:
    """Measure networks in chunks and return the table with their rows; what was measured before is not repeated.

    Kernels are learned from all networks of a chunk together. As a figure of its own a network whose bursts are void is
    left out, unless fewer than five are calm: then the steadiest five stay.

    Args:
        table: of the device so far.
        archs: to choose from, in no order: those farthest from all measured ones come first.
        device: runtime, threads and batch.
        input_shape: (channels, height, width) of one image.
        num_classes: outputs of the classifier.
        left_s: seconds that are left; at least one chunk is measured if none is there.
        progress: told what is going on, and the share done of the chunk.
        keep: called with the table after every chunk.
        done: whether the table is good enough to stop before the time.
    Raises: like ``time_kernels``.
    """
    known = {row.arch for row in table.networks if row.input_shape == input_shape and row.batch == device.batch}
    first = not known
    seconds = left_s()
    most_ms = 1e3 * seconds * float(np.interp(seconds, *LARGEST_SHARES))
    for chunk in _chunks([arch for arch in archs if arch not in known], input_shape, num_classes, most_ms):
        if not first and (left_s() < CHUNK_S or done(table)):
            break
        first = False
        models = [LayerModel.of(arch, input_shape, num_classes) for arch in chunk]
        campaign = time_kernels(models, device, PROTOCOL, progress)
        by_name = {model.name: arch for model, arch in zip(models, chunk, strict=True)}
        whole = steady(campaign.networks, [times.bursts_ms for times in campaign.networks], LEAST_NETWORKS)
        found = replace(
            table,
            kernels=tuple(row for times in campaign.networks for row in kernel_rows(times)),
            networks=tuple(
                _network_row(by_name[times.model.name], times, num_classes, device.batch) for times in whole
            ),
            pieces=(),
            overhead_ms=campaign.overhead_ms,
            conditions=campaign.conditions,
        )
        table = table.merged(found)
        keep(table)
    return table


def _chunks(
    archs: Sequence[Architecture], input_shape: Shape, num_classes: int, most_ms: float
) -> Iterator[list[Architecture]]:
    """The most informative networks first; those that would take too long to load and time are left out."""
    layers = {arch: expand(arch, input_shape, num_classes) for arch in archs}
    planned = {arch: planned_ms(each) for arch, each in layers.items()}
    light = [arch for arch in layers if planned[arch] <= most_ms] or sorted(layers, key=planned.__getitem__)[:CHUNK]
    if not light:
        return
    order = farthest_first(np.array([_summary(kernels_of(layers[arch])) for arch in light]), len(light))
    chunk: list[Architecture] = []
    for arch in (light[i] for i in order):
        if chunk and (len(chunk) == CHUNK or sum(planned[each] for each in (*chunk, arch)) > CHUNK_MS):
            yield chunk
            chunk = []
        chunk.append(arch)
    yield chunk


def _summary(kernels: Sequence[Kernel]) -> Vector:
    """What a network asks of a device by kind of kernel, and its footprint, as logarithms."""
    asked = demands(kernels).sum(axis=0)
    return np.asarray(np.log1p(np.array([*(1e3 * asked), footprint_of(kernels)])))


def kernel_rows(times: NetworkTimes) -> list[KernelRow]:
    """One row for each distinct kernel of a timed network: the mean of its copies."""
    found: dict[Kernel, list[float]] = defaultdict(list)
    for kernel, ms in zip(times.kernels, times.kernels_ms, strict=True):
        found[kernel].append(ms)
    footprint = footprint_of(times.kernels)
    return [KernelRow(kernel, float(np.mean(ms)), len(ms), footprint) for kernel, ms in found.items()]


def _network_row(arch: Architecture, times: NetworkTimes, num_classes: int, batch: int) -> NetworkRow:
    bursts_ms = sorted(times.bursts_ms)
    return NetworkRow(arch, times.model.input_shape, num_classes, times.latency_ms, bursts_ms[0], bursts_ms[-1], batch)
