"""Latency of kernels on a CPU from its vector units and cache levels.

    compute = multiply-adds that meet the map, channels padded to vectors / rate of the kind of convolution
    memory  = bytes / private cache + bytes beyond it / shared cache + bytes beyond that / memory
    latency = call + (compute^s + memory^s)^(1/s)

What a convolution reads and writes comes from the nearest level that holds it; only the part beyond a level's size
costs the next one. Grouped convolutions whose groups are not whole vectors leave the blocked layout of CPU runtimes
and run several times slower a multiply-add (measured: ONNX Runtime 7 times, quartiles 4 to 11).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np

from hardware.kernel_arrays import KernelArrays, Mask, Vector
from hardware.kernels import GROUPED, Kernel
from search_spaces.layers import ATTENTION, LINEAR

FEW_CHANNELS = 4  # of images: their first convolution has its own kernel


class InvalidCpu(ValueError):
    """The values do not describe a CPU; the message says which and what was expected."""


@dataclass(frozen=True, slots=True)
class CpuRoofline:
    """A CPU as one call of a runtime uses it. Factors multiply the time of a dense convolution wider than 1x1.

    Attributes:
        vector: channels in one vector register.
        scalar_bytes: of one number.
        private_bytes, shared_bytes: sizes of the caches of one core and of all.
        macs_per_ms: of a dense convolution.
        private_bytes_per_ms, shared_bytes_per_ms, memory_bytes_per_ms: bandwidths.
        call_ms: of one kernel, whatever it does.
        sharpness: how strictly the longer of computing and moving hides the shorter.
        pointwise, depthwise, few_channels, odd_groups: factors for 1x1, depthwise, the first convolution of an
            image, and groups that are not whole vectors.
        scalars_per_ms: outputs of what does no multiply-adds: additions, activations, pooling.
    """

    vector: int
    scalar_bytes: int
    private_bytes: float
    shared_bytes: float
    macs_per_ms: float
    private_bytes_per_ms: float
    shared_bytes_per_ms: float
    memory_bytes_per_ms: float
    call_ms: float
    sharpness: float = 2.0
    pointwise: float = 1.2
    depthwise: float = 2.5
    few_channels: float = 1.5
    odd_groups: float = 7.0
    scalars_per_ms: float = 1e6

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (np.isfinite(value) and value > 0):
                raise InvalidCpu(f"cpu: {field.name}={value!r}, expected a positive number")

    def predict_ms(self, kernels: Sequence[Kernel] | KernelArrays) -> Vector:
        """(n,) milliseconds of each kernel, call included."""
        work = KernelArrays.from_any(kernels)
        compute, memory = self.compute_ms(work), self.memory_ms(work)
        longer, shorter = np.maximum(compute, memory), np.minimum(compute, memory)
        ratio = shorter / np.maximum(longer, 1e-12)
        return np.asarray(self.call_ms + longer * (1 + ratio**self.sharpness) ** (1 / self.sharpness))

    def compute_ms(self, work: KernelArrays) -> Vector:
        """(n,) milliseconds of arithmetic."""
        macs = np.where(work.is_kind(ATTENTION), work.macs, self._padded_macs(work)) * self._factor(work)
        idle = np.where(work.macs > 0, 0.0, work.out_scalars)
        return np.asarray(macs / self.macs_per_ms + idle / self.scalars_per_ms)

    def memory_ms(self, work: KernelArrays) -> Vector:
        """(n,) milliseconds of moving inputs, outputs and weights through the cache levels."""
        moved = self.scalar_bytes * (work.in_scalars + work.out_scalars + work.weights)
        near = moved / self.private_bytes_per_ms
        shared = np.maximum(0.0, moved - self.private_bytes) / self.shared_bytes_per_ms
        far = np.maximum(0.0, moved - self.shared_bytes) / self.memory_bytes_per_ms
        return np.asarray(near + shared + far)

    def _padded_macs(self, work: KernelArrays) -> Vector:
        """(n,) multiply-adds with whole vectors of output channels, without taps on padding."""
        width = np.ceil(work.channels / self.vector) * self.vector
        rows = inner_taps(work.in_height, work.height, work.kernel, work.stride)
        columns = inner_taps(work.in_width, work.width, work.kernel, work.stride)
        conv = work.batch * width * work.in_channels / work.groups * rows * columns
        linear = work.batch * width * work.in_channels
        return np.where(work.is_conv, conv, np.where(work.is_kind(LINEAR), linear, 0.0))

    def _factor(self, work: KernelArrays) -> Vector:
        return np.select(
            [work.is_depthwise, self.has_odd_groups(work), work.in_channels <= FEW_CHANNELS, work.kernel == 1],
            [self.depthwise, self.odd_groups, self.few_channels, self.pointwise],
            1.0,
        )

    def has_odd_groups(self, work: KernelArrays) -> Mask:
        """(n,) whether a grouped convolution's channels per group are not whole vectors."""
        uneven = (work.channels / work.groups % self.vector > 0) | (work.in_channels / work.groups % self.vector > 0)
        return np.asarray(work.is_kind(GROUPED) & uneven)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote. Raises InvalidCpu."""
        known = {field.name for field in fields(cls)}
        if set(data) - known:
            raise InvalidCpu(f"cpu: unknown field {min(set(data) - known)!r}, expected some of {', '.join(known)}")
        return cls(**data)


def inner_taps(size: Vector, outputs: Vector, kernel: Vector, stride: Vector) -> Vector:
    """(n,) taps inside the map along one axis, summed over output positions, as ``hardware.roofline.true_macs``."""
    padding = np.where(kernel == stride, 0, np.floor((kernel - 1) / 2))
    total = np.zeros(len(size))
    for tap in range(int(kernel.max(initial=0))):
        first = np.maximum(0, np.ceil((padding - tap) / stride))
        last = np.minimum(outputs - 1, np.floor((size - 1 + padding - tap) / stride))
        total += np.where(tap < kernel, np.maximum(0, last - first + 1), 0)
    return total
