"""Which networks a step trains: sandwich, uniform or strictly fair, from all choices or from those opened so far.

Everything drawn in an epoch comes from (seed, epoch) alone, so that a training which goes on after any epoch draws the
same networks.
Sources: sandwich, Yu and Huang 2019 (arXiv 1903.05134) and BigNAS, Yu et al. 2020 (arXiv 2003.11142); strict fairness,
Chu et al. 2019, "FairNAS" (arXiv 1907.01845), where every operation of a layer is trained once in a step. Deviation:
knobs may have different numbers of choices; each knob deals its choices from a shuffled pack and shuffles anew when it
is empty, whatever the number of networks in a step, so that no two choices of a knob are ever more than one apart in an
epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from nas.train.supernet.opening import Opening
from nas.train.supernet.recipe import SupernetRecipe
from search_spaces.arch import Architecture
from search_spaces.extremes import largest, smallest
from search_spaces.space import GridSpace, Value

Draw = Callable[[], Architecture]


class StepSampler:
    """Gives the networks of every step of an epoch, the largest first where the recipe has it."""

    def __init__(self, space: GridSpace, recipe: SupernetRecipe, *, seed: int) -> None:
        self.space, self.recipe, self.seed = space, recipe, seed
        self.opening = Opening(space, recipe)
        self.largest, self.smallest = largest(space), smallest(space)

    def steps(self, epoch: int, count: int) -> Iterator[list[Architecture]]:
        """The networks of each of ``count`` steps of an epoch, counted from 0."""
        rng = np.random.default_rng((self.seed, 0x5E7, epoch))
        choices = self.opening.choices(epoch)
        draw = (self._fair if self.recipe.sampler.startswith("fair") else self._uniform)(choices, rng)
        if self.recipe.has_teacher_phase and epoch < self.recipe.teacher_epochs:
            for _ in range(count):
                yield [self.largest]
            return
        for _ in range(count):
            if not self.recipe.has_extremes:
                yield [draw() for _ in range(self.recipe.subnets)]
            else:
                between = [draw() for _ in range(self.recipe.subnets - 2)]
                yield [self.largest, self.opening.smallest(choices, self.smallest), *between]

    def _uniform(self, choices: dict[str, tuple[Value, ...]], rng: np.random.Generator) -> Draw:
        def draw() -> Architecture:
            return self.space.decode({name: known[rng.integers(len(known))] for name, known in choices.items()})

        return draw

    def _fair(self, choices: dict[str, tuple[Value, ...]], rng: np.random.Generator) -> Draw:
        packs: dict[str, list[Value]] = {name: [] for name in choices}

        def deal(name: str) -> Value:
            if not packs[name]:
                packs[name] = [choices[name][i] for i in rng.permutation(len(choices[name]))]
            return packs[name].pop()

        return lambda: self.space.decode({name: deal(name) for name in choices})
