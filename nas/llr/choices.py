"""The stages of a space and their choices, and the changes that are tried on a master."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from search_spaces.arch import Architecture, InvalidArchitecture
from search_spaces.space import Stage, StageSpace

FEATURES = ("depth", "channels", "kernel")  # log2 relative to the master; after them one column a further kind


class Choice(NamedTuple):
    """What one stage may be.

    Attributes:
        kind: position among the stage's variants.
        channels, kernel, depth: values.
    """

    kind: int
    channels: int
    kernel: int
    depth: int


@dataclass(frozen=True)
class StageChoices:
    """A space as a row of independent stages around a master.

    Attributes:
        space: a ``StageSpace``.
        master: the choice of every stage.
    """

    space: StageSpace
    master: tuple[Choice, ...]

    def arch(self, changes: dict[int, Choice] | None = None) -> Architecture:
        """The master with some stages replaced."""
        changed = changes or {}
        return arch_of(self.space, [changed.get(i, choice) for i, choice in enumerate(self.master)])

    def free(self) -> list[int]:
        """The stages that have more than one choice beyond their width: where the blocks are."""
        return [i for i, stage in enumerate(self.space.stages) if _size(stage) > len(stage.channels)]

    def options(self, stage: int) -> list[Choice]:
        """Every choice of a stage; of a fixed one (stem, head) the master's alone."""
        return all_choices(self.space.stages[stage]) if stage in self.free() else [self.master[stage]]

    def features(self, stage: int, choice: Choice) -> list[float]:
        """How a choice differs from the master's; zeros for the master's own."""
        own = self.master[stage]
        logs = [float(np.log2(getattr(choice, name) / getattr(own, name))) for name in FEATURES]
        kinds = [
            float(choice.kind == k) - float(own.kind == k) for k in range(1, len(self.space.stages[stage].variants))
        ]
        return [*logs, *kinds]


def all_choices(stage: Stage) -> list[Choice]:
    """Every combination of a stage."""
    kinds = range(len(stage.variants))
    return [Choice(*values) for values in product(kinds, stage.channels, stage.kernels, stage.depths)]


def arch_of(space: StageSpace, choices: Sequence[Choice]) -> Architecture:
    """The architecture of one choice a stage."""
    stages = zip(space.stages, choices, strict=True)
    blocks = (s.variants[c.kind].block(c.channels, c.kernel, s.stride, c.depth) for s, c in stages)
    return Architecture(tuple(blocks))


def choices_of(space: StageSpace, arch: Architecture) -> tuple[Choice, ...]:
    """The choices that make an architecture. Raises InvalidArchitecture."""
    space.validate(arch)
    found = []
    for stage, block in zip(space.stages, arch.blocks, strict=True):
        labels = [variant.block(block.channels, block.kernel, stage.stride, block.depth) for variant in stage.variants]
        found.append(Choice(labels.index(block), block.channels, block.kernel, block.depth))
    return tuple(found)


def default_master(space: StageSpace) -> tuple[Choice, ...]:
    """A third into every stage's widths and depths, with its first kind and window."""
    if not any(_size(stage) > len(stage.channels) for stage in space.stages):
        raise InvalidArchitecture(f"{space.name}: no stage has a choice of kind, window or depth")
    return tuple(Choice(0, _third(s.channels), s.kernels[0], _third(s.depths)) for s in space.stages)


def replacements(choices: StageChoices, per_stage: int, rng: np.random.Generator) -> list[tuple[int, Choice]]:
    """What is tried: for every free stage the master's own choice as a control, then single changes, then random ones.

    Args:
        choices: the master in its space.
        per_stage: how many beside the control.
        rng: of the order of the single changes and of the others.
    """
    found = []
    for stage in choices.free():
        own, every = choices.master[stage], all_choices(choices.space.stages[stage])
        others = [every[i] for i in rng.permutation(len(every)) if every[i] != own]
        others.sort(key=lambda choice: sum(a != b for a, b in zip(choice, own, strict=True)))
        singles = [choice for choice in others if sum(a != b for a, b in zip(choice, own, strict=True)) == 1]
        taken = _spread(singles, own, max(1, 2 * per_stage // 3))
        rest = [choice for choice in others[len(singles) :] if choice not in taken]
        found += [(stage, choice) for choice in [own, *taken, *rest[: per_stage - len(taken)]]]
    return found


def _spread(singles: Sequence[Choice], own: Choice, count: int) -> list[Choice]:
    """Single changes that take turns between the fields, so that each is seen."""
    fields: dict[int, list[Choice]] = {}
    for choice in singles:
        fields.setdefault(next(i for i, value in enumerate(choice) if value != own[i]), []).append(choice)
    taken: list[Choice] = []
    while len(taken) < min(count, len(singles)):
        for queue in fields.values():
            if queue and len(taken) < count:
                taken.append(queue.pop())
    return taken


def _size(stage: Stage) -> int:
    return len(stage.variants) * len(stage.channels) * len(stage.kernels) * len(stage.depths)


def _third(values: tuple[int, ...]) -> int:
    return values[(len(values) - 1) // 3]
