"""Exact counts of a network from its layers: parameters, MACs, depth, peak activation memory.

Conventions: one MAC is one multiply-add of a convolution, linear layer or attention, padded taps included; parameters
are what PyTorch trains. Peak memory is that of inference on the graph as deployment runtimes fuse it: normalisation
folded into the convolution, activations in place, an addition in place when one operand dies there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from search_spaces.arch import Architecture, Block
from search_spaces.expand import (
    CACHE_SIZE,
    SubLayer,
    block_inputs,
    block_output,
    expand_sub_layer,
    sub_layers,
)
from search_spaces.layers import (
    ACTIVATIONS,
    ADD,
    ATTENTION,
    CONV,
    INPUT,
    MUL,
    NORM,
    POSITION,
    SUM,
    WEIGHTED,
    Layer,
    Shape,
    main_path,
)

FLOAT_BYTES = 4
_POINTWISE = frozenset((NORM, POSITION, *ACTIVATIONS))
_IN_PLACE = _POINTWISE | {ADD, SUM, MUL}
_COSTED = frozenset((*WEIGHTED, ATTENTION))


@dataclass(frozen=True, slots=True)
class Counts:
    """What a network costs, independent of any device.

    Attributes:
        params: trainable scalars.
        macs: multiply-accumulates of one image, those of attention included.
        depth: sub-layers, the "layers" of Zen-NAS: the sum of ``Block.depth``.
        convs: convolutions in a row, shortcuts and gates left out: the depth that information passes.
        peak_memory_bytes: largest sum of live float32 activations of one image, input and output included.
    """

    params: int
    macs: int
    depth: int
    convs: int
    peak_memory_bytes: int


def count(arch: Architecture, input_shape: Shape, num_classes: int) -> Counts:
    """Counts of the whole network with its classifier. No module is built; blocks are cached.

    Args:
        arch: the design.
        input_shape: (channels, height, width) of one image.
        num_classes: outputs of the classifier.
    """
    params = macs = depth = convs = peak = 0
    shape = input_shape
    for block, in_shape in block_inputs(arch, input_shape):
        block_params, block_macs, block_convs, block_peak, shape = _count_block(block, in_shape)
        params += block_params
        macs += block_macs
        convs += block_convs
        depth += block.depth
        peak = max(peak, block_peak)
    head_params, head_macs, _, _, head_peak = classifier_counts(shape, num_classes)
    return Counts(params + head_params, macs + head_macs, depth, convs, max(peak, head_peak))


def count_block(block: Block, in_shape: Shape) -> tuple[int, int, int, int, int]:
    """What a block adds: params, MACs, depth, convolutions in a row, and the peak bytes within it."""
    params, macs, convs, peak, _ = _count_block(block, in_shape)
    return params, macs, block.depth, convs, peak


def classifier_counts(shape: Shape, num_classes: int) -> tuple[int, int, int, int, int]:
    """What pooling and the classifier on a map of this shape add, in the order of ``Counts``."""
    channels = shape[0]
    pooled, head = prod(shape) + channels, channels + num_classes
    return (channels + 1) * num_classes, channels * num_classes, 0, 0, FLOAT_BYTES * max(pooled, head)


@lru_cache(maxsize=CACHE_SIZE)
def _count_block(block: Block, in_shape: Shape) -> tuple[int, int, int, int, Shape]:
    """(params, MACs, convolutions in a row, peak bytes, output shape): sums and maximum over the sub-layers."""
    params = macs = convs = peak = 0
    for part, times in sub_layers(block, in_shape):
        part_params, part_macs, part_convs, part_peak = _count_sub_layer(part)
        params += times * part_params
        macs += times * part_macs
        convs += times * part_convs
        peak = max(peak, part_peak)
    return params, macs, convs, peak, block_output(block, in_shape)


@lru_cache(maxsize=CACHE_SIZE)
def _count_sub_layer(part: SubLayer) -> tuple[int, int, int, int]:
    layers = expand_sub_layer(part)
    params = macs = 0
    for layer in layers:
        if layer.op in _COSTED:
            params += layer.weight_count
            macs += layer.macs
    convs = sum(layer.op == CONV for layer in main_path(layers))
    return params, macs, convs, peak_memory_bytes(layers, part.in_shape)


def peak_memory_bytes(layers: Sequence[Layer], in_shape: Shape) -> int:
    """Largest sum of float32 activations alive at once while the layers run in order (liveness analysis).

    While a layer runs, its inputs and its output are alive. An in-place layer takes over the memory of an input
    of its size that nobody reads afterwards. An attention also holds its weights between all positions.
    """
    last_use = {i: at for at, layer in enumerate(layers) for i in layer.inputs}
    live = {INPUT: prod(in_shape)}
    total = peak = live[INPUT]
    for at, layer in enumerate(layers):
        inputs = layer.inputs
        if layer.op in _POINTWISE and last_use[inputs[0]] == at:
            live[at] = live.pop(inputs[0])
            continue
        size = prod(layer.shape)
        dying = {i for i in inputs if last_use[i] == at}
        if layer.op in _IN_PLACE:
            reused = next((i for i in inputs if i in dying and live[i] == size), None)
            if reused is not None:
                dying.remove(reused)
                total -= live.pop(reused)
        live[at] = size
        total += size
        peak = max(peak, total + _workspace(layer))
        for i in dying:
            total -= live.pop(i)
    return FLOAT_BYTES * peak


def _workspace(layer: Layer) -> int:
    """Scalars that a layer holds while it runs, beside inputs and output."""
    return layer.groups * prod(layer.shape[1:]) ** 2 if layer.op == ATTENTION else 0
