"""What the choices of a space's knobs are worth under given limits: those that never fit, and knobs without effect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from search_spaces.arch import Architecture, InvalidArchitecture
from search_spaces.space import GridSpace, Knob

EXPECTED = 5.0  # members within the limits that a choice would have if it were like the others; none is no accident
PROBES = 12


@dataclass
class ChoiceCounts:
    """Counts how often each choice of each knob was seen, and how often in a member within the limits."""

    space: GridSpace
    tried: Counter[tuple[str, Any]] = field(default_factory=Counter)
    kept: Counter[tuple[str, Any]] = field(default_factory=Counter)
    members: int = 0
    within: int = 0

    def see(self, arch: Architecture, *, feasible: bool) -> None:
        """Count the choices of a member."""
        self.members += 1
        self.within += feasible
        for choice in self.space.values_of(arch).items():
            self.tried[choice] += 1
            self.kept[choice] += feasible

    def dead(self) -> list[dict[str, Any]]:
        """Choices of which no member seen keeps the limits, with how many were seen; rarely seen ones are not judged.

        Judged is a choice that would be expected in five members within the limits or more, from the share of all
        members that keep them: the chance that such a choice has none is below 1 %.
        """
        return [row for row in self._rows() if self._judged(row["tried"]) and not self.kept[row["knob"], row["choice"]]]

    def unjudged(self) -> int:
        """Choices without a member within the limits that were seen too rarely to be called dead; more samples help."""
        return sum(not self._judged(row["tried"]) and not self.kept[row["knob"], row["choice"]] for row in self._rows())

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {"knob": knob.name, "choice": choice, "tried": self.tried[knob.name, choice]}
            for knob in self.space.knobs
            for choice in knob.choices
        ]

    def _judged(self, tried: int) -> bool:
        return tried * self.within >= EXPECTED * self.members


def knobs_without_effect(space: GridSpace, members: Sequence[Architecture]) -> list[str]:
    """Knobs of two or more choices of which every choice decodes to the same architecture, in each of some members.

    Args:
        space: whose knobs.
        members: a few of its designs.
    """
    return [
        knob.name
        for knob in space.knobs
        if len(knob.choices) > 1 and members and not any(_changes(space, knob, arch) for arch in members[:PROBES])
    ]


def _changes(space: GridSpace, knob: Knob, arch: Architecture) -> bool:
    values = space.values_of(arch)
    for choice in knob.choices:
        try:
            if space.decode({**values, knob.name: choice}) != arch:
                return True
        except InvalidArchitecture:  # it has an effect
            return True
    return False


def interval_of_share(hits: int, n: int) -> tuple[float, float]:
    """The exact 95 % interval of a share of which ``hits`` of ``n`` were seen. Source: Clopper and Pearson 1934."""
    from scipy.stats import beta

    low = 0.0 if hits == 0 else float(beta.ppf(0.025, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(0.975, hits + 1, n - hits))
    return low, high
