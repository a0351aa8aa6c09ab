"""What channel exploration gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from nas.train.fit import EpochReport


@dataclass(frozen=True, slots=True, eq=False)
class MaskChange:
    """One change of the masks.

    Attributes:
        epoch: finished ones at that time.
        regrow: share of all units that was to come back, d_t.
        kept: units of each group that were chosen to stay.
        keep: by group, bool (units,): those that are alive after it, regrown ones included.
        macs: of the network sliced by ``keep``, for one image.
    """

    epoch: int
    regrow: float
    kept: Mapping[str, int]
    keep: Mapping[str, Tensor]
    macs: int

    @property
    def alive(self) -> dict[str, int]:
        """Units of each group after it."""
        return {name: int(mask.sum()) for name, mask in self.keep.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values and tensors, for checkpoints."""
        return {
            "epoch": self.epoch,
            "regrow": self.regrow,
            "kept": dict(self.kept),
            "keep": dict(self.keep),
            "macs": self.macs,
        }


@dataclass(frozen=True, slots=True, eq=False)
class ChexResult:
    """A trained network with fewer channels.

    Attributes:
        network: sliced, in evaluation mode; a new module.
        keep: by group, bool (units,): which units of the given network remain.
        curve: one report per epoch, of the masked network.
        history: of the masks.
        macs_before, macs_after: multiply-accumulates for one image.
        params_before, params_after: trainable scalars.
        training_macs: of all epochs, 3 passes over every image, work of masked channels not counted.
        latency_ms: of the network as measured by the caller's function when its widths were chosen; None without.
    """

    network: nn.Module
    keep: Mapping[str, Tensor]
    curve: tuple[EpochReport, ...]
    history: tuple[MaskChange, ...]
    macs_before: int
    macs_after: int
    params_before: int
    params_after: int
    training_macs: int
    latency_ms: float | None = None

    @property
    def top1(self) -> float:
        """Validation accuracy after the last epoch, 0..1."""
        return self.curve[-1].validation_top1

    @property
    def widths(self) -> dict[str, tuple[int, int]]:
        """Units of each group, after and before."""
        return {name: (int(mask.sum()), len(mask)) for name, mask in self.keep.items()}
