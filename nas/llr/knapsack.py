"""The best combination of stage choices within a latency budget, exactly.

Costs are sums of block terms; a block's latency depends on its own choice and on the width before it. So the problem
is a knapsack along a chain: for each width, the combinations that no other beats in latency and loss are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from nas.llr.choices import Choice


class NothingFeasible(RuntimeError):
    """No combination keeps the budget; the message states the least latency."""


class Option(NamedTuple):
    """One choice of a stage after one width.

    Attributes:
        choice: what the stage is.
        latency_ms: of its block.
        change: predicted change of loss; lower is better.
    """

    choice: Choice
    latency_ms: float
    change: float


class Combination(NamedTuple):
    """A choice for every stage.

    Attributes:
        choices: stage by stage.
        latency_ms: sum of block terms and the rest.
        change: sum of the predicted changes of loss.
    """

    choices: tuple[Choice, ...]
    latency_ms: float
    change: float


Item = TypeVar("Item", Option, Combination)
Options = Callable[[int, int], Sequence[Option]]  # (stage, width before it) -> its options


def best_combinations(
    stages: int, options: Options, budget_ms: float, *, first_width: int, rest_ms: float = 0.0
) -> list[Combination]:
    """Every combination within the budget that no faster one equals in predicted loss, best loss first.

    Args:
        stages: how many.
        options: of a stage, given the width before it.
        budget_ms: for the sum.
        first_width: channels of the images.
        rest_ms: latency of what has no choice.
    Raises: NothingFeasible.
    """
    fronts: dict[int, list[Combination]] = {first_width: [Combination((), rest_ms, 0.0)]}
    for stage in range(stages):
        grown: dict[int, list[list[Combination]]] = {}
        for width, front in fronts.items():
            for option in _undominated_by_width(options(stage, width)):
                extended = [_extend(each, option) for each in front if each.latency_ms + option.latency_ms <= budget_ms]
                grown.setdefault(option.choice.channels, []).append(extended)
        fronts = {width: _front([each for part in parts for each in part]) for width, parts in grown.items()}
        fronts = {width: front for width, front in fronts.items() if front}
        if not fronts:
            least = least_latency(stages, options, first_width=first_width, rest_ms=rest_ms)
            raise NothingFeasible(
                f"llr: no combination keeps {budget_ms:.4g} ms; the least that the stages reach is {least:.4g} ms"
            )
    return sorted(_front([each for front in fronts.values() for each in front]), key=lambda each: each.change)


def least_latency(stages: int, options: Options, *, first_width: int, rest_ms: float = 0.0) -> float:
    """The fastest combination's milliseconds."""
    fastest = {first_width: rest_ms}
    for stage in range(stages):
        grown: dict[int, float] = {}
        for width, latency_ms in fastest.items():
            for option in options(stage, width):
                total = latency_ms + option.latency_ms
                grown[option.choice.channels] = min(total, grown.get(option.choice.channels, np.inf))
        fastest = grown
    return min(fastest.values())


def _undominated_by_width(options: Sequence[Option]) -> list[Option]:
    """Options that no other of the same width beats in both respects."""
    by_width: dict[int, list[Option]] = {}
    for option in options:
        by_width.setdefault(option.choice.channels, []).append(option)
    return [option for same in by_width.values() for option in _front(same)]


def _extend(combination: Combination, option: Option) -> Combination:
    choices, latency_ms, change = combination
    return Combination((*choices, option.choice), latency_ms + option.latency_ms, change + option.change)


def _front(items: Sequence[Item]) -> list[Item]:
    """Those that no other beats in latency and change, fastest first."""
    kept: list[Item] = []
    least = np.inf
    for item in sorted(items, key=lambda each: (each.latency_ms, each.change)):
        if item.change < least:
            kept.append(item)
            least = item.change
    return kept
