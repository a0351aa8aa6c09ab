"""The space of NAS-Bench-201: which of five operations stands on each of the six edges of a repeated cell.

Source: Dong, Yang 2020, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search" (arXiv
2001.00326); its topology space is that of NATS-Bench. TransNAS-Bench-101 (Duan et al. 2021, arXiv 2105.11871): the
same cells without pooling, in a deeper network for images of 256 pixels (its "micro" space). Both as read in the
authors' released code; deviations as in ``search_spaces.blocks.cells``.
Text: ``|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.block_limits import check_block
from search_spaces.blocks.cells import CONV_1, CONV_3, EDGES, NONE, OPERATIONS, SKIP, read_cell, write_cell
from search_spaces.space import GridSpace, Knob, Value

IN_CHANNELS = 3  # of the images in the benchmarks
CELL = "nb201_cell"
DECODED = 20_000  # architectures kept: more than a space has


class CellSpace(GridSpace):
    """A skeleton around one repeated cell, six edges of which choose an operation each.

    Args:
        name: of the space.
        skeleton: the blocks; the cells among them without their operations.
        operations: choices of an edge, in the order in which half of the mutations step.
    """

    def __init__(self, name: str, skeleton: tuple[Block, ...], operations: tuple[str, ...]) -> None:
        self.name = name
        self.skeleton = skeleton
        self.operations = operations
        self.knobs = tuple(Knob(f"{node}<-{source}", operations) for node, source in EDGES)

    def decode(self, values: Mapping[str, Value]) -> Architecture:
        """The network whose cells have these operations."""
        return self.of_cell(write_cell(tuple(str(values[knob.name]) for knob in self.knobs)))

    def of_cell(self, ops: str) -> Architecture:
        """The network of a cell given as text, which must be one that ``write_cell`` writes."""
        return _filled(self.skeleton, ops)

    def values_of(self, arch: Architecture) -> dict[str, Value]:
        """Read the operations back from the first cell; every block must be that of the skeleton."""
        operations = self._operations_of(arch)
        wanted = self.of_cell(write_cell(operations)).blocks
        if arch.blocks != wanted:
            i = next(i for i, block in enumerate(arch.blocks) if block != wanted[i])
            raise InvalidArchitecture(f"{self.name}: blocks[{i}] is {arch.blocks[i]}, expected {wanted[i]}")
        return {knob.name: operation for knob, operation in zip(self.knobs, operations, strict=True)}

    def _operations_of(self, arch: Architecture) -> tuple[str, ...]:
        if len(arch.blocks) != len(self.skeleton):
            raise InvalidArchitecture(f"{self.name}: {len(arch.blocks)} blocks, expected {len(self.skeleton)}")
        i = next(i for i, block in enumerate(self.skeleton) if block.kind == CELL)
        cell, where = arch.blocks[i], f"{self.name}: blocks[{i}]"
        check_block(cell, where)
        if cell.kind != CELL:
            raise InvalidArchitecture(f"{where}.kind={cell.kind!r}, expected {CELL}")
        operations = read_cell(cell.ops)
        for (node, source), operation in zip(EDGES, operations, strict=True):
            if operation not in self.operations:
                raise InvalidArchitecture(
                    f"{where}.ops: {operation} on the edge {node}<-{source}, expected one of "
                    f"{', '.join(self.operations)}"
                )
        return operations

    def encode(self, arch: Architecture) -> NDArray[np.float64]:
        """(6 * operations,) of 0 and 1: operations have no order that a predictor should believe in."""
        chosen = self.values_of(arch).values()
        return np.array([float(value == op) for value in chosen for op in self.operations])


@lru_cache(maxsize=DECODED)
def _filled(skeleton: tuple[Block, ...], ops: str) -> Architecture:
    return Architecture(tuple(replace(block, ops=ops) if block.kind == CELL else block for block in skeleton))


def nas_bench_201_space(channels: int = 16, cells: int = 5, stages: int = 3, name: str = "nas-bench-201") -> CellSpace:
    """Stem, stages of equal cells with a residual reduction between them, last norm and ReLU.

    Args:
        channels: of the first stage; every reduction doubles them.
        cells: of a stage.
        stages: maps of different size.
        name: of the space.
    """
    blocks = [Block("conv_norm", channels)]
    for stage in range(stages):
        width = channels << stage
        if stage:
            blocks.append(Block("nb201_reduction", width, stride=2))
        blocks.append(Block(CELL, width, depth=cells))
    blocks.append(Block("norm_act", blocks[-1].channels))
    return CellSpace(name, tuple(blocks), OPERATIONS)


def _transnas_skeleton() -> tuple[Block, ...]:
    """64-41414: two strided convolutions, then five pairs of cells, of which the odd ones halve and double."""
    pairs = ((128, 2), (128, 1), (256, 2), (256, 1), (512, 2))
    cells = (Block(CELL, width, stride=stride, depth=2) for width, stride in pairs)
    return (Block("conv", 32, stride=2), Block("conv_norm", 64, stride=2), *cells)


NAS_BENCH_201 = nas_bench_201_space()
NAS_BENCH_201_TINY = nas_bench_201_space(8, 1, 2, "nas-bench-201-tiny")
TRANSNAS_MICRO = CellSpace("transnas-micro", _transnas_skeleton(), (NONE, SKIP, CONV_1, CONV_3))


def looks_like(text: str) -> bool:
    """Whether the text is meant to be a cell of NAS-Bench-201."""
    return text.lstrip().startswith("|")


def read(text: str) -> tuple[Architecture, int]:
    """Read the published text of a cell, as the benchmark's network of 16 channels and 5 cells a stage.

    Returns: the architecture and the 3 input channels of the benchmark.
    Raises: InvalidArchitecture: with the column.
    """
    ops = text.strip()
    try:
        read_cell(ops)
    except ValueError as error:
        raise InvalidArchitecture(f"NAS-Bench-201 cell, {error}") from None
    return NAS_BENCH_201.of_cell(ops), IN_CHANNELS


def write(arch: Architecture, in_channels: int = IN_CHANNELS) -> str:
    """The published text of a network of the benchmark.

    Raises: InvalidArchitecture: not a member of ``nas-bench-201``, or for other images, which the text cannot say.
    """
    if in_channels != IN_CHANNELS:
        raise InvalidArchitecture(f"NAS-Bench-201 cell: {in_channels} input channels, expected {IN_CHANNELS}")
    values = NAS_BENCH_201.values_of(arch)
    return write_cell(tuple(map(str, values.values())))
