"""A training from wherever its checkpoint stands to its last epoch: what all trainings of this package share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

Report_co = TypeVar("Report_co", covariant=True)
Told = TypeVar("Told")


class Advancing(Protocol[Report_co]):
    """A training that can be saved after every epoch."""

    @property
    def epoch(self) -> int:
        """Finished epochs."""

    def train_epoch(self) -> Report_co:
        """Train one."""

    def save(self, path: Path) -> None:
        """Write everything that the next epoch depends on."""

    def load(self, path: Path) -> None:
        """Go back to a saved state."""


def advance(
    training: Advancing[Told],
    epochs: int,
    checkpoint: Path | None = None,
    on_epoch: Callable[[Told], None] | None = None,
) -> None:
    """Train until so many epochs are finished.

    Args:
        training: at its start; goes back to the checkpoint where there is one.
        epochs: in all.
        checkpoint: written after every epoch.
        on_epoch: called after every epoch that is trained now, once its checkpoint is safe.
    """
    if checkpoint is not None and checkpoint.exists():
        training.load(checkpoint)
    while training.epoch < epochs:
        report = training.train_epoch()
        if checkpoint is not None:
            training.save(checkpoint)
        if on_epoch is not None:
            on_epoch(report)
