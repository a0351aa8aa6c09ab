"""Which choices of a space are open in which epoch: all of them, or more and more.

Sources: "narrow": the 1st place of track 1 of the CVPR 2021 challenge (Hikvision) adds narrow branches gradually, so
that wide networks converge before narrow ones share their weights; only its abstract could be read, the schedule is
ours: every knob of numbers begins with its largest choice, and the next smaller one opens at even distances.
"shrinking": Once-for-all, Cai et al. 2020 (arXiv 1908.09791): after the largest network kernels, then depths, then
widths and expansions; of each, smaller choices in two steps as in the released recipe.
"""

from __future__ import annotations

from collections.abc import Mapping

from nas.train.supernet.recipe import SupernetRecipe
from search_spaces.arch import Architecture
from search_spaces.extremes import largest
from search_spaces.space import GridSpace, Knob, Value

KERNEL, DEPTH, WIDTH = 0, 1, 2  # order of the phases of shrinking


class Opening:
    """The schedule of a recipe for a space."""

    def __init__(self, space: GridSpace, recipe: SupernetRecipe) -> None:
        self.space, self.recipe = space, recipe
        self._top = space.values_of(largest(space))

    def choices(self, epoch: int) -> dict[str, tuple[Value, ...]]:
        """The open choices of every knob in an epoch, counted from 0; the largest network's is always open."""
        return {knob.name: self._open(knob, epoch) for knob in self.space.knobs}

    def smallest(self, choices: Mapping[str, tuple[Value, ...]], whole: Architecture) -> Architecture:
        """The smallest network of the open choices.

        Args:
            choices: of ``choices``.
            whole: the smallest one of the space, whose choices are taken where they are open.
        """
        values = self.space.values_of(whole)
        return self.space.decode(
            {name: values[name] if values[name] in known else known[0] for name, known in choices.items()}
        )

    def widths_begin(self, epoch: int) -> bool:
        """Whether this is the first epoch of shrinking in which widths may be smaller."""
        return self.recipe.progressive == "shrinking" and epoch == self._phase_start(WIDTH)

    def _open(self, knob: Knob, epoch: int) -> tuple[Value, ...]:
        if self.recipe.progressive == "none":
            return knob.choices
        if any(isinstance(choice, str) for choice in knob.choices):  # kinds have no order
            started = self.recipe.progressive == "narrow" or epoch >= self._phase_start(KERNEL)
            return knob.choices if started else (self._top[knob.name],)
        ranked = sorted(knob.choices, key=float, reverse=True)
        top = self._top[knob.name]
        if top != ranked[0]:  # a patch side: the largest network has the smallest
            ranked.reverse()
        count = self._count(knob, len(ranked), epoch)
        return tuple(choice for choice in knob.choices if choice in ranked[:count])

    def _count(self, knob: Knob, known: int, epoch: int) -> int:
        """How many choices of a knob are open."""
        if self.recipe.progressive == "narrow":
            span = self.recipe.progressive_share * self.recipe.epochs
            share = 1.0 if span == 0 else min(1.0, epoch / span)
            return min(known, 1 + int(share * (known - 1) + 1e-9))
        phase = phase_of(knob)
        start, end = self._phase_start(phase), self._phase_start(phase + 1)
        if epoch < start:
            return 1
        return known if epoch >= (start + end) / 2 else min(known, 1 + known // 2)

    def _phase_start(self, phase: int) -> int:
        """First epoch of a phase; the phases share what the largest network leaves."""
        first, all_epochs = self.recipe.teacher_epochs, self.recipe.epochs
        return first + (all_epochs - first) * phase // 3


def phase_of(knob: Knob) -> int:
    """In which phase of shrinking a knob opens, by its name."""
    name = knob.name.rpartition(".")[2]
    if name in ("kernel", "patch"):
        return KERNEL
    return DEPTH if name == "depth" else WIDTH
