"""Latency of kernels on a GPU from its architecture: a roofline with tiles, waves, alignment and launches.

A convolution is a matrix product of (positions x channels) with a reduction over taps and input channels. The GPU
cuts it into tiles, one multiprocessor computes one tile at a time, and a last, half-empty wave of tiles costs as much
as a full one: latency is a staircase in every size.

    compute = min over tiles a x b of  (waves + fill) (a b + side (a + b)) * padded reduction * multiprocessors / rate
    waves   = ceil(ceil(positions / a) * ceil(channels / b) * groups / multiprocessors)
    latency = launch + (compute^s + memory^s)^(1/s)

with memory = bytes moved / bandwidth, faster for what fits the cache. Depthwise convolutions do not use the matrix
units: they have a rate and a bandwidth of their own. Alone this ranks well and errs by 15 to 25 % a kernel; it is
the prior of models that learn, and the fallback for devices that nobody measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np

from hardware.kernel_arrays import KernelArrays, Vector
from hardware.kernels import Kernel
from search_spaces.layers import ATTENTION

FEW_CHANNELS = 4  # no more than an image has: too few for the matrix units
_TILE_HEIGHTS = (64, 128, 256)
_TILE_WIDTHS = (32, 64, 128, 256)
_LARGEST_TILE = 256 * 128


class Precision(NamedTuple):
    """What a number format means for the matrix units.

    Attributes:
        scalar_bytes: of one number in memory.
        alignment: channels are stored as a multiple of this.
        chunk: the reduction is done in multiples of this, for every tap of a window.
        least_width: channels of the narrowest tile.
    """

    scalar_bytes: int
    alignment: int
    chunk: int
    least_width: int


PRECISIONS = {"fp32": Precision(4, 1, 8, 32), "fp16": Precision(2, 8, 32, 64), "int8": Precision(1, 4, 64, 64)}


class InvalidGpu(ValueError):
    """The values do not describe a GPU; the message says which and what was expected."""


@dataclass(frozen=True, slots=True)
class GpuRoofline:
    """A GPU at one precision. Factors multiply the time of computing; 1 is that of a 3x3 with stride 2.

    Attributes:
        multiprocessors: tiles that are computed at once.
        precision: key into ``PRECISIONS``.
        cache_bytes: of the last-level cache.
        macs_per_ms: of all multiprocessors, dense.
        bytes_per_ms: from and to memory.
        launch_ms: of one kernel, whatever it does.
        sharpness: how strictly the longer of computing and moving hides the shorter; infinite is the ideal roofline.
        fill: waves' worth of time in which the first and the last tiles leave the units idle.
        side: of a square tile at which loading its operands doubles its time, halved.
        cache_gain: how many times faster, less one, a small kernel's data come from the cache.
        skipped_input: share of the input that a convolution reads whose stride exceeds its kernel.
        few_channels, pointwise, winograd, k5, k7: factors for few input channels, 1x1, 3x3 with stride 1, 5x5, 7x7.
        depthwise_macs_per_ms, depthwise_bytes_per_ms: of depthwise convolutions.
        depthwise_k3, depthwise_k3_strided: factors for their 3x3, which often has kernels of its own.
    """

    multiprocessors: int
    precision: str
    cache_bytes: float
    macs_per_ms: float
    bytes_per_ms: float
    launch_ms: float
    sharpness: float = 2.0
    fill: float = 2.0
    side: float = 2.0
    cache_gain: float = 1.0
    skipped_input: float = 0.6
    few_channels: float = 1.0
    pointwise: float = 1.0
    winograd: float = 1.0
    k5: float = 1.0
    k7: float = 1.0
    depthwise_macs_per_ms: float = 5e8
    depthwise_bytes_per_ms: float = 5e8
    depthwise_k3: float = 1.0
    depthwise_k3_strided: float = 1.0

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InvalidGpu(f"gpu: precision={self.precision!r}, expected one of {', '.join(PRECISIONS)}")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "precision" and not (np.isfinite(value) and value > 0):
                raise InvalidGpu(f"gpu: {field.name}={value!r}, expected a positive number")

    def predict_ms(self, kernels: Sequence[Kernel] | KernelArrays) -> Vector:
        """(n,) milliseconds of each kernel, launch included."""
        work = KernelArrays.from_any(kernels)
        compute, memory = self.compute_ms(work), self.memory_ms(work)
        longer, shorter = np.maximum(compute, memory), np.minimum(compute, memory)
        ratio = shorter / np.maximum(longer, 1e-12)
        return np.asarray(self.launch_ms + longer * (1 + ratio**self.sharpness) ** (1 / self.sharpness))

    def compute_ms(self, work: KernelArrays) -> Vector:
        """(n,) milliseconds of arithmetic, on matrix units or, for depthwise convolutions, beside them."""
        tiled = self._tiled_ms(work) * self._window_factor(work)
        at_rate = work.macs / self.macs_per_ms
        threes = np.where(work.stride == 1, self.depthwise_k3, self.depthwise_k3_strided)
        beside = work.macs / self.depthwise_macs_per_ms * np.where(work.kernel == 3, threes, 1.0)
        dense = np.where(work.is_kind(ATTENTION), at_rate, tiled)
        return np.where(work.is_depthwise, beside, np.where(work.macs > 0, dense, 0.0))

    def memory_ms(self, work: KernelArrays) -> Vector:
        """(n,) milliseconds of moving inputs, outputs and weights."""
        facts = PRECISIONS[self.precision]
        skips = np.where(work.is_conv & (work.stride > work.kernel), self.skipped_input, 1.0)
        read = work.in_scalars * padding_factor(work.in_channels, facts.alignment) * skips
        written = work.out_scalars * padding_factor(work.channels, facts.alignment)
        moved = facts.scalar_bytes * (read + written + work.weights)
        bandwidth = np.where(work.is_depthwise, self.depthwise_bytes_per_ms, self.bytes_per_ms)
        return np.asarray(moved / bandwidth / (1 + self.cache_gain * np.exp(-moved / self.cache_bytes)))

    def _tiled_ms(self, work: KernelArrays) -> Vector:
        """(n,) milliseconds of a matrix product with the best tile, before the factor of its window."""
        facts = PRECISIONS[self.precision]
        columns = _up(work.channels / work.groups, facts.alignment)
        reduction = padded_reduction(work, facts.chunk)
        best = np.full(len(columns), np.inf)
        for height, width in tiles(facts.least_width):
            count = np.ceil(work.positions / height) * np.ceil(columns / width) * work.groups
            waves = np.ceil(count / self.multiprocessors) + self.fill
            best = np.minimum(best, waves * (height * width + self.side * (height + width)))
        return best * reduction * self.multiprocessors / self.macs_per_ms

    def _window_factor(self, work: KernelArrays) -> Vector:
        three = np.where(work.stride == 1, self.winograd, 1.0)
        by_size = np.select(
            [work.kernel == 1, work.kernel == 3, work.kernel <= 5], [self.pointwise, three, self.k5], self.k7
        )
        return by_size * np.where(work.in_channels <= FEW_CHANNELS, self.few_channels, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote. Raises InvalidGpu."""
        known = {field.name for field in fields(cls)}
        if set(data) - known:
            raise InvalidGpu(f"gpu: unknown field {min(set(data) - known)!r}, expected some of {', '.join(known)}")
        return cls(**data)


def tiles(least_width: int) -> list[tuple[int, int]]:
    """Tile shapes (positions, channels) that a multiprocessor can hold."""
    return [(a, b) for a in _TILE_HEIGHTS for b in _TILE_WIDTHS if b >= least_width and a * b <= _LARGEST_TILE]


def padded_reduction(work: KernelArrays, chunk: int) -> Vector:
    """(n,) length of the reduction as the units do it: whole chunks for every tap, or in all where channels are few."""
    together = (work.in_channels <= FEW_CHANNELS) | (work.kernel == 1) | ~work.is_conv
    per_tap = _up(work.in_channels / work.groups, chunk) * work.kernel**2
    return np.where(together, _up(work.reduction, chunk), per_tap)


def padding_factor(channels: Vector, alignment: int) -> Vector:
    """(n,) how many times larger a map is stored than its channels ask for."""
    return np.asarray(_up(channels, alignment) / channels)


def _up(sizes: Vector, step: int) -> Vector:
    return np.asarray(np.ceil(sizes / step) * step)
