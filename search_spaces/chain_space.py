"""Spaces whose members are a stem, residual blocks and perhaps a 1x1 head, free in their number of blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.block_limits import check_block


@dataclass(frozen=True)
class ChainSpace(ABC):
    """Networks that mutation reaches from a small seed network.

    Attributes:
        name: of the space.
        seed: smallest network; stem, residual blocks, 1x1 head if the family has one. Every member halves the
            resolution as often as it does.
    """

    name: str
    seed: Architecture

    @property
    def has_head(self) -> bool:
        """Whether the last block is a plain convolution."""
        return self.seed.blocks[-1].kind == "conv"

    @property
    def stages(self) -> int:
        """Number of resolutions, the stem's included."""
        return 1 + sum(block.stride > 1 for block in self.seed.blocks[1:])

    def body(self, arch: Architecture) -> tuple[Block, ...]:
        """The residual blocks."""
        return arch.blocks[1 : -1 if self.has_head else None]

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Architecture:
        """A random member."""

    @abstractmethod
    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """A different member near this one."""

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """The first resolutions of one parent, the others of the other."""
        cut = int(rng.integers(1, self.stages)) if self.stages > 1 else 0
        return Architecture(a.blocks[: _stage_start(a, cut)] + b.blocks[_stage_start(b, cut) :])

    def validate(self, arch: Architecture) -> None:
        """Raise InvalidArchitecture unless the architecture is a member of this space."""
        least = 1 + self.stages - 1 + self.has_head
        if len(arch.blocks) < least:
            raise InvalidArchitecture(f"{self.name}: {len(arch.blocks)} blocks, expected at least {least}")
        edges = (0, -1) if self.has_head else (0,)
        for at in edges:
            self._validate_edge(at, arch.blocks[at], self.seed.blocks[at])
        last = len(arch.blocks) - 1 if self.has_head else None
        for i, block in enumerate(arch.blocks):
            where = f"{self.name}: blocks[{i}]"
            check_block(block, where)
            self.validate_block(block, where, edge=i in (0, last))
        halvings = sum(block.stride > 1 for block in self.body(arch))
        if halvings != self.stages - 1:
            raise InvalidArchitecture(
                f"{self.name}: {halvings} blocks halve the resolution, expected {self.stages - 1}"
            )

    def _validate_edge(self, at: int, block: Block, fixed: Block) -> None:
        free: dict[str, Any] = {
            "channels": fixed.channels,
            "weight_bits": fixed.weight_bits,
            "activation_bits": fixed.activation_bits,
        }
        if replace(block, **free) != fixed:
            raise InvalidArchitecture(f"{self.name}: blocks[{at}] is {block}, expected {fixed} but for its width")

    @abstractmethod
    def validate_block(self, block: Block, where: str, *, edge: bool) -> None:
        """Raise InvalidArchitecture for a block that the space does not have; an edge is the stem or the head."""

    @abstractmethod
    def block_features(self, block: Block) -> tuple[float, ...]:
        """What the encoding says of a residual block."""

    def encode(self, arch: Architecture) -> NDArray[np.float64]:
        """log2 widths of first and last block; per resolution: blocks, depth, means of ``block_features``."""
        features = [np.log2(arch.blocks[0].channels), np.log2(arch.blocks[-1].channels)]
        width = 2 + len(self.block_features(self.body(self.seed)[0]))
        for stage in range(self.stages):
            found = arch.blocks[_stage_start(arch, stage) : _stage_start(arch, stage + 1)]
            blocks = [block for block in found if block.kind != "conv"]
            if not blocks:
                features += [0.0] * width
                continue
            weights = np.array([block.depth for block in blocks], dtype=np.float64)
            rows = np.array([self.block_features(block) for block in blocks], dtype=np.float64)
            features += [len(blocks), weights.sum(), *np.average(rows, axis=0, weights=weights)]
        return np.array(features, dtype=np.float64)


def _stage_start(arch: Architecture, stage: int) -> int:
    """Position of the block that opens a resolution; the stem opens stage 0."""
    starts = [0] + [i for i, block in enumerate(arch.blocks) if i > 0 and block.stride > 1]
    return starts[stage] if stage < len(starts) else len(arch.blocks)
