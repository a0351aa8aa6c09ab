"""Masks that change while the network trains: small weights go, weights with large gradients come, task by task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nas.compress.disparse.overlap import LayerOverlap, Overlap
from nas.compress.disparse.settings import DisparseSettings
from nas.compress.disparse.tasks import Ownership


@dataclass(frozen=True, slots=True)
class Schedule:
    """When masks change, and by how much.

    Attributes:
        drop: share that the first change drops.
        interval: steps between changes.
        last: step (from 0) of the last one, which leaves exactly the density asked for.
    """

    drop: float
    interval: int
    last: int

    @classmethod
    def of(cls, settings: DisparseSettings, steps: int) -> Schedule:
        """For a training of so many steps."""
        return cls(settings.drop, settings.interval, max(0, round(settings.end * steps) - 1))

    def changes_at(self, step: int) -> bool:
        """Whether weights are dropped and grown after this step."""
        return step < self.last and (step + 1) % self.interval == 0

    def share_at(self, step: int) -> float:
        """Share of a layer's weights dropped: a half cosine from ``drop`` at step 0 to 0 at the last."""
        return self.drop * 0.5 * (1 + math.cos(math.pi * step / max(1, self.last)))


def largest(values: Tensor, among: Tensor, count: int) -> Tensor:
    """Mask of the ``count`` largest values among the marked entries (all of them when there are fewer)."""
    open_to = torch.where(among, values, -torch.inf).flatten()
    chosen = torch.sort(open_to, descending=True, stable=True).indices[: min(count, int(among.sum()))]
    mask = torch.zeros(open_to.shape, dtype=torch.bool, device=values.device)
    mask[chosen] = True
    return mask.reshape(values.shape)


class Rewiring:
    """The changing masks of one training.

    Attributes:
        masks: weight -> boolean tensor on its device; between changes a shared layer holds more than its count,
            because each task grows its own; after the last change every layer holds exactly its count.
        counts: weight -> number that remains.
    """

    def __init__(self, masks: Mapping[str, Tensor], ownership: Ownership) -> None:
        self.masks = dict(masks)
        self.counts = {name: int(mask.sum()) for name, mask in self.masks.items()}
        self._ownership = ownership
        self._grown = {name: [0.0] * 4 for name in ownership.shared}  # see _count

    def change(
        self, weights: Mapping[str, Tensor], gradients: Mapping[str, Mapping[str, Tensor]], share: float
    ) -> dict[str, Tensor]:
        """Drop and grow in every layer.

        Of a layer with n weights to remain, the n - k largest |w| under the mask stay, k = round(share n); every task
        that uses the layer adds the k entries outside with the largest |gradient| of its own loss.

        Args:
            weights: current values, 0 outside the masks.
            gradients: task -> weight -> gradient of its un-weighted loss, dense.
            share: of the weights that is dropped.
        Returns: weight -> entries that are new under its mask; they start from 0.
        Source: Sun et al. 2022, arXiv 2206.04662, dynamic mode; Evci et al. 2020, arXiv 1911.11134, algorithm 1.
        Deviations: new weights start from 0 and their gradients are taken at 0, as in RigL; the authors' code revives
        the values that they had when they were dropped.
        """
        new = {}
        for name, mask in self.masks.items():
            count = self.counts[name]
            k = round(share * count)
            kept = largest(weights[name].abs(), mask, count - k)
            grown = torch.stack(
                [largest(gradients[task][name].abs(), ~kept, k) for task in self._ownership.users[name]]
            )
            if name in self._grown:
                self._count(name, grown, int((~kept).sum()))
            self.masks[name] = kept | grown.any(0)
            new[name] = self.masks[name] & ~mask
        return new

    def finish(self, weights: Mapping[str, Tensor]) -> None:
        """Keep the largest |w| of each layer, exactly as many as its density says."""
        self.masks = {n: largest(weights[n].abs(), mask, self.counts[n]) for n, mask in self.masks.items()}

    @property
    def overlap(self) -> Overlap:
        """Of all weights that were grown so far."""
        return Overlap(
            tuple(
                LayerOverlap(name, int(common), int(either), by_chance[0] / by_chance[1] if by_chance[1] else 1.0)
                for name, (common, either, *by_chance) in self._grown.items()
            )
        )

    def _count(self, name: str, grown: Tensor, free: int) -> None:
        """Add entries grown by all tasks, by at least one, and how many both would be if tasks chose by chance."""
        share = int(grown[0].sum()) / max(1, free)
        found = (
            int(grown.all(0).sum()),
            int(grown.any(0).sum()),
            free * share ** len(grown),
            free * (1 - (1 - share) ** len(grown)),
        )
        self._grown[name] = [before + more for before, more in zip(self._grown[name], found, strict=True)]

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"counts": self.counts, "grown": self._grown}

    def restore(self, masks: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Go back to what ``state`` and ``masks`` were."""
        self.masks, self.counts = dict(masks), dict(state["counts"])
        self._grown = {name: list(counts) for name, counts in state["grown"].items()}
