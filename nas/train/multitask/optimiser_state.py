"""An optimiser's memory by the names of the parameters it belongs to, so that their order does not matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

State = dict[str, dict[str, Any]]


def named_state(optimiser: torch.optim.Optimizer, model: nn.Module) -> State:
    """Momenta and the like of every parameter that has been stepped: name -> key -> value."""
    return {
        name: dict(optimiser.state[parameter])
        for name, parameter in model.named_parameters()
        if parameter in optimiser.state
    }


def restore_state(optimiser: torch.optim.Optimizer, model: nn.Module, state: Mapping[str, Mapping[str, Any]]) -> None:
    """Put back what ``named_state`` gave, on the devices of the parameters."""
    optimiser.state.clear()
    for name, parameter in model.named_parameters():
        if name in state:
            optimiser.state[parameter] = {
                key: value.to(parameter.device) if isinstance(value, Tensor) and value.ndim else value
                for key, value in state[name].items()
            }


@torch.no_grad()
def forget_(optimiser: torch.optim.Optimizer, parameter: Tensor, entries: Tensor) -> None:
    """Set the memory of chosen entries of a parameter to 0, in place.

    Args:
        optimiser: of the parameter.
        parameter: any shape.
        entries: boolean, of the same shape and device; True is forgotten.
    """
    for value in optimiser.state.get(parameter, {}).values():
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            value.masked_fill_(entries, 0)
