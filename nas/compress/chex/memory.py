"""Channels that are masked now, their most recent weights, and how they come back.

Source: Hou et al. 2022, CHEX (arXiv 2203.15794): regrown channels start from their most recently used (MRU) values.
Deviation: the optimiser's memory of what comes back starts from 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nas.compress.groups import Coupling
from nas.compress.slicing import Keep
from nas.train.multitask.optimiser_state import forget_


def dead_entries(model: nn.Module, coupling: Coupling, keep: Keep) -> dict[str, Tensor]:
    """By tensor, a mask of its shape: True where it belongs to at least one channel that is not kept.

    Args:
        model: that the coupling is of.
        coupling: of the network.
        keep: by group, bool (units,).
    Returns: only tensors that take part in a group named in ``keep``, parameters and buffers, on their devices.
    """
    tensors = model.state_dict()
    found: dict[str, Tensor] = {}
    for name, kept in keep.items():
        for member in coupling.groups[name].members:
            tensor = tensors[member.tensor]
            if member.tensor not in found:
                found[member.tensor] = torch.zeros(tensor.shape, dtype=torch.bool, device=tensor.device)
            at = torch.from_numpy(member.indices)[~kept].reshape(-1).to(tensor.device)
            found[member.tensor].index_fill_(member.dim, at, True)
    return found


@torch.no_grad()
def zero_dead_(model: nn.Module, dead: Mapping[str, Tensor]) -> None:
    """What ``mask_`` does, from masks that are at hand: every parameter's dead entries become 0, in place.

    Args:
        model: the network or its weight average.
        dead: of ``dead_entries``; empty changes nothing.
    """
    for name, parameter in model.named_parameters():
        if name in dead:
            parameter.masked_fill_(dead[name], 0.0)


class RecentValues:
    """The last value of every weight and statistic before its channel was masked.

    Attributes:
        values: by tensor; right where an entry is dead, old elsewhere.
    """

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self.values = dict(values)

    @classmethod
    def of(cls, model: nn.Module, coupling: Coupling) -> RecentValues:
        """Everything as it is now, for a network without masks."""
        names = {member.tensor for group in coupling.groups.values() for member in group.members}
        return cls({name: value.detach().clone() for name, value in model.state_dict().items() if name in names})

    def refresh_(self, model: nn.Module, dead: Mapping[str, Tensor]) -> None:
        """Take what is alive from the network."""
        tensors = model.state_dict()
        for name, mask in dead.items():
            self.values[name] = torch.where(mask, self.values[name], tensors[name])


@torch.no_grad()
def bring_back_(model: nn.Module, recent: RecentValues, born: Mapping[str, Tensor]) -> None:
    """Give entries that come back their most recent values, in place.

    Args:
        model: the network or its weight average.
        recent: values.
        born: by tensor, mask of its shape.
    """
    for name, tensor in model.state_dict().items():
        if name in born:
            tensor.copy_(torch.where(born[name], recent.values[name], tensor))


def forget_born_(optimiser: torch.optim.Optimizer, model: nn.Module, born: Mapping[str, Tensor]) -> None:
    """Set the optimiser's memory of entries that come back to 0."""
    for name, parameter in model.named_parameters():
        if name in born:
            forget_(optimiser, parameter, born[name])
