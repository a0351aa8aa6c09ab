"""From the sum of blocks to the whole network: a robust fit on a few networks, and how far to trust it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

_ROBUST_PASSES = 5
LEAST_NETWORKS = 5
LEAST_BEYOND = 5  # networks with more weights than a cache holds, before a cost is read off them
CACHE_SIZES_MB = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Errors on networks that the prediction has not seen: each is predicted from all the others.

    Attributes:
        networks: how many.
        mape: mean absolute error as a fraction of the measured latency; lower is better.
        within_10: share of predictions within 10 % of the measurement.
        spearman: rank correlation in -1..1; higher is better.
    """

    networks: int
    mape: float
    within_10: float
    spearman: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """whole_ms = overhead_ms + factor * blocks_ms + per_megabyte_ms * max(0, weights_mb - cached_mb).

    Blocks measured alone keep their weights in the cache, which a large network cannot: hence the last term.

    Attributes:
        overhead_ms: of one call of an empty network.
        factor: of the sum of blocks and classifier.
        per_megabyte_ms: of the network's weights beyond those that stay in the cache.
        cached_mb: megabytes of weights that stay there, found by the fit.
        upper_factor: the measured latency is at most this times the prediction, at ``confidence``.
        confidence: of the upper bound, in 0..1, for networks like those of the calibration.
        held_out: errors of this calibration.
        residuals: logarithms of measured over predicted latency on networks that the prediction has not seen.
    """

    overhead_ms: float
    factor: float
    per_megabyte_ms: float
    cached_mb: float
    upper_factor: float
    confidence: float
    held_out: HeldOut
    residuals: tuple[float, ...] = ()

    def at_confidence(self, confidence: float) -> Self:
        """The same with the upper bound of another confidence, 0.5..0.99.

        Raises: ValueError: the residuals were not kept, as in tables of earlier releases.
        """
        if confidence == self.confidence:
            return self
        if not self.residuals:
            raise ValueError(f"latency table: made for confidence {self.confidence} and keeps no residuals for others")
        upper_factor = math.exp(upper_bound(np.array(self.residuals), confidence))
        return replace(self, upper_factor=upper_factor, confidence=confidence)

    def predict(self, blocks_ms: float, weights_mb: float) -> float:
        """Milliseconds per call of the whole network."""
        uncached_mb = max(0.0, weights_mb - self.cached_mb)
        return self.overhead_ms + self.factor * blocks_ms + self.per_megabyte_ms * uncached_mb

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; what is not known is null."""
        held = {name: None if math.isnan(value) else value for name, value in asdict(self.held_out).items()}
        return {**asdict(self), "held_out": held}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        residuals = tuple(data.get("residuals", ()))
        held: dict[str, Any] = {k: math.nan if value is None else value for k, value in data["held_out"].items()}
        return cls(**{**data, "held_out": HeldOut(**held), "residuals": residuals})


UNCALIBRATED = Calibration(0.0, 1.0, 0.0, 0.0, math.inf, 1.0, HeldOut(0, math.nan, math.nan, math.nan))


def calibrate(
    summed: Matrix, measured_ms: Vector, overhead_ms: float, confidence: float, *, cached_alone: bool = True
) -> Calibration:
    """Fit the two coefficients and the upper bound.

    Args:
        summed: (n, 2) milliseconds of blocks and classifier, megabytes of weights; n >= LEAST_NETWORKS.
        measured_ms: (n,) latency of the whole networks.
        overhead_ms: of one call.
        confidence: of the upper bound, 0.5..0.99.
        cached_alone: whether the blocks were measured alone; inside networks their times hold the caches' part.
    """
    summed = summed if cached_alone else summed * (1.0, 0.0)
    rest_ms = np.maximum(measured_ms - overhead_ms, 0.1 * measured_ms)
    cached_mb, (factor, per_megabyte_ms) = _fit(summed, rest_ms)
    others = [np.delete(np.arange(len(rest_ms)), i) for i in range(len(rest_ms))]
    left_out_ms = np.array([_predict(summed[i], *_fit(summed[o], rest_ms[o])) for i, o in enumerate(others)])
    predicted_ms = np.maximum(left_out_ms, 1e-9) + overhead_ms
    residuals = np.log(measured_ms / predicted_ms)
    return Calibration(
        overhead_ms=float(overhead_ms),
        factor=float(factor),
        per_megabyte_ms=float(per_megabyte_ms),
        cached_mb=cached_mb,
        upper_factor=math.exp(upper_bound(residuals, confidence)),
        confidence=confidence,
        held_out=held_out(predicted_ms, measured_ms),
        residuals=tuple(residuals.tolist()),
    )


def _fit(summed: Matrix, measured_ms: Vector) -> tuple[float, Vector]:
    """The cache size, of a few, that explains the networks best, and the two coefficients for it.

    Sizes that hardly a network lies beyond are none of them: one network would say what all larger ones cost.
    """
    sizes = [size for size in CACHE_SIZES_MB if (summed[:, 1] > size).sum() >= LEAST_BEYOND]
    if not sizes:
        return CACHE_SIZES_MB[-1], np.append(_robust_fit(summed[:, :1], measured_ms), 0.0)
    fits = [(cached_mb, _robust_fit(_beyond(summed, cached_mb), measured_ms)) for cached_mb in sizes]
    errors = [
        float(np.mean(np.abs(_beyond(summed, cached_mb) @ coefficients / measured_ms - 1)))
        for cached_mb, coefficients in fits
    ]
    return fits[int(np.argmin(errors))]


def _beyond(summed: Matrix, cached_mb: float) -> Matrix:
    return np.column_stack([summed[:, 0], np.maximum(0.0, summed[:, 1] - cached_mb)])


def _predict(row: Vector, cached_mb: float, coefficients: Vector) -> float:
    return float((_beyond(row[None], cached_mb) @ coefficients)[0])


def _robust_fit(summed: Matrix, measured_ms: Vector) -> Vector:
    """Non-negative coefficients by least squares on relative errors; outliers count less with every pass."""
    from scipy.optimize import nnls

    weight = 1 / measured_ms
    coefficients = np.zeros(summed.shape[1])
    for _ in range(_ROBUST_PASSES):
        coefficients, _ = nnls(summed * weight[:, None], measured_ms * weight)
        error = summed @ coefficients / measured_ms - 1
        scale = 2 * (1.48 * float(np.median(np.abs(error))) + 1e-3)
        weight = 1 / (measured_ms * np.sqrt(1 + (error / scale) ** 2))
    return np.asarray(coefficients, dtype=np.float64)


def upper_bound(residuals: Vector, confidence: float) -> float:
    """One-sided bound that a new residual stays under with this confidence.

    The conformal quantile where there are enough residuals for it, else Student's prediction bound.
    """
    count = len(residuals)
    rank = math.ceil((count + 1) * confidence)
    if rank <= count:
        return float(np.sort(residuals)[rank - 1])
    from scipy.stats import t

    spread = float(np.std(residuals, ddof=1)) * math.sqrt(1 + 1 / count)
    return float(np.mean(residuals) + t.ppf(confidence, count - 1) * spread)


def held_out(predicted_ms: Vector, measured_ms: Vector) -> HeldOut:
    """Score predictions of networks that were not fitted."""
    from scipy.stats import spearmanr

    error = np.abs(predicted_ms / measured_ms - 1)
    ranked = np.ptp(predicted_ms) > 0 and np.ptp(measured_ms) > 0
    return HeldOut(
        networks=len(measured_ms),
        mape=float(error.mean()),
        within_10=float((error <= 0.10).mean()),
        spearman=float(spearmanr(predicted_ms, measured_ms).statistic) if ranked else 0.0,
    )
