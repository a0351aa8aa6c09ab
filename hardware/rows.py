"""What was measured, as plain rows: a kernel, sub-layers run alone, or a network, each with its milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hardware.kernels import Kernel, kernels_of
from hardware.pieces import piece_layers
from search_spaces.arch import Architecture, Block
from search_spaces.expand import expand
from search_spaces.layers import Layer, Shape


@dataclass(frozen=True, slots=True)
class KernelRow:
    """A kernel and its milliseconds per call inside a network.

    Attributes:
        kernel: what ran, its batch included.
        latency_ms: of one call, > 0.
        runs: how many measurements stand behind it; 0 where the source does not say.
        footprint: scalars of all weights and maps of the network that it stood in; 0 where unknown.
    """

    kernel: Kernel
    latency_ms: float
    runs: int = 0
    footprint: int = 0

    @property
    def key(self) -> tuple[Kernel, int]:
        """What two rows of one table must not share."""
        return self.kernel, self.footprint


@dataclass(frozen=True, slots=True)
class PieceRow:
    """Copies of a sub-layer, or a classifier, run alone, and their milliseconds per call.

    Attributes:
        block: the sub-layer's, of depth 1; None for pooling and classifier.
        in_shape: (channels, height, width) of its input.
        first: whether the sub-layer opens its block.
        copies: how many stand in a row.
        num_classes: of the classifier; None for a sub-layer.
        latency_ms: of one call, > 0.
        batch: images per call.
    """

    block: Block | None
    in_shape: Shape
    first: bool
    copies: int
    num_classes: int | None
    latency_ms: float
    batch: int = 1

    @property
    def key(self) -> tuple[Block | None, Shape, bool, int, int | None, int]:
        """What two rows of one table must not share."""
        return self.block, self.in_shape, self.first, self.copies, self.num_classes, self.batch

    @property
    def piece(self) -> tuple[Layer, ...]:
        """The layers of one copy."""
        return piece_layers(self.block, self.in_shape, self.first, self.num_classes)

    def kernels(self) -> tuple[Kernel, ...]:
        """What all copies consist of."""
        return self.copies * kernels_of(self.piece, self.batch)


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """A network, or a block alone, and its milliseconds per call.

    Attributes:
        arch: the design.
        input_shape: (channels, height, width) of one image.
        num_classes: outputs of the classifier; None without one.
        latency_ms: of one call, > 0.
        low_ms, high_ms: interval of a repeat; None where unknown.
        batch: images per call.
    """

    arch: Architecture
    input_shape: Shape
    num_classes: int | None
    latency_ms: float
    low_ms: float | None = None
    high_ms: float | None = None
    batch: int = 1

    @property
    def key(self) -> tuple[Architecture, Shape, int | None, int]:
        """What two rows of one table must not share."""
        return self.arch, self.input_shape, self.num_classes, self.batch

    def kernels(self) -> tuple[Kernel, ...]:
        """What it consists of."""
        return kernels_of(expand(self.arch, self.input_shape, self.num_classes), self.batch)


Row = KernelRow | PieceRow | NetworkRow


def piece_to_dict(row: PieceRow) -> dict[str, Any]:
    """JSON-ready form."""
    return {
        "block": None if row.block is None else row.block.to_dict(),
        "in_shape": list(row.in_shape),
        "first": row.first,
        "copies": row.copies,
        "num_classes": row.num_classes,
        "latency_ms": row.latency_ms,
        "batch": row.batch,
    }


def piece_from_dict(data: dict[str, Any]) -> PieceRow:
    """Read what ``piece_to_dict`` wrote."""
    block = None if data["block"] is None else Block.from_dict(data["block"])
    return PieceRow(**{**data, "block": block, "in_shape": tuple(data["in_shape"])})


def network_to_dict(row: NetworkRow) -> dict[str, Any]:
    """JSON-ready form."""
    return {
        "arch": row.arch.to_dict(),
        "input_shape": list(row.input_shape),
        "num_classes": row.num_classes,
        "latency_ms": row.latency_ms,
        "low_ms": row.low_ms,
        "high_ms": row.high_ms,
        "batch": row.batch,
    }


def network_from_dict(data: dict[str, Any]) -> NetworkRow:
    """Read what ``network_to_dict`` wrote."""
    known = {**data, "arch": Architecture.from_dict(data["arch"]), "input_shape": tuple(data["input_shape"])}
    return NetworkRow(**known)
