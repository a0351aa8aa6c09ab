"""Coupled channels: which channels can only be removed together, and which slices of which tensors go with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from search_spaces.layers import Shape

Role = Literal["maker", "follower", "reader"]


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A tensor's part in a group.

    Attributes:
        tensor: name in the state dict.
        dim: dimension that is cut.
        role: "maker" computes the channels (weight and bias of a convolution or linear layer), "follower" acts on each
            of them (norms), "reader" takes them as input (columns of the next layer).
        indices: int64 (units, k): positions along ``dim`` that belong to each unit.
        module: dotted path of the module that holds the tensor.
    """

    tensor: str
    dim: int
    role: Role
    indices: NDArray[np.int64]
    module: str


@dataclass(frozen=True, slots=True, eq=False)
class ChannelGroup:
    """Units that can be kept or removed one by one; each unit is one channel of every member (k slices of it).

    Attributes:
        name: dotted path of the first module, in order of execution, that makes the channels.
        size: units.
        members: in order of execution.
    """

    name: str
    size: int
    members: tuple[Member, ...]

    def of(self, role: Role) -> tuple[Member, ...]:
        """Members with this role."""
        return tuple(member for member in self.members if member.role == role)


@dataclass(frozen=True, slots=True, eq=False)
class Coupling:
    """All channels of a network.

    Attributes:
        groups: by name, in order of execution.
        fixed: dotted path of a layer -> why its output channels cannot be removed.
        input_shape: (channels, height, width) of one image that it was found for.
    """

    groups: Mapping[str, ChannelGroup]
    fixed: Mapping[str, str]
    input_shape: Shape
