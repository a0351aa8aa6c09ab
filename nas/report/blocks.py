"""One row per block of a network: what it is and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hardware.counts import peak_memory_bytes
from hardware.lookup import LatencyTable
from hardware.pieces import head_layers
from search_spaces.arch import Architecture, Block
from search_spaces.expand import block_inputs, expand_block
from search_spaces.layers import Layer, Shape


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A block, or the classifier.

    Attributes:
        name: kind of the block.
        detail: its choices in words.
        in_shape, shape: (channels, height, width) of its input and output.
        depth: sub-layers.
        params, macs, peak_memory_bytes: of this block alone.
        latency_ms: its share of the predicted latency; the classifier's includes the overhead of a call. None
            without a latency table.
    """

    name: str
    detail: str
    in_shape: Shape
    shape: Shape
    depth: int
    params: int
    macs: int
    peak_memory_bytes: int
    latency_ms: float | None


def block_rows(arch: Architecture, input_shape: Shape, num_classes: int, table: LatencyTable | None) -> list[BlockRow]:
    """The blocks in order, then the classifier; latencies sum to the predicted mean of the network."""
    shares = None if table is None else table.blocks_ms(arch)
    rows = []
    shape = input_shape
    for i, (block, in_shape) in enumerate(block_inputs(arch, input_shape)):
        layers = expand_block(block, in_shape)
        shape = layers[-1].shape
        share = None if shares is None else shares[i]
        rows.append(_row((block.kind, describe(block)), block.depth, in_shape, layers, share))
    rest = None if table is None or shares is None else table.estimate(arch).mean_ms - sum(shares)
    return [
        *rows,
        _row(
            ("classifier", f"{num_classes} classes"),
            1,
            shape,
            head_layers(shape, num_classes),
            rest,
        ),
    ]


def _row(names: tuple[str, str], depth: int, in_shape: Shape, layers: tuple[Layer, ...], ms: float | None) -> BlockRow:
    return BlockRow(
        names[0],
        names[1],
        in_shape,
        layers[-1].shape,
        depth,
        sum(layer.weight_count for layer in layers),
        sum(layer.macs for layer in layers),
        peak_memory_bytes(layers, in_shape),
        ms,
    )


def _heads(block: Block) -> str:
    return f"{block.heads} head{'s' if block.heads > 1 else ''} of {block.head_width}"


_WORDS: dict[str, Callable[[Block], str]] = {
    "vit_patches": lambda block: f"patches {block.kernel}×{block.kernel}, positions {block.inner}×{block.inner}",
    "vit_encoder": lambda block: f"{_heads(block)}, hidden {block.inner}",
    "vit_norm": lambda block: "of each position",
}  # where a kernel says little


def describe(block: Block) -> str:
    """The choices of a block in words, without its channels."""
    if block.kind in _WORDS:
        return _WORDS[block.kind](block) + (f", depth {block.depth}" if block.depth > 1 else "")
    parts = [f"{block.kernel}×{block.kernel}"]
    if block.stride > 1:
        parts.append(f"stride {block.stride}")
    if block.depth > 1:
        parts.append(f"depth {block.depth}")
    if block.inner:
        parts.append(f"inner {block.inner}")
    if block.expansion:
        parts.append(f"expansion {block.expansion}")
    if block.se:
        parts.append("squeeze-excite")
    return ", ".join(parts)
