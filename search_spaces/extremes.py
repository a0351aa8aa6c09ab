"""The largest and the smallest member of a space of knobs."""

from __future__ import annotations

from search_spaces.arch import Architecture
from search_spaces.expand import expand
from search_spaces.layers import Shape
from search_spaces.space import GridSpace, Value

INPUT_SHAPE: Shape = (3, 64, 64)  # where costs are compared; only their order counts


def largest(space: GridSpace, input_shape: Shape = INPUT_SHAPE) -> Architecture:
    """The member of the most MACs: of every knob the choice that costs most, the others being at theirs."""
    return _extreme(space, input_shape, sign=1)


def smallest(space: GridSpace, input_shape: Shape = INPUT_SHAPE) -> Architecture:
    """The member of the fewest MACs: of every knob the choice that costs least, the others being at theirs."""
    return _extreme(space, input_shape, sign=-1)


def _extreme(space: GridSpace, input_shape: Shape, sign: int) -> Architecture:
    """Numbers begin at their greatest or least, words at their first; then one pass over the knobs by MACs."""
    values: dict[str, Value] = {knob.name: _end(knob.choices, sign) for knob in space.knobs}
    for knob in space.knobs:
        costs = {choice: sign * _macs(space, {**values, knob.name: choice}, input_shape) for choice in knob.choices}
        best = max(costs.values())
        if costs[values[knob.name]] < best:  # a choice that changes nothing stays
            values[knob.name] = next(choice for choice, cost in costs.items() if cost == best)
    return space.decode(values)


def _end(choices: tuple[Value, ...], sign: int) -> Value:
    if any(isinstance(choice, str) for choice in choices):
        return choices[0]
    return max(choices, key=lambda choice: sign * float(choice))


def _macs(space: GridSpace, values: dict[str, Value], input_shape: Shape) -> int:
    return sum(layer.macs for layer in expand(space.decode(values), input_shape))
