"""How much of each layer the tasks want in common, and from which layer on sharing has no point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from nas.compress.disparse.tasks import Ownership
from nas.compress.masks import Masks

WATERSHED = 0.2


@dataclass(frozen=True, slots=True)
class LayerOverlap:
    """One shared weight tensor.

    Attributes:
        name: in the state dict.
        common: weights that all its tasks keep.
        either: weights that at least one keeps.
        chance: IoU that masks of the same densities would have if they were drawn independently.
    """

    name: str
    common: int
    either: int
    chance: float

    @property
    def iou(self) -> float:
        """Common over either, 0..1; 1 when no task keeps anything."""
        return self.common / self.either if self.either else 1.0


@dataclass(frozen=True, slots=True)
class Overlap:
    """All shared weight tensors, in order of execution."""

    layers: tuple[LayerOverlap, ...]

    def table(self) -> str:
        """One line for each layer: IoU, IoU by chance, name."""
        rows = [f"{layer.iou:5.2f}  {layer.chance:5.2f}  {layer.name}" for layer in self.layers]
        return "\n".join(["  IoU chance  shared weights", *rows])

    def watershed(self, threshold: float = WATERSHED) -> str | None:
        """The first layer from which on the tasks have nearly nothing in common.

        The IoU of this and all later shared layers, taken together (sum of common over sum of either), is below the
        threshold. None when there is no such layer: sharing pays to the end.
        """
        common, either, found = 0, 0, None
        for layer in reversed(self.layers):
            common, either = common + layer.common, either + layer.either
            if either and common / either < threshold:
                found = layer.name
        return found


def overlap_of(masks: Mapping[str, Masks], ownership: Ownership) -> Overlap:
    """Compare what the tasks keep of each shared weight tensor.

    Args:
        masks: by task.
        ownership: of the weights.
    Source: Sun et al. 2022, arXiv 2206.04662, IoU of the tasks' masks by layer.
    """
    return Overlap(tuple(_layer(name, [masks[task] for task in ownership.users[name]]) for name in ownership.shared))


def _layer(name: str, masks: Sequence[Masks]) -> LayerOverlap:
    own = torch.stack([mask[name] for mask in masks])
    shares = own.flatten(1).double().mean(1)
    either = 1 - float((1 - shares).prod())
    chance = float(shares.prod()) / either if either else 1.0
    return LayerOverlap(name, int(own.all(0).sum()), int(own.any(0).sum()), chance)
