"""What every pruning of single weights gives back, and what its training cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from nas.compress.masks import Masks
from nas.train.fit import EpochReport


@dataclass(frozen=True, slots=True)
class PruningEpoch:
    """One epoch of a pruning.

    Attributes:
        epoch: from 1.
        stage: what it was for, as "round 2, partition 1".
        kept: prunable weights under no mask after it, of each network that was trained.
        training_macs: see ``PruningResult``.
        reports: one for each network that was trained: one for each partition in P-GaP, else a single one.
    """

    epoch: int
    stage: str
    kept: tuple[int, ...]
    training_macs: int
    reports: tuple[EpochReport, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PruningEpoch:
        """Read what ``to_dict`` wrote."""
        reports = tuple(EpochReport(**report) for report in data["reports"])
        return cls(data["epoch"], data["stage"], tuple(data["kept"]), data["training_macs"], reports)


@dataclass(frozen=True, slots=True, eq=False)
class PruningResult:
    """A pruned network.

    Attributes:
        network: in evaluation mode; weights under no mask are 0.
        masks: which weights remain, by name.
        curve: one entry per epoch.
        top1: of the network on the validation images, 0..1.
        dense_epoch_macs: what an epoch of the whole network costs.
    """

    network: nn.Module
    masks: Masks
    curve: tuple[PruningEpoch, ...]
    top1: float
    dense_epoch_macs: int

    @property
    def training_macs(self) -> int:
        """Multiply-accumulates of all trainings: 3 passes over every image, products with pruned weights not counted.

        Common kernels do not leave them out, so this compares methods, and says nothing of time. Counted are
        convolutions and linear layers of the network, not those of a teacher.
        """
        return sum(epoch.training_macs for epoch in self.curve)

    @property
    def epochs(self) -> int:
        """Passes over the training images, of all networks that were trained."""
        return sum(len(epoch.reports) for epoch in self.curve)
