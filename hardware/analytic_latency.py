"""The latency of whole networks from any model of kernels, summed by sub-layers that few designs differ in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hardware.kernel_arrays import Vector
from hardware.kernels import Kernel, kernels_of
from hardware.lookup import Estimate
from hardware.pieces import head_layers
from search_spaces.arch import Architecture, Block
from search_spaces.expand import CACHE_SIZE, SubLayer, block_output, expand_sub_layer, sub_layers
from search_spaces.layers import Shape

ASSUMED_FACTOR = 2.0  # of the upper bound over the mean, where nobody has measured networks


class KernelModel(Protocol):
    """Anything that knows how long kernels take."""

    def predict_ms(self, kernels: Sequence[Kernel]) -> Vector:
        """(n,) milliseconds of each kernel."""
        ...


@dataclass(frozen=True, eq=False)
class AnalyticLatency:
    """A latency model for a search: the sum of kernels, cached by sub-layer.

    Attributes:
        model: of kernels.
        input_shape: (channels, height, width) of one image.
        num_classes: outputs of the classifier.
        batch: images per call.
        factor: from the sum of kernels to a measured network; 1 where no network was measured.
        upper_factor: the upper bound over the mean. The default is an assumption, not a measurement.
    """

    model: KernelModel
    input_shape: Shape
    num_classes: int
    batch: int = 1
    factor: float = 1.0
    upper_factor: float = ASSUMED_FACTOR
    _blocks: dict[tuple[Block, Shape], tuple[float, Shape]] = field(default_factory=dict, init=False, repr=False)
    _sub_layers: dict[SubLayer, float] = field(default_factory=dict, init=False, repr=False)
    _heads: dict[Shape, float] = field(default_factory=dict, init=False, repr=False)

    def estimate(self, arch: Architecture) -> Estimate:
        """Latency of one call with the whole batch.

        Raises: InvalidArchitecture.
        """
        total_ms, shape = 0.0, self.input_shape
        for block in arch.blocks:
            block_ms, shape = self._blocks.get((block, shape)) or self._add_block(block, shape)
            total_ms += block_ms
        mean_ms = self.factor * (total_ms + self._head_ms(shape))
        return Estimate(mean_ms, mean_ms * self.upper_factor)

    def blocks_ms(self, arch: Architecture) -> tuple[float, ...]:
        """Share of each block in ``mean_ms``; the rest is the classifier."""
        shares, shape = [], self.input_shape
        for block in arch.blocks:
            block_ms, shape = self._blocks.get((block, shape)) or self._add_block(block, shape)
            shares.append(self.factor * block_ms)
        return tuple(shares)

    def _add_block(self, block: Block, in_shape: Shape) -> tuple[float, Shape]:
        if len(self._blocks) >= CACHE_SIZE:
            self._blocks.clear()
            self._sub_layers.clear()
        total_ms = sum(times * self._sub_layer_ms(sub) for sub, times in sub_layers(block, in_shape))
        self._blocks[block, in_shape] = total_ms, block_output(block, in_shape)
        return self._blocks[block, in_shape]

    def _sub_layer_ms(self, sub: SubLayer) -> float:
        if sub not in self._sub_layers:
            kernels = kernels_of(expand_sub_layer(sub), self.batch)
            self._sub_layers[sub] = float(self.model.predict_ms(kernels).sum())
        return self._sub_layers[sub]

    def _head_ms(self, shape: Shape) -> float:
        if shape not in self._heads:
            kernels = kernels_of(head_layers(shape, self.num_classes), self.batch)
            self._heads[shape] = float(self.model.predict_ms(kernels).sum())
        return self._heads[shape]
