"""Where a compression keeps its checkpoints, on which device it trains, and whom it tells."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nas.narrator import Silent


@dataclass(frozen=True, slots=True)
class Work:
    """The surroundings of a compression.

    Attributes:
        folder: of checkpoints; None keeps none.
        device: of trainings.
        narrator: is told what goes on.
    """

    folder: Path | None = None
    device: torch.device | str = "cpu"
    narrator: Silent = field(default_factory=Silent)

    def checkpoint(self, stage: str) -> Path | None:
        """Where a stage keeps its checkpoint."""
        if self.folder is None:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{stage}.pt"

    def within(self, name: str) -> Work:
        """The same with a folder of its own, inside."""
        return Work(None if self.folder is None else self.folder / name, self.device, self.narrator)

    def teller(self, stage: str, epochs: int | None) -> Callable[[Any], None]:
        """Tells every epoch of a stage."""

        def tell(report: Any) -> None:
            of = f" of {epochs}" if epochs else ""
            reached = getattr(report, "validation_top1", None)
            if reached is None:
                last = getattr(report, "reports", None) or [getattr(report, "report", None)]
                reached = getattr(last[0], "validation_top1", None)
            said = "" if reached is None else f", validation top-1 {reached:.4f}"
            self.narrator.update(f"{stage}: epoch {report.epoch}{of}{said}", report.epoch / epochs if epochs else None)

        return tell

    def forget(self) -> None:
        """Remove the checkpoints, once the result is safe."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
