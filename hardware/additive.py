"""The plainest latency model: a network costs the sum of its pieces' rows, and says which pieces have none."""

from __future__ import annotations

from typing import NamedTuple

from hardware.device_table import DeviceTable, PieceRow
from search_spaces.arch import Architecture
from search_spaces.expand import expand_sub_layer, sub_layers
from search_spaces.layers import Shape


class Sum(NamedTuple):
    """Milliseconds of the pieces that have a row, and the names of those that have none."""

    latency_ms: float
    uncovered: tuple[str, ...]


def additive_ms(table: DeviceTable, arch: Architecture, input_shape: Shape, num_classes: int | None) -> Sum:
    """Sum the rows of a network's sub-layers and classifier.

    Args:
        table: with rows of single pieces.
        arch: the design.
        input_shape: (channels, height, width) of one image.
        num_classes: of the classifier; None without one.
    """
    known = {row.key: row.latency_ms for row in table.pieces if row.copies == 1}
    total, missing, shape = 0.0, [], input_shape

    def add(row: PieceRow, name: str) -> None:
        nonlocal total
        if row.key in known:
            total += known[row.key]
        else:
            missing.append(f"{name} on {'x'.join(map(str, row.in_shape))}")

    for i, block in enumerate(arch.blocks):
        for sub, times in sub_layers(block, shape):
            for _ in range(times):
                add(PieceRow(sub.block, sub.in_shape, sub.first, 1, None, 0.0), f"blocks[{i}] {block.kind}")
            shape = expand_sub_layer(sub)[-1].shape
    if num_classes is not None:
        add(PieceRow(None, shape, True, 1, num_classes, 0.0), "classifier")
    return Sum(total, tuple(missing))
