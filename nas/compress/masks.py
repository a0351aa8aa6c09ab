"""Which weights of a network remain: one boolean tensor for each pruned tensor, kept apart from the weights.

Masks are never read off zeros in the weights: a weight may be zero and kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from nas.compress.errors import CannotCompress


class Masks(Mapping[str, Tensor]):
    """Masks by name of the tensor in the state dict; True is kept. Immutable by convention: make new ones."""

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        self._masks = {name: mask.bool().cpu() for name, mask in masks.items()}
        self._placed: dict[torch.device, dict[str, Tensor]] = {torch.device("cpu"): self._masks}

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    @property
    def kept(self) -> int:
        """Weights that remain."""
        return sum(int(mask.sum()) for mask in self._masks.values())

    @property
    def total(self) -> int:
        """Weights under a mask."""
        return sum(mask.numel() for mask in self._masks.values())

    @property
    def density(self) -> float:
        """``kept`` over ``total``; 1 without masks."""
        return self.kept / self.total if self.total else 1.0

    def check_fits(self, model: nn.Module) -> None:
        """Raises CannotCompress, naming the tensor, when the masks are another network's."""
        tensors = dict(model.named_parameters())
        for name, mask in self._masks.items():
            if name not in tensors:
                raise CannotCompress(
                    f"masks: {name} is no parameter of this network; they belong to another one, make them anew"
                )
            if tensors[name].shape != mask.shape:
                raise CannotCompress(
                    f"masks: {name} has shape {tuple(mask.shape)}, the network's {tuple(tensors[name].shape)}; "
                    "they belong to another network, make them anew"
                )

    def apply_(self, model: nn.Module) -> None:
        """Set the weights that do not remain to 0, in place, on the device where they are."""
        tensors = dict(model.named_parameters())
        device = next(iter(tensors.values())).device
        if device not in self._placed:
            self._placed[device] = {name: mask.to(device) for name, mask in self._masks.items()}
        with torch.no_grad():
            for name, mask in self._placed[device].items():
                tensors[name].mul_(mask)
