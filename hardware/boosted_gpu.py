"""Kernels of a measured GPU: boosted trees on what its roofline gets wrong, with intervals of stated coverage.

The roofline (``hardware.gpu_roofline``) is fitted first; trees then learn log(measured / roofline), so that sizes that
nobody measured fall back on physics. Intervals are conformal: errors on rows held out of a fit, kept separately for
kernels that are mostly launch and for those that are mostly work, because their scatter differs several times.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hardware.boosted_features import all_features, as_matrix, identity, sizes
from hardware.calibration import HeldOut, held_out, upper_bound
from hardware.gpu_roofline import GpuRoofline, InvalidGpu
from hardware.kernel_arrays import KernelArrays, Vector
from hardware.roofline_fit import fit_roofline

SCHEMA_VERSION = 1
LAUNCH_SHARES = (0.1, 0.25, 0.5, 0.75)  # groups of kernels whose errors are kept apart
FEW_ROWS = 5_000  # up to here errors come from all folds, beyond from one
FOLDS = 5
KEPT_ERRORS = 500  # of a group: more change no quantile
MONOTONE_SHARE = 0.5  # of the roofline's logarithm under monotone trees, which must be able to take some back
_FOR_FEW = {"max_depth": 7, "eta": 0.03, "subsample": 0.7, "colsample_bynode": 0.45, "max_bin": 32}
_FOR_MANY = {
    **{"max_depth": 9, "eta": 0.08, "subsample": 0.8, "colsample_bynode": 0.5, "max_bin": 256},
    "min_child_weight": 3,
}
_LEAST_ERRORS = 20  # of a group; smaller ones use the errors of all kernels


class Bounds(NamedTuple):
    """(n,) milliseconds: the prediction and the interval around it."""

    mean_ms: Vector
    low_ms: Vector
    high_ms: Vector


@dataclass(frozen=True, eq=False)
class BoostedGpu:
    """A GPU at one precision as measured rows show it.

    Attributes:
        roofline: the prior, fitted to the same rows.
        trees: JSON text of the boosted trees (xgboost's own format).
        errors: log(measured / predicted) of rows that were held out, sorted, one array a group of ``LAUNCH_SHARES``
            and one of all.
        held_out: the scores of those rows.
        monotone: whether a kernel that is larger in any size never costs less; true of the roofline, not quite of GPUs.
    """

    roofline: GpuRoofline
    trees: str
    errors: tuple[Vector, ...]
    held_out: HeldOut
    monotone: bool = False

    def predict_ms(self, kernels: Any) -> Vector:
        """(n,) milliseconds of kernels (a sequence of ``Kernel``, or ``KernelArrays``) of the roofline's precision."""
        work = KernelArrays.from_any(kernels)
        return self._predict(work, self.roofline.predict_ms(work))

    def bounds(self, kernels: Any, confidence: float = 0.9) -> Bounds:
        """Predictions with an interval that a new kernel's latency lies in with this confidence.

        Args:
            kernels: as of ``predict_ms``.
            confidence: two-sided, in (0, 1), for kernels like the fitted ones.
        """
        work = KernelArrays.from_any(kernels)
        prior_ms = self.roofline.predict_ms(work)
        mean_ms = self._predict(work, prior_ms)
        side = (1 + confidence) / 2
        high = np.array([upper_bound(group, side) for group in self.errors])
        low = np.array([-upper_bound(-group, side) for group in self.errors])
        group = _groups(self.roofline, prior_ms)
        return Bounds(mean_ms, mean_ms * np.exp(low[group]), mean_ms * np.exp(high[group]))

    def _predict(self, work: KernelArrays, prior_ms: Vector) -> Vector:
        if not len(prior_ms):
            return prior_ms
        x, share = _design(self.roofline, work, prior_ms, self.monotone)
        return np.asarray(np.exp(share * np.log(prior_ms) + self._booster.inplace_predict(x)), np.float64)

    @cached_property
    def _booster(self) -> Any:
        import xgboost

        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray(self.trees, "utf-8"))
        return booster

    def to_json(self) -> str:
        """Text that ``from_json`` reads."""
        return json.dumps(
            {
                "version": SCHEMA_VERSION,
                "roofline": self.roofline.to_dict(),
                "trees": self.trees,
                "errors": [group.round(5).tolist() for group in self.errors],
                "held_out": asdict(self.held_out),
                "monotone": self.monotone,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote. Raises InvalidGpu."""
        try:
            data = json.loads(text)
            if data["version"] != SCHEMA_VERSION:
                raise InvalidGpu(f"GPU model: schema version {data['version']!r}, this release reads {SCHEMA_VERSION}")
            return cls(
                GpuRoofline.from_dict(data["roofline"]),
                data["trees"],
                tuple(np.array(group, np.float64) for group in data["errors"]),
                HeldOut(**data["held_out"]),
                data["monotone"],
            )
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise InvalidGpu(f"GPU model: cannot be read ({type(error).__name__}: {error})") from None


def fit_boosted(
    start: GpuRoofline, kernels: Any, latency_ms: Vector, *, monotone: bool = False, seed: int = 0
) -> BoostedGpu:
    """Fit roofline, trees and intervals to measured kernels: a second for 1,000 rows, half a minute for 70,000.

    Args:
        start: facts of the GPU and its precision, as of ``fit_roofline``.
        kernels: n >= 30 of them, a sequence of ``Kernel`` or ``KernelArrays``.
        latency_ms: (n,) > 0, of the whole batch.
        monotone: constrain the trees, see ``BoostedGpu``.
        seed: of folds and trees.
    Raises: FitFailed: too few kernels, or latencies that are not positive.
    """
    work = KernelArrays.from_any(kernels)
    roofline = fit_roofline(start, work, latency_ms, seed=seed)  # checks the rows
    prior_ms = roofline.predict_ms(work)
    x, share = _design(roofline, work, prior_ms, monotone)
    target = np.log(latency_ms) - share * np.log(prior_ms)
    constraints = _constraints(work) if monotone else None
    tested, residuals = _left_out(x, target, constraints, seed)
    group = _groups(roofline, prior_ms)[tested]
    each = [residuals[group == number] for number in range(len(LAUNCH_SHARES) + 1)]
    errors = tuple(_thinned(part if len(part) >= _LEAST_ERRORS else residuals) for part in each)
    scores = held_out(latency_ms[tested] / np.exp(residuals), latency_ms[tested])
    trees = bytes(_boost(x, target, constraints, seed).save_raw("json")).decode()
    return BoostedGpu(roofline, trees, errors, scores, monotone)


def _design(
    roofline: GpuRoofline, work: KernelArrays, prior_ms: Vector, monotone: bool
) -> tuple[NDArray[np.float32], float]:
    """Features, and how much of the roofline's logarithm the trees start from."""
    if monotone:
        return as_matrix({**sizes(work), **identity(work)}), MONOTONE_SHARE
    return as_matrix(all_features(roofline, work, prior_ms)), 1.0


def _constraints(work: KernelArrays) -> tuple[int, ...]:
    return (1,) * len(sizes(work)) + (0,) * len(identity(work))


def _boost(x: NDArray[np.float32], target: Vector, constraints: tuple[int, ...] | None, seed: int) -> Any:
    """Trees: finer and fewer where rows abound, so that predictions stay fast."""
    import xgboost

    few = len(x) <= FEW_ROWS
    settings = _FOR_FEW if few else _FOR_MANY
    data = xgboost.QuantileDMatrix(x, target, nthread=1, max_bin=settings["max_bin"])
    more: dict[str, Any] = {"nthread": 1, "tree_method": "hist", "seed": seed, "base_score": float(target.mean())}
    if constraints:
        more["monotone_constraints"] = constraints
    return xgboost.train({**settings, **more}, data, 500 if few else 250)


def _left_out(
    x: NDArray[np.float32], target: Vector, constraints: tuple[int, ...] | None, seed: int
) -> tuple[NDArray[np.int64], Vector]:
    """Rows that trees did not see, and their errors: of all folds where rows are few, of a tenth where they abound."""
    order = np.random.default_rng(seed).permutation(len(x))
    parts = np.array_split(order, FOLDS) if len(x) <= FEW_ROWS else [order[: len(x) // 10]]
    found = []
    for part in parts:
        rest = np.setdiff1d(order, part)
        found.append(target[part] - _boost(x[rest], target[rest], constraints, seed).inplace_predict(x[part]))
    return np.concatenate(parts), np.concatenate(found)


def _groups(roofline: GpuRoofline, prior_ms: Vector) -> NDArray[np.int64]:
    return np.searchsorted(LAUNCH_SHARES, roofline.launch_ms / prior_ms)


def _thinned(errors: Vector) -> Vector:
    """Sorted, at most ``KEPT_ERRORS`` of them at equal ranks."""
    ordered = np.sort(errors)
    ranks = np.linspace(0, len(ordered) - 1, min(KEPT_ERRORS, len(ordered))).round().astype(int)
    return np.asarray(ordered[ranks])
