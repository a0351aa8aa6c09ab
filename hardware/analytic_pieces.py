"""Pieces of networks by the roofline of a data sheet, for the latency table of a device that nobody measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from hardware.analytic_devices import AnalyticDevice, analytic_device
from hardware.pieces import Piece


@dataclass(frozen=True, eq=False)
class AnalyticPieces:
    """Pieces by the roofline of a data sheet."""

    device: AnalyticDevice

    def cell(self, footprint: float) -> int:
        """The footprint of a network makes no difference here."""
        return 0

    def pieces_ms(self, pieces: Sequence[Piece], cell: int) -> list[float]:
        """Milliseconds of sub-layers or classifiers."""
        return [float(self.device.predict_ms(piece.kernels).sum()) for piece in pieces]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"name": self.device.name, "precision": self.device.precision}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        return cls(analytic_device(data["name"], data["precision"]))
