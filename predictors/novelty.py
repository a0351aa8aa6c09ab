"""Says when networks are unlike those that a predictor has learned from, and so its word on them worth less."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictors.regressor import Floats

CHUNK = 2_000_000  # distances held at a time
NEAR = 1e-5  # relative: distances this close count as equal
LIGHTEST = 0.35  # tail index: beyond the farthest training network the tail is taken to fall at most as fast as this
DEPENDENCE = 0.5  # distances of training networks depend on each other: they count as so many times fewer
DRAWS = 999  # permutations
MOST = 1_000  # networks of a batch that are permuted; of more, evenly spaced ones


class NoveltyWarning(UserWarning):
    """Networks lie outside of what a predictor was trained on; the message says how many."""


class InvalidFeatures(ValueError):
    """Features that are not a finite table of the expected width, or of fewer than two networks."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of a batch of networks.

    Attributes:
        outside: how many have a p-value of at most the level.
        networks: how many there are.
        expected: how many such there are on average when they are like the training networks.
        many: whether more lie outside than chance brings, or one very far.
        shifted: whether the batch as a whole is drawn from elsewhere, though each network may lie inside.
    """

    outside: int
    networks: int
    expected: float
    many: bool
    shifted: bool

    @property
    def unlike(self) -> bool:
        """Whether the predictor was trained on other networks than these."""
        return self.many or self.shifted


class Novelty:
    """How far networks are from the training networks, as a p-value.

    The distance of a network is the mean of those to its nearest training networks, features in standard deviations of
    the training networks. Each training network is measured in the same way against the others, standard deviations
    taken without it. The p-value is the share of training networks at least as far from the others as the new one is
    from them, (1 + number) / (n + 1); for a network farther than all, a Pareto tail goes on where the count ends
    (Hill's index, never a light tail). A choice that no training network has counts in units of an average feature.

    Networks that a search has found differ from random ones by a little in many features: hardly one of them lies
    outside, but together they are shifted, and ``judge`` tests that, too.

    Args:
        neighbours: how many nearest training networks count.
        level: p-values up to this one count as outside.
        false_alarms: how often ``warn`` may speak of networks that are drawn as the training networks were.
    A predictor may still be right about such networks; what is stated for its intervals then no longer holds.
    Source: p-value of Vovk, Gammerman, Shafer 2005, "Algorithmic Learning in a Random World"; distance of
        Ramaswamy, Rastogi, Shim 2000, "Efficient algorithms for mining outliers"; tail index of Hill 1975, "A simple
        general approach to inference about the tail of a distribution". Deviations: left out one by one, not exchanged.
    """

    def __init__(self, neighbours: int = 5, level: float = 0.05, false_alarms: float = 0.01) -> None:
        self.neighbours = neighbours
        self.level = level
        self.false_alarms = false_alarms

    def fit(self, features: ArrayLike) -> Self:
        """Learn what is usual.

        Args:
            features: (n, d) of the training networks, finite; equal rows are one network, of which 2 must be.
        Raises: InvalidFeatures.
        """
        points, times = np.unique(_checked(features), axis=0, return_counts=True)
        self.times_: NDArray[np.intp] = times
        n = len(points)
        if n < 2:
            raise InvalidFeatures(f"features of {n} distinct network, expected at least 2 to tell what is usual")
        self.centre_: Floats = points.mean(axis=0)
        centred = points - self.centre_
        squares = (centred**2).sum(axis=0)
        least = squares / n * 1e-9 + (1e-12 * np.abs(self.centre_)) ** 2  # rounding
        self.scale_: Floats = 1 / np.sqrt(_floored(squares / n, least))
        self.points_: NDArray[np.float32] = (centred * self.scale_).astype(np.float32)
        without = _floored((squares - centred**2 * (n / (n - 1))) / (n - 1), least)  # variances without each
        apart = _distances(centred, centred, 1 / without)
        np.fill_diagonal(apart, np.inf)
        self.usual_: Floats = np.sort(_nearest(apart, min(self.neighbours, n - 1)))
        return self

    def distance(self, features: ArrayLike) -> Floats:
        """(m,) mean distance to the nearest training networks, in standard deviations of all features together.

        Args:
            features: (m, d) as in ``fit``.
        Raises: InvalidFeatures.
        """
        points = _checked(features, len(self.centre_))
        count = min(self.neighbours, len(self.points_) - 1)
        step = max(CHUNK // len(self.points_), 1)
        norms = (self.points_**2).sum(axis=1)
        found = np.empty(len(points))
        for start in range(0, len(points), step):
            part = ((points[start : start + step] - self.centre_) * self.scale_).astype(np.float32)
            apart = part @ (-2 * self.points_.T)
            apart += norms
            apart += (part**2).sum(axis=1)[:, None]
            found[start : start + step] = _nearest(apart, count)
        return found

    def score(self, features: ArrayLike) -> Floats:
        """(m,) p-values, above 0 to 1: small ones are of networks unlike the training networks.

        Args:
            features: (m, d) as in ``fit``.
        Raises: InvalidFeatures.
        """
        far = self.distance(features)
        n = len(self.usual_)
        farther = n - np.searchsorted(self.usual_, far * (1 - NEAR))
        beyond = np.minimum(self.usual_[-1] / np.maximum(far, 1e-300), 1.0) ** (1 / self._tail_index())
        found: Floats = np.where(farther > 0, 1 + farther, np.maximum(beyond, 1e-300)) / (n + 1)
        return found

    def _tail_index(self) -> float:
        """Hill's estimate from the farthest tenth, at least five, of the training networks; at least ``LIGHTEST``."""
        top = np.maximum(self.usual_[-max(6, len(self.usual_) // 10 + 1) :], 1e-300)
        return max(float(np.mean(np.log(top[1:] / top[0]))), LIGHTEST)

    def judge(self, features: ArrayLike) -> Verdict:
        """Whether a batch is unlike the training networks: by what lies outside, and by where it lies as a whole.

        Three tests at a third of ``false_alarms`` each: the number outside (beta-binomial, as the training networks are
        a sample, too); the smallest p-value times the number of networks; and the distance of the batch's mean from
        that of the training networks among those that random exchanges of both give (permutation test).

        Args:
            features: (m, d) as in ``fit``, m from 1 on.
        Raises: InvalidFeatures.
        """
        from scipy.stats import betabinom

        points = _checked(features, len(self.centre_))
        if not len(points):
            raise InvalidFeatures("features of no network, expected at least 1")
        p = self.score(points)
        m, n, alarm = len(p), len(self.usual_), self.false_alarms / 3
        rank = int(self.level * (n + 1) + 1e-9)
        outside = int((p <= self.level).sum())
        shape = DEPENDENCE * rank, DEPENDENCE * (n + 1 - rank)
        many = rank > 0 and outside > 0 and betabinom.sf(outside - 1, m, *shape) <= alarm
        far = float(p.min()) * m <= alarm
        return Verdict(outside, m, m * rank / (n + 1), bool(many or far), self._shift(points) <= alarm)

    def _shift(self, points: Floats) -> float:
        """P-value of the permutation test that batch and training networks have one mean."""
        if len(points) > MOST:
            points = points[np.linspace(0, len(points) - 1, MOST).astype(np.intp)]
        known = np.repeat(self.points_.astype(np.float64), self.times_, axis=0)
        both = np.concatenate([known, (points - self.centre_) * self.scale_])
        both = both - both.mean(axis=0)
        both = both / np.sqrt(_floored((both**2).mean(axis=0), np.full(both.shape[1], 1e-12)))
        n, rng = len(known), np.random.default_rng(0)
        ours = np.zeros((1 + DRAWS, len(both)))
        ours[0, :n] = 1
        for row in ours[1:]:
            row[rng.permutation(len(both))[:n]] = 1
        apart = ((ours @ both) ** 2).sum(axis=1)  # the means are this over n and over -m
        return float((apart >= apart[0] * (1 - NEAR)).mean())

    def warn(self, features: ArrayLike, stacklevel: int = 2) -> Verdict:
        """Issue a ``NoveltyWarning`` when a batch is unlike the training networks; gives the verdict.

        Args:
            features: (m, d) as in ``fit``.
            stacklevel: whose line the warning names; 2 is the caller's.
        Raises: InvalidFeatures.
        """
        found = self.judge(features)
        if found.unlike:
            together = "" if found.many else "; one by one they may pass, together they are drawn from elsewhere"
            warnings.warn(
                f"{found.outside} of {found.networks} networks lie outside of what the predictor was trained on "
                f"(about {found.expected:.0f} would by chance){together}; label some of them before trusting it there",
                NoveltyWarning,
                stacklevel=stacklevel,
            )
        return found


def _checked(features: ArrayLike, width: int | None = None) -> Floats:
    points = np.asarray(features, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != (width or points.shape[1]):
        raise InvalidFeatures(f"features of shape {points.shape}, expected (networks, {width or 'features'})")
    if not np.isfinite(points).all():
        raise InvalidFeatures("features: NaN or infinite values, expected finite ones; encode the networks first")
    return points


def _floored(variances: Floats, least: Floats) -> Floats:
    """Variances below the least (of a choice that no network has) as the median of the others; (d,) or (n, d)."""
    sound = variances > least
    ordered = np.sort(np.where(sound, variances, np.inf), axis=-1)
    half = np.maximum(sound.sum(axis=-1, keepdims=True) - 1, 0) // 2
    middle = np.take_along_axis(ordered, half, axis=-1)
    found: Floats = np.where(sound, variances, np.where(np.isfinite(middle), middle, 1.0))
    return found


def _distances(points: Floats, others: Floats, weights: Floats) -> Floats:
    """(n, m) squared distances, features weighted as each of the (n, d) weights says."""
    weighted = weights * points
    found: Floats = (weighted * points).sum(axis=1)[:, None] - 2 * weighted @ others.T + weights @ (others**2).T
    return found


def _nearest(squares: NDArray[np.floating], count: int) -> Floats:
    """(n,) mean of the ``count`` smallest distances of each row; ``squares`` are squared ones and are reordered."""
    squares.partition(count - 1, axis=1)
    found: Floats = np.sqrt(np.maximum(squares[:, :count], 0)).mean(axis=1, dtype=np.float64)
    return found
