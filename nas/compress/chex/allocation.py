"""How many channels each group keeps: one threshold across groups, moved until the sliced network keeps the budget.

Source: Hou et al. 2022, CHEX (arXiv 2203.15794), dynamic allocation: the threshold is a quantile of all scales of batch
norms. Deviations: the quantile follows from a budget of the sliced network; groups have floors; final numbers of
channels are rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from math import ceil

import numpy as np
import torch
from torch import Tensor

from nas.compress.chex.settings import ChexSettings
from nas.compress.errors import BudgetUnreachable
from nas.compress.groups import Coupling

Counts = dict[str, int]  # name of a group -> units kept
Macs = Callable[[Mapping[str, int]], int]  # multiply-accumulates of the sliced network

SLACK = 0.02  # the final network uses at least 98 % of its budget where rounded widths allow it
_COMBINATIONS = 2500  # of rounded widths that are all tried


@dataclass(frozen=True, slots=True)
class Limits:
    """What each group may keep.

    Attributes:
        sizes: units of each group.
        floors: fewest.
        step: final numbers are multiples of this, or all units.
    """

    sizes: Counts
    floors: Counts
    step: int = 1

    @classmethod
    def of(cls, coupling: Coupling, settings: ChexSettings) -> Limits:
        """Floors that are reachable with rounded numbers."""
        sizes = {name: group.size for name, group in coupling.groups.items()}
        floors = {
            name: min(size, _up(max(settings.floor_units, ceil(settings.floor_share * size)), settings.round_to))
            for name, size in sizes.items()
        }
        return cls(sizes, floors, settings.round_to)

    def check(self, macs: Macs, budget: int, asked: str) -> None:
        """Raise BudgetUnreachable when even the floors cost more than the budget.

        Args:
            macs: of the sliced network.
            budget: most of them.
            asked: the budget in the user's words.
        """
        least, whole = macs(self.floors), macs(self.sizes)
        if least > budget:
            raise BudgetUnreachable(
                f"{asked}: {budget:,} of {whole:,} multiply-accumulates; with every group at its floor {least:,} "
                f"({least / whole:.3f}) remain; ask for more, or lower floor_units, floor_share or round_to"
            )


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


class Ranking:
    """All units of a network in the order in which they go; a quantile of it gives every group its number.

    Args:
        signals: by group, (units,); smallest go first. Units at 0 (those masked now) go before all others, evenly
            from all groups.
        limits: groups never fall below their floor.
    """

    def __init__(self, signals: Mapping[str, Tensor], limits: Limits) -> None:
        self.limits = limits
        self._names = list(signals)
        values = np.concatenate([value.double().numpy() for value in signals.values()])
        owner = np.concatenate([np.full(len(value), at) for at, value in enumerate(signals.values())])
        within = np.concatenate([_spread(value) for value in signals.values()])
        self._owner = owner[np.lexsort((within, values))]
        self._sizes = np.array([len(value) for value in signals.values()])

    @property
    def units(self) -> int:
        """Of all groups."""
        return len(self._owner)

    def counts(self, removed: int) -> Counts:
        """Units of each group without the first ``removed`` of all, but for floors."""
        gone = np.bincount(self._owner[: max(0, removed)], minlength=len(self._names))
        return {
            name: max(int(size - less), self.limits.floors[name])
            for name, size, less in zip(self._names, self._sizes, gone, strict=True)
        }

    def within(self, macs: Macs, budget: int) -> int:
        """The fewest removed units at which the sliced network keeps the budget, by bisection."""
        low, high = 0, self.units
        while low < high:
            middle = (low + high) // 2
            if macs(self.counts(middle)) <= budget:
                high = middle
            else:
                low = middle + 1
        return low


def _spread(signal: Tensor) -> np.ndarray:
    """Order among equals: position relative to the group's size, so that ties go evenly from all groups."""
    return np.argsort(np.argsort(signal.numpy(), kind="stable")) / max(1, len(signal))


