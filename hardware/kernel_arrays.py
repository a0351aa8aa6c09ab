"""Kernels as columns of numbers: what models that compute many latencies at once read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hardware.kernels import CONV_KINDS, DEPTHWISE, KINDS, Kernel
from search_spaces.layers import ADD, ATTENTION, LINEAR

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

_CODE = {kind: code for code, kind in enumerate(KINDS)}
_CONV_CODES = tuple(_CODE[kind] for kind in CONV_KINDS)


class KernelArrays(NamedTuple):
    """The facts of n kernels, each column (n,) float64; the meaning of each is that of ``Kernel``.

    ``code`` is the position of the kind in ``hardware.kernels.KINDS``.
    """

    code: Vector
    batch: Vector
    in_channels: Vector
    in_height: Vector
    in_width: Vector
    channels: Vector
    height: Vector
    width: Vector
    kernel: Vector
    stride: Vector
    groups: Vector
    adds: Vector

    @classmethod
    def of(cls, kernels: Sequence[Kernel]) -> Self:
        """Columns of kernels; about a microsecond a kernel."""
        if not kernels:
            return cls(*np.empty((len(cls._fields), 0)))
        kinds, in_shapes, shapes, *rest = zip(*kernels, strict=True)
        kernel, stride, groups, _, adds, batch = (np.asarray(column) for column in rest)
        codes = [_CODE[kind] for kind in kinds]
        columns = (codes, batch, *np.array(in_shapes).T, *np.array(shapes).T, kernel, stride, groups, adds)
        return cls(*(np.asarray(column, np.float64) for column in columns))

    @classmethod
    def from_any(cls, kernels: Sequence[Kernel] | KernelArrays) -> KernelArrays:
        """Columns of kernels that may be columns already."""
        return kernels if isinstance(kernels, KernelArrays) else cls.of(kernels)

    def chosen(self, rows: NDArray[np.int64] | Mask) -> Self:
        """The rows at these positions, or where the mask says so."""
        return type(self)(*(column[rows] for column in self))

    def is_kind(self, *kinds: str) -> Mask:
        """(n,) whether the kind is one of these."""
        return np.isin(self.code, [_CODE[kind] for kind in kinds])

    @property
    def is_conv(self) -> Mask:
        """(n,) whether it is a convolution of any kind."""
        return np.isin(self.code, _CONV_CODES)

    @property
    def is_depthwise(self) -> Mask:
        """(n,) whether it is a depthwise convolution."""
        return np.isin(self.code, _CODE[DEPTHWISE])

    @property
    def positions(self) -> Vector:
        """(n,) output positions of the whole batch."""
        return self.batch * self.height * self.width

    @property
    def reduction(self) -> Vector:
        """(n,) products summed for one output value of a convolution or linear layer; 0 for the others."""
        taps = self.kernel**2 * self.in_channels / self.groups
        return np.where(self.is_conv, taps, np.where(self.is_kind(LINEAR), self.in_channels, 0.0))

    @property
    def macs(self) -> Vector:
        """(n,) multiply-accumulates of the whole batch, as ``Kernel.macs``."""
        spread = (self.in_channels + self.channels) * (self.height * self.width) ** 2 * self.batch
        dense = self.positions * self.channels * self.reduction
        return np.where(self.is_kind(ATTENTION), spread, dense)

    @property
    def in_scalars(self) -> Vector:
        """(n,) scalars of the input maps of the whole batch, without that of a fused addition."""
        maps = np.where(self.is_kind(ATTENTION), 3.0, np.where(self.is_kind(ADD), 2.0, 1.0))
        return maps * self.batch * self.in_channels * self.in_height * self.in_width

    @property
    def out_scalars(self) -> Vector:
        """(n,) scalars written for the whole batch, and read for a fused addition."""
        return self.positions * self.channels * (1 + self.adds)

    @property
    def weights(self) -> Vector:
        """(n,) scalars of the weights of a convolution or linear layer."""
        return self.reduction * self.channels
