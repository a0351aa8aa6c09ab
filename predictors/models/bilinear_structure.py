"""Spaces of stages whose depth is a choice, and of blocks whose configuration is one; what BINAS measures in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


class InvalidStructure(ValueError):
    """Stages without depths, blocks without configurations, or networks that do not fit the stages."""


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        depths: its possible numbers of blocks, ascending, from 1 on.
        configs: of each block, up to the deepest: the number of its configurations.
    """

    depths: tuple[int, ...]
    configs: tuple[int, ...]

    def __post_init__(self) -> None:
        ascending = list(self.depths) == sorted(set(self.depths))
        if not self.depths or not ascending or self.depths[0] < 1 or self.depths[-1] != len(self.configs):
            raise InvalidStructure(
                f"stage: depths {self.depths} and {len(self.configs)} blocks, "
                "expected ascending depths from 1 on, the last one the number of blocks"
            )
        if min(self.configs) < 1:
            raise InvalidStructure(f"stage: {self.configs} configurations, expected at least 1 of each block")

    def needed_depth(self, block: int) -> int | None:
        """The smallest depth that has block ``block`` (0-based); None when every depth has it."""
        return None if block < self.depths[0] else min(depth for depth in self.depths if depth > block)


@dataclass(frozen=True)
class Query:
    """An expectation over random networks: what is not named here is drawn uniformly for each network.

    Attributes:
        stage, depth: the stage and its number of blocks; None where it is free.
        block, config: a block of the stage and its configuration, both 0-based; None where they are free.
    """

    stage: int | None = None
    depth: int | None = None
    block: int | None = None
    config: int | None = None

    @property
    def reference(self) -> Self:
        """The expectation that this one is compared with; that of all networks is compared with itself."""
        if self.block is not None and self.depth is not None:
            return type(self)(self.stage, self.depth)
        return type(self)()


@dataclass(frozen=True)
class Structure:
    """All stages, in order.

    Networks are arrays: ``depths`` (n, stages) numbers of blocks, and ``configs`` (n, blocks of all stages) 0-based
    configurations, stage after stage; the entry of a block that a network does not have says nothing.
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not self.stages:
            raise InvalidStructure("structure: no stages, expected at least 1")

    @classmethod
    def even(cls, stages: int, configs: int, depths: Sequence[int]) -> Self:
        """Equal stages of equal blocks."""
        return cls((Stage(tuple(depths), (configs,) * max(depths)),) * stages)

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """(stage, block) of each column of ``configs``."""
        return tuple((s, b) for s, stage in enumerate(self.stages) for b in range(len(stage.configs)))

    @property
    def alpha_starts(self) -> tuple[int, ...]:
        """Of each block: its first place in alpha, the one-hot configurations; at the end their number."""
        return (0, *accumulate(self.stages[s].configs[b] for s, b in self.blocks))

    @property
    def beta_starts(self) -> tuple[int, ...]:
        """Of each stage: its first place in beta, the one-hot depths; at the end their number."""
        return (0, *accumulate(len(stage.depths) for stage in self.stages))

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Indices, Indices]:
        """Uniform random networks: (count, stages) depths and (count, blocks) configurations."""
        depths = np.stack([rng.choice(stage.depths, count) for stage in self.stages], axis=1)
        configs = np.stack([rng.integers(self.stages[s].configs[b], size=count) for s, b in self.blocks], axis=1)
        return depths.astype(np.intp), configs.astype(np.intp)

    def satisfy(self, query: Query, depths: Indices, configs: Indices) -> tuple[Indices, Indices]:
        """Copies of these networks, changed only where the query asks for something."""
        depths, configs = depths.copy(), configs.copy()
        if query.stage is not None and query.depth is not None:
            depths[:, query.stage] = query.depth
        if query.stage is not None and query.block is not None and query.config is not None:
            configs[:, self.blocks.index((query.stage, query.block))] = query.config
        return depths, configs

    def one_hot(self, depths: ArrayLike, configs: ArrayLike) -> tuple[Floats, Floats]:
        """(n, alpha) and (n, beta) 0/1; alpha is 0 at blocks that a network does not have.

        Raises: InvalidStructure: another number of stages or blocks, an unknown depth or configuration.
        """
        depth_places, alpha_places, exists = self.places(depths, configs)
        alpha = np.zeros((len(exists), self.alpha_starts[-1]))
        beta = np.zeros((len(exists), self.beta_starts[-1]))
        np.put_along_axis(beta, depth_places, 1.0, axis=1)
        row, block = np.nonzero(exists)
        alpha[row, alpha_places[row, block]] = 1.0
        return alpha, beta

    def places(self, depths: ArrayLike, configs: ArrayLike) -> tuple[Indices, Indices, NDArray[np.bool_]]:
        """Of each network: places of its depths in beta, of its configurations in alpha, and which blocks it has.

        Raises: InvalidStructure: another number of stages or blocks, an unknown depth or configuration.
        """
        numbers, chosen = np.asarray(depths), np.asarray(configs)
        self._check_shapes(numbers, chosen)
        depth_places = np.zeros(numbers.shape, np.intp)
        for s, stage in enumerate(self.stages):
            known = numbers[:, s, None] == np.array(stage.depths)
            if not known.any(axis=1).all():
                row = int(known.any(axis=1).argmin())
                raise InvalidStructure(
                    f"depths[{row}]: stage {s} has {numbers[row, s]} blocks, expected one of {stage.depths}"
                )
            depth_places[:, s] = self.beta_starts[s] + known.argmax(axis=1)
        stages = np.array([s for s, _ in self.blocks])
        exists = numbers[:, stages] > np.array([b for _, b in self.blocks])
        sizes = np.diff(self.alpha_starts)
        wrong = exists & ((chosen < 0) | (chosen >= sizes))
        if wrong.any():
            row, block = np.argwhere(wrong)[0]
            raise InvalidStructure(
                f"configs[{row}]: block {self.blocks[block]} has configuration {chosen[row, block]}, "
                f"expected 0 to {sizes[block] - 1}"
            )
        alpha_places = np.where(exists, chosen, 0).astype(np.intp) + np.array(self.alpha_starts[:-1])
        return depth_places, alpha_places, exists

    def _check_shapes(self, depths: NDArray[np.generic], configs: NDArray[np.generic]) -> None:
        expected = (len(self.stages), len(self.blocks))
        if depths.ndim != 2 or configs.ndim != 2 or (depths.shape[1], configs.shape[1]) != expected:
            raise InvalidStructure(
                f"networks: depths of shape {depths.shape}, configs of shape {configs.shape}, "
                f"expected (n, {expected[0]}) and (n, {expected[1]})"
            )
        if len(depths) != len(configs):
            raise InvalidStructure(f"networks: {len(depths)} rows of depths and {len(configs)} of configs")


def measurement_plan(structure: Structure) -> list[Query]:
    """What to measure: all networks; of each stage each depth, and each configuration of each block.

    A block that not every depth has is measured at the smallest depth that has it. Five stages of depths 2, 3 and 4
    with 12 configurations give 256 queries.
    """
    plan = [Query()]
    for s, stage in enumerate(structure.stages):
        plan += [Query(s, depth) for depth in stage.depths]
        for block, count in enumerate(stage.configs):
            plan += [Query(s, stage.needed_depth(block), block, config) for config in range(count)]
    return plan