def uniform_counts(limits: Limits, macs: Macs, budget: int) -> dict[str, float]:
    """An equal share of every group, the largest that keeps the budget; not whole numbers, but for floors.

    Args:
        limits: sizes and floors.
        macs: of the sliced network.
        budget: most of them.
    """
    low, high = 0.0, 1.0
    if macs(limits.sizes) <= budget:
        return dict(limits.sizes)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if macs(whole(_share(limits, middle))) <= budget else (low, middle)
    return _share(limits, low)


def whole(counts: Mapping[str, float]) -> Counts:
    """The nearest whole numbers."""
    return {name: round(count) for name, count in counts.items()}


def _share(limits: Limits, share: float) -> dict[str, float]:
    return {name: max(share * size, limits.floors[name]) for name, size in limits.sizes.items()}


def rounded(wanted: Mapping[str, float], limits: Limits, macs: Macs, budget: int) -> Counts:
    """Rounded numbers of units near the wanted ones that keep the budget and use 98 % of it where possible.

    With few groups all neighbours are tried and the nearest is taken; with many, where single steps are small against
    the budget, units are added one step at a time to the group that lacks most.

    Args:
        wanted: by group, need not be whole.
        limits: sizes, floors and step.
        macs: of the sliced network.
        budget: most of them.
    """
    names = list(wanted)
    for width in (16, 8, 6, 4, 3, 2):
        options = [_neighbours(wanted[name], limits, name)[:width] for name in names]
        if np.prod([len(each) for each in options], dtype=float) <= _COMBINATIONS:
            break
    else:
        return _filled(wanted, limits, macs, budget)
    tried = [dict(zip(names, each, strict=True)) for each in product(*options)]
    costs = [macs(counts) for counts in tried]
    fitting = [at for at, cost in enumerate(costs) if (1 - SLACK) * budget <= cost <= budget]
    if fitting:
        return tried[min(fitting, key=lambda at: _distance(tried[at], wanted, limits))]
    below = [at for at, cost in enumerate(costs) if cost <= budget]
    filled = _filled(wanted, limits, macs, budget)
    return max([tried[at] for at in below] + [filled], key=macs)


def _neighbours(wanted: float, limits: Limits, name: str) -> list[int]:
    """Numbers that the group may have, nearest first."""
    allowed = {*range(_up(limits.floors[name], limits.step), limits.sizes[name], limits.step), limits.sizes[name]}
    if limits.floors[name] == limits.sizes[name]:
        allowed = {limits.sizes[name]}
    return sorted(allowed, key=lambda count: (abs(count - wanted), count))


def _distance(counts: Counts, wanted: Mapping[str, float], limits: Limits) -> float:
    return sum(((counts[name] - wanted[name]) / limits.sizes[name]) ** 2 for name in counts)


def _filled(wanted: Mapping[str, float], limits: Limits, macs: Macs, budget: int) -> Counts:
    counts = {name: min(_neighbours(0, limits, name)) for name in wanted}
    open_groups = set(wanted)
    while open_groups and macs(counts) < (1 - SLACK) * budget:
        name = max(sorted(open_groups), key=lambda each: (wanted[each] - counts[each]) / limits.sizes[each])
        more = {**counts, name: min(counts[name] + limits.step, limits.sizes[name])}
        if more == counts or macs(more) > budget:
            open_groups.discard(name)
        else:
            counts = more
    return counts


def share_within(cost: Callable[[float], float], most: float, rounds: int = 7) -> float | None:
    """The largest share, of those tried by bisection, whose cost keeps the limit; None when the smallest does not.

    Args:
        cost: of a share 0..1, rising with it but for noise; called at most ``rounds + 2`` times.
        most: the limit.
        rounds: of bisection.
    """
    if cost(1.0) <= most:
        return 1.0
    if cost(0.0) > most:
        return None
    low, high = 0.0, 1.0
    for _ in range(rounds):
        middle = (low + high) / 2
        low, high = (middle, high) if cost(middle) <= most else (low, middle)
    return low


def first_units(counts: Mapping[str, int], sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """Masks that keep the first units of each group: for a network whose weights do not matter."""
    return {name: torch.arange(sizes[name]) < count for name, count in counts.items()}
