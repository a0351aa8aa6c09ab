"""Weights of a group of coupled channels as one matrix, and the scales of its norms."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, fx

from nas.compress.graph import argument, operation, tensor_name
from nas.compress.groups import ChannelGroup, Member

Tensors = Mapping[str, Tensor]  # a state dict


def columns(tensors: Tensors, group: ChannelGroup) -> Tensor:
    """The filters of every layer that makes the channels, concatenated: W_G, one column for each unit.

    Args:
        tensors: state dict of the network.
        group: of it.
    Returns: (weights of a unit, units) float64, on the CPU. Biases are left out.
    """
    makers = [member for member in group.of("maker") if tensors[member.tensor].ndim > 1] or group.of("maker")
    return torch.cat([_rows(tensors[member.tensor], member) for member in makers], 1).T


def _rows(tensor: Tensor, member: Member) -> Tensor:
    """(units, values) of a unit's slices of one tensor."""
    moved = tensor.detach().double().cpu().movedim(member.dim, 0)
    return moved[torch.from_numpy(member.indices)].reshape(len(member.indices), -1)


def norm_scales(graph: fx.GraphModule) -> frozenset[str]:
    """Names of the scales (gamma) of all batch norms that the network executes."""
    found = (tensor_name(argument(n, 1, "weight")) for n in graph.graph.nodes if operation(n) == "batch_norm")
    return frozenset(name for name in found if name is not None)


def scale_of_units(tensors: Tensors, group: ChannelGroup, scales: frozenset[str]) -> Tensor | None:
    """Root mean square over the scales of the norms that follow the group; None without norms.

    Args:
        tensors: state dict of the network.
        group: of it.
        scales: of ``norm_scales``.
    Returns: (units,) float64, on the CPU.
    """
    norms = [member for member in group.of("follower") if member.tensor in scales]
    if not norms:
        return None
    rows = torch.cat([_rows(tensors[member.tensor], member) for member in norms], 1)
    return rows.square().mean(1).sqrt()
