"""A new device from ten measured networks, with every known device as prior: a Gaussian process with device embeddings.

Each known device says how long a network takes there, measured or by its own latency model. Standardised logarithms of
those latencies span a space of few directions; how a network lies in it is its description. A new device is a mixture
of these directions that nobody knows yet, and of something that the networks' own encoding explains:

    log latency = mean + scale (sum_k w_k e_k(network) + g(encoding)) + noise,   w_k ~ N(0, share_k^power)

Ten networks settle the mixture. A row that the others contradict counts as little as it deserves: a table of ten may
hold a corrupt one. Settings and the width of intervals are chosen by playing every known device as the new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Rows = NDArray[np.int64]

LEAST_SUPPORT = 3
MOST_OUTLIERS = 3
OUTLIER = 3.5  # standard deviations between a row and what all others say of it
CAREFUL = 0.75  # share of the played devices whose intervals would have been wide enough
SCALE_WORTH = 5.0  # measured networks that the known devices' usual scale counts for
MEAN_VARIANCE = 100.0
KEPT = 1e-6  # share of a direction below which it is noise


class TransferFailed(ValueError):
    """Too few networks, or latencies that cannot be right; the message says which."""


class Settings(NamedTuple):
    """How much is believed of what.

    Attributes:
        power: of a direction's share of variance among the known devices; below 1 trusts rare directions more.
        encoding: variance that the encoding explains and no known device shows.
        noise: variance of one measurement, relative to that of all networks.
    """

    power: float = 0.6
    encoding: float = 0.1
    noise: float = 0.08


@dataclass(frozen=True, eq=False)
class KnownDevices:
    """What known devices say about some networks: those that may be measured, and those that are asked about.

    Attributes:
        log_ms: (n, m) natural logarithm of the milliseconds of n networks on m devices; m may be 0.
        encoding: (n, d) of the networks, any scale, as of ``SearchSpace.encode``.
        makers: m names; devices of one name are one machine (other batch sizes): they never vouch for each other.
    """

    log_ms: Matrix
    encoding: Matrix
    makers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.log_ms.shape[0] != self.encoding.shape[0]:
            raise TransferFailed(
                f"known devices: {self.log_ms.shape[0]} networks with latencies, {self.encoding.shape[0]} encoded"
            )
        wrong = np.argwhere(~np.isfinite(self.log_ms))
        if len(wrong):
            raise TransferFailed(
                f"known devices: network {wrong[0][0] + 1} on device {wrong[0][1] + 1} has no finite latency"
            )
        if self.makers and len(self.makers) != self.log_ms.shape[1]:
            raise TransferFailed(f"known devices: {len(self.makers)} makers for {self.log_ms.shape[1]} devices")

    def without(self, device: int) -> KnownDevices:
        """The others, less those of the same maker."""
        names = self.makers or tuple(map(str, range(self.log_ms.shape[1])))
        kept = [i for i, name in enumerate(names) if name != names[device]]
        return replace(self, log_ms=self.log_ms[:, kept], makers=tuple(names[i] for i in kept))

    @cached_property
    def directions(self) -> tuple[Matrix, Vector]:
        """(n, r) coordinates of unit variance, and (r,) shares of the variance, largest first, summing to 1."""
        spread = self.log_ms.std(axis=0)
        used = self.log_ms[:, spread > 1e-9]
        if not used.shape[1]:
            return np.zeros((len(self.log_ms), 0)), np.zeros(0)
        z = (used - used.mean(axis=0)) / used.std(axis=0)
        left, singular, _ = np.linalg.svd(z, full_matrices=False)
        shares = singular**2 / np.sum(singular**2)
        kept = shares > KEPT
        return left[:, kept] * np.sqrt(len(z)), shares[kept]

    @cached_property
    def usual_scale(self) -> float:
        """Standard deviation of log latency on a typical known device."""
        return float(np.median(self.log_ms.std(axis=0))) if self.log_ms.shape[1] else 0.5

    @cached_property
    def _encoded(self) -> Matrix:
        spread = self.encoding.std(axis=0)
        kept = spread > 1e-9
        z = (self.encoding[:, kept] - self.encoding[:, kept].mean(axis=0)) / spread[kept]
        return np.asarray(z / np.sqrt(max(1, z.shape[1])))

    def covariance(self, some: Rows, others: Rows, settings: Settings) -> Matrix:
        """(a, b) prior covariance of standardised log latencies between networks."""
        coordinates, shares = self.directions
        weights = shares**settings.power
        weights = weights / weights.sum() if len(weights) else weights
        x, y = self._encoded[some], self._encoded[others]
        squares = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None] - 2 * x @ y.T
        near = settings.encoding * np.exp(-0.5 * np.maximum(squares, 0))
        return np.asarray((coordinates[some] * weights) @ coordinates[others].T + near)


class Prediction(NamedTuple):
    """(n,) each: milliseconds, and the standard deviation of their logarithm, as far as the model knows itself."""

    mean_ms: Vector
    log_std: Vector


@dataclass(frozen=True, eq=False)
class Transferred:
    """A new device. Asked about the networks of ``known``, by their positions.

    Attributes:
        known: devices and networks.
        settings: chosen on the known devices.
        support: (k,) positions of the measured networks.
        support_ms: (k,) their latencies.
        widths: (games, 201) quantiles of (log measured - log predicted) / log_std, each of a known device that played
            the new one; without games errors are taken for Student's.
    """

    known: KnownDevices
    settings: Settings
    support: Rows
    support_ms: Vector
    widths: Matrix

    def predict(self, rows: Rows | None = None) -> Prediction:
        """Latencies of these networks, or of all."""
        asked = np.arange(len(self.known.encoding)) if rows is None else rows
        return posterior(self.known, self.settings, self.support, self.support_ms, asked)

    def upper_ms(self, confidence: float, rows: Rows | None = None) -> Vector:
        """(n,) milliseconds that a network stays under with this confidence, for networks like the known ones."""
        mean_ms, log_std = self.predict(rows)
        return np.asarray(mean_ms * np.exp(log_std * self.width(confidence)))

    def width(self, confidence: float) -> float:
        """Standard deviations above a prediction that a measurement stays under with this confidence.

        Errors on one device share their sign, so devices differ more than networks do: the width is what was enough
        for three quarters of the known devices.
        """
        if len(self.widths):
            levels = np.linspace(0, 1, self.widths.shape[1])
            each = [float(np.interp(confidence, levels, game)) for game in self.widths]
            return max(0.0, float(np.quantile(each, CAREFUL)))
        from scipy.stats import t

        return float(t.ppf(confidence, max(1, len(self.support) - 2)))


class Played(NamedTuple):
    """What was learned by playing known devices as new ones."""

    settings: Settings
    widths: Matrix


def transfer(
    known: KnownDevices, support: Sequence[int] | Rows, support_ms: Vector, *, played: Played | None = None
) -> Transferred:
    """Carry the known devices over to one of which some networks were measured.

    Args:
        known: devices and all networks of interest.
        support: k >= 3 positions in ``known`` of the measured networks.
        support_ms: (k,) > 0.
        played: what ``play`` found; without it the default settings and normal intervals.
    Raises: TransferFailed: too few networks, or a latency that is no positive number.
    """
    rows, ms = np.asarray(support, np.int64), np.asarray(support_ms, np.float64)
    if len(rows) < LEAST_SUPPORT or len(rows) != len(ms):
        raise TransferFailed(
            f"transfer: {len(rows)} networks and {len(ms)} latencies, expected as many of both, {LEAST_SUPPORT} or more"
        )
    wrong = np.flatnonzero(~(np.isfinite(ms) & (ms > 0)))
    if len(wrong):
        raise TransferFailed(f"transfer: latency {wrong[0] + 1} is {ms[wrong[0]]:g} ms, expected a positive number")
    if len(set(rows.tolist())) != len(rows):
        raise TransferFailed("transfer: a network stands twice among the measured ones; keep the median of its rows")
    learned = played or Played(Settings(), np.zeros((0, 0)))
    return Transferred(known, learned.settings, rows, ms, learned.widths)


def posterior(known: KnownDevices, settings: Settings, support: Rows, ms: Vector, asked: Rows) -> Prediction:
    """What measured networks say about others under these settings; ``transfer`` checks what this takes on trust."""
    logs = np.log(ms)
    centre = float(np.median(logs))
    prior = known.covariance(support, support, settings) + MEAN_VARIANCE
    noise = np.full(len(logs), settings.noise)
    for _ in range(MOST_OUTLIERS + 1):
        inverse = np.linalg.inv(prior + np.diag(noise))
        left_out = inverse @ (logs - centre) / np.sqrt(np.diag(inverse))  # each row against all others, in deviations
        scale = _scale(known, left_out)
        worst = int(np.argmax(np.abs(left_out)))
        off = float(abs(left_out[worst])) / scale
        if off <= OUTLIER:
            break
        noise[worst] += off**2 / inverse[worst, worst]
    cross = known.covariance(asked, support, settings) + MEAN_VARIANCE
    mean = centre + cross @ (inverse @ (logs - centre))
    own = _own_variance(known, asked, settings) + MEAN_VARIANCE
    variance = np.maximum(own - np.einsum("ij,jk,ik->i", cross, inverse, cross, optimize=True), 0)
    return Prediction(np.exp(mean), scale * np.sqrt(variance + settings.noise))


def _scale(known: KnownDevices, left_out: Vector) -> float:
    """Standard deviation of the new device's log latencies: its own, robustly, and the usual one, weighed by rows."""
    own, count = 1.4826 * float(np.median(np.abs(left_out))), len(left_out)
    return float(np.sqrt((count * own**2 + SCALE_WORTH * known.usual_scale**2) / (count + SCALE_WORTH)))


def _own_variance(known: KnownDevices, asked: Rows, settings: Settings) -> Vector:
    coordinates, shares = known.directions
    weights = shares**settings.power
    weights = weights / weights.sum() if len(weights) else weights
    return np.asarray((coordinates[asked] ** 2) @ weights + settings.encoding)
