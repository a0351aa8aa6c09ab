"""Milliseconds of any kernel, learned from measured ones: a roofline times a boosted correction.

The roofline is a non-negative cost of multiply-adds, maps, weights and calls for each kind of kernel. The correction is
gradient boosting on physical features. One of them is no property of the kernel: the *footprint* of its network, all
weights and maps together. What fits into the caches stays there between calls, so the same kernel is slower in a larger
network. The correction never falls with it, nor with any amount of work while the shape stays. Predictions are made on
a grid of footprints, so that pieces of networks can be cached.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hardware.forest import Forest
from hardware.kernel_features import AMOUNTS, DEMANDS, FEATURES, demands, features
from hardware.kernels import KINDS, Kernel
from hardware.pieces import Piece

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

LEAST_MS = 1e-4  # what a runtime computes together with another kernel costs next to nothing
ROUNDS, DEPTH = 400, 6
CACHE_SIZE = 100_000  # kernels
_SETTINGS = {
    "objective": "reg:gamma",  # mean-unbiased: sums of kernels must not drift
    "eta": 0.05,
    "max_depth": DEPTH,
    "subsample": 0.8,
    "colsample_bytree": 0.6,
    "min_child_weight": 1.0,
    "nthread": 1,
}
LOG_FOOTPRINTS, STEP = (15.0, 27.0), 0.25  # base 2, scalars: 128 KB to 512 MB of float32, and the step of the grid


@dataclass(frozen=True, eq=False)
class KernelModel:
    """A fitted model of one device.

    Attributes:
        costs: (len(KINDS) * len(DEMANDS),) milliseconds per unit of demand.
        correction: its logarithm.
    """

    costs: Vector
    correction: Forest
    _known: dict[tuple[Kernel, int], float] = field(default_factory=dict, init=False, repr=False)

    def cell(self, footprint: float) -> int:
        """The place on the grid of footprints that a network of so many scalars belongs to."""
        return round(float(np.clip(math.log2(max(footprint, 1.0)), *LOG_FOOTPRINTS)) / STEP)

    def pieces_ms(self, pieces: Sequence[Piece], cell: int) -> list[float]:
        """Milliseconds of pieces of networks of that footprint, all new kernels predicted at once."""
        kernels = [piece.kernels for piece in pieces]
        known = self._known
        new = list(dict.fromkeys(k for each in kernels for k in each if (k, cell) not in known))
        if new:
            if len(known) > CACHE_SIZE:
                known.clear()
                new = list(dict.fromkeys(k for each in kernels for k in each))
            found = self.predict(new, np.full(len(new), 2.0 ** (STEP * cell)))
            known.update(zip(((kernel, cell) for kernel in new), found.tolist(), strict=True))
        return [sum(known[kernel, cell] for kernel in each) for each in kernels]

    def predict(self, kernels: Sequence[Kernel], footprints: Vector) -> Vector:
        """(n,) milliseconds of each kernel.

        Args:
            kernels: what runs.
            footprints: (n,) scalars of the network that each stands in; NaN where unknown.
        """
        if not kernels:
            return np.zeros(0)
        rows = np.column_stack([features(kernels), np.log2(footprints)])
        return np.asarray(self.roofline(kernels) * np.exp(self.correction.predict(rows)))

    def predict_ms(self, kernels: Sequence[Kernel]) -> Vector:
        """(n,) milliseconds of kernels whose network is unknown."""
        return self.predict(kernels, np.full(len(kernels), np.nan))

    def roofline(self, kernels: Sequence[Kernel]) -> Vector:
        """(n,) milliseconds by the costs alone."""
        return _roofline_ms(kernels, self.costs)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "kinds": list(KINDS),
            "demands": list(DEMANDS),
            "features": list(FEATURES),
            "costs": self.costs.tolist(),
            "correction": self.correction.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote. Raises ValueError: written by a release with other features."""
        known = {"kinds": list(KINDS), "demands": list(DEMANDS), "features": list(FEATURES)}
        if any(data[name] != value for name, value in known.items()):
            raise ValueError("kernel model: made with other features")
        return cls(np.array(data["costs"]), Forest.from_dict(data["correction"]))


def footprint_of(kernels: Sequence[Kernel]) -> int:
    """Scalars of all weights and outputs of a network."""
    return sum(kernel.weight_count + kernel.batch * math.prod(kernel.shape) for kernel in kernels)


def fit_kernel_model(
    kernels: Sequence[Kernel],
    latency_ms: Vector,
    footprints: Vector,
    *,
    counts: Vector | None = None,
    seed: int = 0,
) -> KernelModel:
    """Fit roofline and correction.

    Args:
        kernels: what was measured; repeats are welcome.
        latency_ms: (n,) > 0.
        footprints: (n,) scalars of the network that each stood in; NaN where unknown.
        counts: (n,) how many measurements stand behind each row; None for one each.
        seed: of the boosting's subsamples.
    """
    import xgboost

    latency_ms = np.maximum(latency_ms, LEAST_MS)
    costs = fit_roofline(kernels, latency_ms)
    weights = np.sqrt(latency_ms) * (1.0 if counts is None else counts)
    data = xgboost.DMatrix(
        np.column_stack([features(kernels), np.log2(footprints)]),
        latency_ms,
        weight=weights / weights.mean(),
        base_margin=np.log(_roofline_ms(kernels, costs)),
    )
    monotone = (*(int(name in AMOUNTS) for name in FEATURES), 1)
    booster = xgboost.train({**_SETTINGS, "seed": seed, "monotone_constraints": monotone}, data, ROUNDS)
    return KernelModel(costs, Forest.of(booster, DEPTH))


def _roofline_ms(kernels: Sequence[Kernel], costs: Vector) -> Vector:
    """Row by row: a matrix product rounds a kernel differently in other company, which differs by worker."""
    return np.asarray(np.maximum(np.einsum("ij,j->i", demands(kernels), costs), LEAST_MS))


def fit_roofline(kernels: Sequence[Kernel], latency_ms: Vector) -> Vector:
    """(len(KINDS) * len(DEMANDS),) non-negative costs, by least squares on relative errors.

    A kind that was not measured has the costs of all kinds together: what nobody measured is not free.
    """
    from scipy.optimize import nnls

    asked, ones = demands(kernels) / latency_ms[:, None], np.ones(len(latency_ms))
    costs = np.asarray(nnls(asked, ones)[0], dtype=np.float64).reshape(len(KINDS), len(DEMANDS))
    together, _ = nnls(asked.reshape(-1, *costs.shape).sum(axis=1), ones)
    measured = {kernel.kind for kernel in kernels}
    costs[[kind not in measured for kind in KINDS]] = together
    return costs.ravel()
