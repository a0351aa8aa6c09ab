"""Spaces as tables of ordered choices: generic sampling, mutation, crossover and encoding."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_spaces.arch import Architecture, Block, InvalidArchitecture
from search_spaces.block_limits import check_block
from search_spaces.blocks import BLOCKS
from search_spaces.blocks.kind import round8

Value = int | float | str | bool
MUTATION_TRIES = 1_000


class NothingToMutate(ValueError):
    """All values of the knobs decode to one architecture."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One decision: a name and its ordered choices."""

    name: str
    choices: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.choices or len(set(self.choices)) != len(self.choices):
            raise ValueError(f"knob {self.name!r}: choices {self.choices}, expected at least one and no repetition")


class GridSpace(ABC):
    """A finite space: a table of knobs, ``decode`` from values to an architecture, and its inverse.

    A user's own space subclasses this (or ``StageSpace``) and is named ``package.module:Space`` on the command
    line. Knobs that have no effect under the others' values must decode to the same architecture.
    """

    name: str
    knobs: tuple[Knob, ...]

    @abstractmethod
    def decode(self, values: Mapping[str, Value]) -> Architecture:
        """The architecture that these knob values mean."""

    @abstractmethod
    def values_of(self, arch: Architecture) -> dict[str, Value]:
        """The knob values of an architecture; raises InvalidArchitecture when it lies outside the space."""

    def sites(self, arch: Architecture) -> tuple[str, ...]:
        """The place of every block in a supernet: blocks at one place share weights, in the slices that they need.

        Here position and kind; a space whose blocks move with the depth of earlier stages overrides it.
        """
        return tuple(f"{i}-{block.kind}" for i, block in enumerate(arch.blocks))

    @property
    def cardinality(self) -> int:
        """Number of value combinations (distinct architectures can be fewer)."""
        return math.prod(len(knob.choices) for knob in self.knobs)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """A uniformly random combination of values."""
        return self.decode({knob.name: knob.choices[rng.integers(len(knob.choices))] for knob in self.knobs})

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """A different architecture with one or two knobs changed, half of the changes to a neighbouring choice.

        Raises: NothingToMutate: the space has no other member, or a thousand changes found none.
        """
        values = self.values_of(arch)
        free = [knob for knob in self.knobs if len(knob.choices) > 1]
        for _ in range(MUTATION_TRIES if free else 0):
            child = dict(values)
            for _ in range(rng.integers(1, 3)):
                knob = free[rng.integers(len(free))]
                child[knob.name] = _other_choice(knob, child[knob.name], rng)
            mutant = self.decode(child)
            if mutant != arch:
                return mutant
        raise NothingToMutate(f"{self.name}: found no second architecture; give a knob that matters another choice")

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """Each knob from either parent with equal chance."""
        first, second = self.values_of(a), self.values_of(b)
        return self.decode({name: (first if rng.random() < 0.5 else second)[name] for name in first})

    def validate(self, arch: Architecture) -> None:
        """Raise InvalidArchitecture unless the architecture is a member of this space."""
        self.values_of(arch)

    def encode(self, arch: Architecture) -> NDArray[np.float64]:
        """(n_knobs,) position of every choice, scaled to 0..1."""
        values = self.values_of(arch)
        return np.array([knob.choices.index(values[knob.name]) / max(1, len(knob.choices) - 1) for knob in self.knobs])


def _other_choice(knob: Knob, value: Value, rng: np.random.Generator) -> Value:
    at, n = knob.choices.index(value), len(knob.choices)
    if rng.random() < 0.5:
        near = [i for i in (at - 1, at + 1) if 0 <= i < n]
        return knob.choices[near[rng.integers(len(near))]]
    return knob.choices[(at + rng.integers(1, n)) % n]


@dataclass(frozen=True, slots=True)
class Variant:
    """A block kind with what a stage may not choose freely: the inner width as a share of the channels."""

    kind: str
    inner_ratio: float = 1.0
    expansion: int = 0
    se: bool = False

    @property
    def label(self) -> str:
        """Name of this choice, for example ``genet_bl/0.25``."""
        return f"{self.kind}/{self.inner_ratio:g}" + (f"e{self.expansion}" if self.expansion else "") + "+se" * self.se

    def block(self, channels: int, kernel: int, stride: int, depth: int) -> Block:
        """The block that this variant makes of a stage's choices."""
        inner = round8(channels * self.inner_ratio) if "inner" in BLOCKS[self.kind].uses else 0
        return Block(self.kind, channels, kernel, stride, depth, inner, self.expansion, self.se)


@dataclass(frozen=True, slots=True)
class Stage:
    """One block position of a ``StageSpace`` and its choices."""

    variants: tuple[Variant, ...]
    channels: tuple[int, ...]
    kernels: tuple[int, ...] = (3,)
    stride: int = 1
    depths: tuple[int, ...] = (1,)


class StageSpace(GridSpace):
    """A fixed sequence of stages, each one block with a choice of variant, width, kernel and depth.

    Example: ``StageSpace("mine", (Stage((Variant("conv"),), (16, 24)), Stage((Variant("genet_xx"),), (32, 64))))``.
    """

    def __init__(self, name: str, stages: tuple[Stage, ...]) -> None:
        self.name = name
        self.stages = stages
        self.knobs = tuple(
            Knob(f"{i}.{field}", choices)
            for i, stage in enumerate(stages)
            for field, choices in (
                ("variant", tuple(v.label for v in stage.variants)),
                ("channels", stage.channels),
                ("kernel", stage.kernels),
                ("depth", stage.depths),
            )
        )

    def decode(self, values: Mapping[str, Value]) -> Architecture:
        """One block per stage."""
        blocks = []
        for i, stage in enumerate(self.stages):
            variant = next(v for v in stage.variants if v.label == values[f"{i}.variant"])
            channels, kernel, depth = (int(values[f"{i}.{field}"]) for field in ("channels", "kernel", "depth"))
            blocks.append(variant.block(channels, kernel, stage.stride, depth))
        return Architecture(tuple(blocks))

    def values_of(self, arch: Architecture) -> dict[str, Value]:
        """Read every stage's choices back from its block."""
        if len(arch.blocks) != len(self.stages):
            raise InvalidArchitecture(f"{self.name}: {len(arch.blocks)} blocks, expected {len(self.stages)}")
        values: dict[str, Value] = {}
        for i, (block, stage) in enumerate(zip(arch.blocks, self.stages, strict=True)):
            check_block(block, f"{self.name}: blocks[{i}]")
            values[f"{i}.variant"] = self._label(i, block)
            for field, choices in (("channels", stage.channels), ("kernel", stage.kernels), ("depth", stage.depths)):
                if getattr(block, field) not in choices:
                    raise InvalidArchitecture(
                        f"{self.name}: blocks[{i}].{field}={getattr(block, field)}, expected one of {choices}"
                    )
                values[f"{i}.{field}"] = getattr(block, field)
        return values

    def _label(self, i: int, block: Block) -> str:
        stage = self.stages[i]
        for variant in stage.variants:
            if variant.block(block.channels, block.kernel, stage.stride, block.depth) == block:
                return variant.label
        raise InvalidArchitecture(
            f"{self.name}: blocks[{i}] is {block}, expected stride {stage.stride} and one of "
            f"{', '.join(v.label for v in stage.variants)}"
        )
