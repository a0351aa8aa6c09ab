"""Milliseconds of sub-layers, for runtimes that tell no times inside a network: learned from sub-layers run alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import Any, Self

import numpy as np

from hardware.kriging import Kriging, Vector
from hardware.pieces import Piece
from hardware.roofline import DEMANDS, FEATURES, Work


@dataclass(frozen=True, eq=False)
class SubLayerModel:
    """Milliseconds of a sub-layer: cost of its demands, times an interpolated correction.

    Attributes:
        costs: (len(DEMANDS),) milliseconds per unit of demand.
        correction: of the logarithm of measured over cost, as a function of the sub-layer's features.
    """

    costs: Vector
    correction: Kriging

    def cell(self, footprint: float) -> int:
        """The footprint of a network makes no difference here."""
        return 0

    def pieces_ms(self, pieces: Sequence[Piece], cell: int) -> list[float]:
        """Milliseconds of sub-layers or classifiers inside a network, with the batch that was measured."""
        return [self._piece_ms(piece) for piece in pieces]

    def _piece_ms(self, piece: Piece) -> float:
        known = any(kernel.is_conv for kernel in piece.kernels)  # the correction was learned on such
        return self.predict(piece.work) if known else self.cost(piece.work)

    def predict(self, work: Work) -> float:
        """Milliseconds of this work inside a network."""
        return self.cost(work) * exp(self.correction.predict(work.features))

    def cost(self, work: Work) -> float:
        """The parametric part alone, in milliseconds."""
        return float(work.demands @ self.costs)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        costs = dict(zip(DEMANDS, self.costs.tolist(), strict=True))
        return {"costs": costs, "features": list(FEATURES), "correction": self.correction.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        if set(data["costs"]) != set(DEMANDS) or data["features"] != list(FEATURES):
            raise ValueError("latency table: made with other features; renew it with netwright profile")
        costs = np.array([data["costs"][name] for name in DEMANDS])
        return cls(costs, Kriging.from_dict(data["correction"]))
