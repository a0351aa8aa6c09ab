"""A space as BINAS sees it: stages with depths, blocks with configurations; and every other space as a row of knobs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from predictors.models.bilinear_structure import Indices, Stage, Structure
from search_spaces.arch import Architecture
from search_spaces.mobilenet import MobileNetSpace
from search_spaces.space import GridSpace, Value


class NoStages(ValueError):
    """The space has neither stages nor knobs; the message names what to use instead."""


class SpaceView(Protocol):
    """Architectures as arrays of choices, and the names of choices for people.

    Attributes:
        structure: its stages.
        elastic: whether depths and blocks are those of the space; else every knob is a block of its own.
    """

    structure: Structure
    elastic: bool

    @property
    def space(self) -> GridSpace:
        """What is looked at."""

    def arrays(self, archs: Sequence[Architecture]) -> tuple[Indices, Indices]:
        """(n, stages) depths and (n, blocks) configurations, 0 at blocks that a network does not have."""

    def architectures(self, depths: ArrayLike, configs: ArrayLike) -> list[Architecture]:
        """Back from the arrays."""

    def stage_name(self, stage: int) -> str:
        """Of a stage, 0-based."""

    def config_names(self, stage: int, block: int) -> tuple[str, ...]:
        """Of every configuration of a block, in order."""

    def config_parts(self, stage: int, block: int) -> dict[str, tuple[Value, ...]]:
        """Choices by part, such as kernel and expansion; configurations are their product, the last fastest."""


class ElasticStructure:
    """Stages of a MobileNetV3 space: a depth, and kernel, expansion and gate of every block."""

    elastic = True

    def __init__(self, space: MobileNetSpace) -> None:
        self._space = space
        sizes = [len(tuple(product(*self.config_parts(s, 0).values()))) for s in range(len(space.stages))]
        depths = space.free.depths
        self.structure = Structure(tuple(Stage(depths, (size,) * max(depths)) for size in sizes))

    @property
    def space(self) -> MobileNetSpace:
        """See ``SpaceView``."""
        return self._space

    @cached_property
    def _configs(self) -> list[list[tuple[Value, ...]]]:
        """Of every stage the configurations of a block."""
        return [list(product(*self.config_parts(s, 0).values())) for s in range(len(self.space.stages))]

    def arrays(self, archs: Sequence[Architecture]) -> tuple[Indices, Indices]:
        """See ``SpaceView``; raises InvalidArchitecture."""
        blocks = self.structure.blocks
        depths = np.zeros((len(archs), len(self.structure.stages)), np.intp)
        configs = np.zeros((len(archs), len(blocks)), np.intp)
        for row, arch in enumerate(archs):
            values = self.space.values_of(arch)
            depths[row] = [int(values[f"{s + 1}.depth"]) for s in range(len(self.structure.stages))]
            for at, (s, b) in enumerate(blocks):
                if depths[row, s] > b:
                    chosen = tuple(values[f"{s + 1}.{b + 1}.{part}"] for part in self._free_parts(s))
                    whole = chosen if len(self.space.stages[s].gates) > 1 else (*chosen, self.space.stages[s].gates[0])
                    configs[row, at] = self._configs[s].index(whole)
        return depths, configs

    def architectures(self, depths: ArrayLike, configs: ArrayLike) -> list[Architecture]:
        """See ``SpaceView``; raises InvalidStructure."""
        numbers, chosen = np.asarray(depths), np.asarray(configs)
        self.structure.places(numbers, chosen)
        found = []
        for row_depths, row_configs in zip(numbers, chosen, strict=True):
            values: dict[str, Value] = {knob.name: knob.choices[0] for knob in self.space.knobs}
            values |= {f"{s + 1}.depth": int(depth) for s, depth in enumerate(row_depths)}
            for at, (s, b) in enumerate(self.structure.blocks):
                if row_depths[s] > b:
                    parts = self._configs[s][int(row_configs[at])]
                    names = self._free_parts(s)
                    values |= {f"{s + 1}.{b + 1}.{name}": part for name, part in zip(names, parts, strict=False)}
            found.append(self.space.decode(values))
        return found

    def stage_name(self, stage: int) -> str:
        """See ``SpaceView``."""
        return f"stage {stage + 1}"

    def config_names(self, stage: int, block: int) -> tuple[str, ...]:
        """``k5 e6 se`` and so on."""
        return tuple(f"k{kernel} e{expansion}{' se' if se else ''}" for kernel, expansion, se in self._configs[stage])

    def config_parts(self, stage: int, block: int) -> dict[str, tuple[Value, ...]]:
        """Kernel, expansion, and gate (one choice where the stage has no other)."""
        free = self.space.free
        return {"kernel": free.kernels, "expansion": free.expansions, "se": self.space.stages[stage].gates}

    def _free_parts(self, stage: int) -> tuple[str, ...]:
        gated = len(self.space.stages[stage].gates) > 1
        return ("kernel", "expansion", "se") if gated else ("kernel", "expansion")


class KnobStructure:
    """Any space of knobs: every knob is a stage of one block that is always there.

    Effects are then sums over knobs: how choices act on each other is not seen, and knobs without effect under others'
    choices count as if they had one.
    """

    elastic = False

    def __init__(self, space: GridSpace) -> None:
        self._space = space
        self.structure = Structure(tuple(Stage((1,), (len(knob.choices),)) for knob in space.knobs))

    @property
    def space(self) -> GridSpace:
        """See ``SpaceView``."""
        return self._space

    def arrays(self, archs: Sequence[Architecture]) -> tuple[Indices, Indices]:
        """See ``SpaceView``; raises InvalidArchitecture."""
        rows = [self.space.values_of(arch) for arch in archs]
        configs = [[knob.choices.index(row[knob.name]) for knob in self.space.knobs] for row in rows]
        return np.ones((len(archs), len(self.space.knobs)), np.intp), np.array(configs, np.intp)

    def architectures(self, depths: ArrayLike, configs: ArrayLike) -> list[Architecture]:
        """See ``SpaceView``."""
        knobs = self.space.knobs
        return [
            self.space.decode({knob.name: knob.choices[int(at)] for knob, at in zip(knobs, row, strict=True)})
            for row in np.asarray(configs)
        ]

    def stage_name(self, stage: int) -> str:
        """Name of the knob."""
        return self.space.knobs[stage].name

    def config_names(self, stage: int, block: int) -> tuple[str, ...]:
        """The choices."""
        return tuple(str(choice) for choice in self.space.knobs[stage].choices)

    def config_parts(self, stage: int, block: int) -> dict[str, tuple[Value, ...]]:
        """The one part: the knob."""
        return {self.space.knobs[stage].name: self.space.knobs[stage].choices}


def structure_of(space: object) -> SpaceView:
    """How BINAS sees a space.

    Raises: NoStages: it is no space of knobs.
    """
    if isinstance(space, MobileNetSpace):
        return ElasticStructure(space)
    if isinstance(space, GridSpace):
        return KnobStructure(space)
    raise NoStages(
        f"binas: space {getattr(space, 'name', space)!r} has no knobs, so no choice has an effect of its own; take a "
        "space such as mobilenetv3-tiny-images, or --score predictor, which learns from whole networks"
    )
