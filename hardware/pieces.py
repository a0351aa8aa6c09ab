"""Pieces of networks that are measured alone: sub-layers and classifiers, one copy or several in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Self

from hardware.kernels import Kernel, kernels_of
from hardware.roofline import Work, work_of
from search_spaces.arch import Block
from search_spaces.expand import SubLayer, expand_sub_layer
from search_spaces.layer_list import LayerList
from search_spaces.layers import INPUT, Layer, Shape


class Piece(NamedTuple):
    """What latency models look at: a sub-layer or classifier.

    Attributes:
        work: what it asks of a device.
        kernels: what it consists of, with the device's batch.
        shape: (channels, height, width) of its output.
    """

    work: Work
    kernels: tuple[Kernel, ...]
    shape: Shape

    @classmethod
    def of(cls, layers: Sequence[Layer], batch: int) -> Self:
        """The piece of these layers."""
        return cls(work_of(layers), kernels_of(layers, batch), layers[-1].shape)


def piece_layers(block: Block | None, in_shape: Shape, first: bool, num_classes: int | None) -> tuple[Layer, ...]:
    """The layers of a sub-layer, or of a classifier where there is no block.

    Raises: InvalidArchitecture.
    """
    if block is None:
        return head_layers(in_shape, num_classes or 1)
    return expand_sub_layer(SubLayer(replace(block, depth=1), in_shape, first))


def head_layers(shape: Shape, num_classes: int) -> tuple[Layer, ...]:
    """Global pooling and classifier on a map of this shape."""
    head = LayerList(shape)
    head.linear(head.global_pool(INPUT, "head.pool"), "head.fc", num_classes)
    return tuple(head.layers)


def in_a_row(piece: Sequence[Layer], copies: int) -> tuple[Layer, ...]:
    """Copies of a piece behind each other; from two on its output must have the shape of its input."""
    return tuple(
        layer._replace(name=f"copy{copy}.{layer.name}", inputs=tuple(copy * len(piece) + at for at in layer.inputs))
        for copy in range(copies)
        for layer in piece
    )
