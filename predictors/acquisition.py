"""Which network to look at next, from predicted means and standard deviations; higher labels are better."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erfcx, ndtr, ndtri

from predictors.rank import Floats

ROOT_2PI = np.sqrt(2 * np.pi)
CHUNK = 4_000_000  # random numbers held at a time


class InvalidEstimates(ValueError):
    """Means and standard deviations of different shapes, not finite, or deviations below 0."""


def expected_improvement(mean: ArrayLike, std: ArrayLike, best: float) -> Floats:
    """By how much a network is expected to exceed the best label; what falls short counts as 0.

    Args:
        mean: (n,) predictions.
        std: (n,) standard deviations of what is predicted, at least 0; without the noise of a label when ``best`` has
            none.
        best: best label so far, or what is to be exceeded.
    Returns: (n,) at least 0, unit of the labels; max(mean - best, 0) where std is 0.
    Raises: InvalidEstimates.
    Source: Mockus, Tiesis, Zilinskas 1978, "The application of Bayesian methods for seeking the extremum".
    """
    found: Floats = np.exp(log_expected_improvement(mean, std, best))
    return found


def log_expected_improvement(mean: ArrayLike, std: ArrayLike, best: float) -> Floats:
    """Logarithm of the expected improvement: orders also networks for which that is too small for a float.

    Args:
        mean: (n,) predictions.
        std: (n,) standard deviations, at least 0.
        best: what is to be exceeded.
    Returns: (n,) -inf where std is 0 and the mean does not exceed ``best``.
    Raises: InvalidEstimates.
    Source: Ament et al. 2023, "Unexpected improvements to expected improvement for Bayesian optimization", arXiv
        2310.20708. Deviations: the form below, by the scaled complementary error function.
    """
    middle, spread = _checked(mean, std)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        gain = middle - best
        z = gain / spread
        low = np.minimum(z, 0.0)
        # phi(z) + z Phi(z) = phi(z) (1 + z Phi(z) / phi(z)), and the ratio is erfcx; far out 1 + z ratio nears 1 / z^2
        ratio = np.sqrt(np.pi / 2) * erfcx(-low / np.sqrt(2))
        left = np.where(low > -1e3, np.log1p(np.maximum(low * ratio, -1.0)), -2 * np.log(-low))
        below = -0.5 * low**2 - np.log(ROOT_2PI) + left + np.log(spread)
        above = np.log(gain * ndtr(z) + spread * np.exp(-0.5 * z**2) / ROOT_2PI)
        certain = np.log(np.maximum(gain, 0.0))
        found: Floats = np.where(spread > 0, np.where(z > 0, above, below), certain)
    return found


def probability_of_improvement(mean: ArrayLike, std: ArrayLike, best: float) -> Floats:
    """(n,) probability that a network exceeds ``best``; 0 or 1 where std is 0, equality does not exceed.

    Raises: InvalidEstimates.
    """
    middle, spread = _checked(mean, std)
    safe = np.where(spread > 0, spread, 1.0)
    found: Floats = np.where(spread > 0, ndtr((middle - best) / safe), (middle > best).astype(np.float64))
    return found


def caution(candidates: int, confidence: float = 0.5) -> float:
    """How many standard deviations to take off when the best of so many candidates is chosen.

    The more candidates are looked at, the more the best prediction owes to a lucky error (the optimiser's curse). With
    independent normal errors, mean - caution std lies below the truth for all candidates at once with the confidence
    given: the caution is the confidence's quantile of the greatest of so many standard normal errors, about
    sqrt(2 log n). Errors of similar networks are similar, so this is on the safe side.

    Args:
        candidates: how many were compared, at least 1.
        confidence: between 0 and 1; 1/2 takes the median.
    Returns: 0 for one candidate at 1/2; 2.5 for 100; 4.3 for 100,000.
    Raises: InvalidEstimates.
    Source: Smith, Winkler 2006, "The optimizer's curse" (the effect; the rule is ours).
    """
    if candidates < 1 or not 0 < confidence < 1:
        raise InvalidEstimates(
            f"candidates={candidates}, confidence={confidence}, expected at least 1 candidate and a confidence in 0..1"
        )
    return float(0.0 - ndtri(-np.expm1(np.log(confidence) / candidates)))


def lower_confidence_bound(
    mean: ArrayLike, std: ArrayLike, kappa: float | None = None, *, candidates: int | None = None
) -> Floats:
    """What a network reaches when one is cautious: mean - kappa std.

    Args:
        mean: (n,) predictions.
        std: (n,) standard deviations, at least 0.
        kappa: how many standard deviations; below 0 it is an upper bound, for exploring. None: ``caution``.
        candidates: how many were compared, when these are the survivors of more; None: n.
    Returns: (n,) unit of the labels.
    Raises: InvalidEstimates.
    """
    middle, spread = _checked(mean, std)
    times = caution(max(candidates or len(middle), 1)) if kappa is None else kappa
    return middle - times * spread


def winners_curse(mean: ArrayLike, std: ArrayLike, *, draws: int = 1_000, seed: int = 0) -> float:
    """By how much the best prediction is expected to exceed the truth of the network that has it.

    Predictions are drawn around the given means with independent normal errors; the network with the best of them is
    chosen, and its error averaged. The given means hold errors of their own and so lie farther apart than the truths;
    with those of the truths the curse would be greater.

    Args:
        mean: (n,) predictions.
        std: (n,) standard deviations of the prediction error, at least 0.
        draws: how many choices are played.
        seed: of the draws.
    Returns: at least about 0, unit of the labels.
    Raises: InvalidEstimates.
    Source: Smith, Winkler 2006, "The optimizer's curse: skepticism and postdecision surprise in decision analysis".
    """
    middle, spread = _checked(mean, std)
    if not len(middle):
        raise InvalidEstimates("no candidates, expected at least 1")
    kept = middle + 7 * spread >= (middle - 7 * spread).max()  # the others are never the best
    middle, spread = middle[kept], spread[kept]
    rng, step = np.random.default_rng(seed), max(CHUNK // len(middle), 1)
    total = 0.0
    for start in range(0, draws, step):
        errors = rng.standard_normal((min(step, draws - start), len(middle))) * spread
        winners = np.argmax(middle + errors, axis=1)
        total += float(np.take_along_axis(errors, winners[:, None], axis=1).sum())
    return total / draws


def thompson_draws(mean: ArrayLike, std: ArrayLike, draws: int, *, seed: int = 0) -> Floats:
    """Labels as they might be: take the best network of each draw, and networks are tried as often as they may be best.

    Errors are drawn independently; networks that resemble each other would err alike, so the draws differ more among
    themselves than those of a joint model.

    Args:
        mean: (n,) predictions.
        std: (n,) standard deviations, at least 0.
        draws: how many.
        seed: of the draws.
    Returns: (draws, n), unit of the labels.
    Raises: InvalidEstimates.
    Source: Thompson 1933, "On the likelihood that one unknown probability exceeds another", Biometrika 25.
    """
    middle, spread = _checked(mean, std)
    errors: Floats = np.random.default_rng(seed).standard_normal((draws, len(middle)))
    return middle + errors * spread


def _checked(mean: ArrayLike, std: ArrayLike) -> tuple[Floats, Floats]:
    middle, spread = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    if middle.ndim != 1 or middle.shape != spread.shape:
        raise InvalidEstimates(f"means {middle.shape} and deviations {spread.shape}, expected two lists of one length")
    if not (np.isfinite(middle).all() and np.isfinite(spread).all() and (spread >= 0).all()):
        raise InvalidEstimates("means and deviations must be finite, deviations at least 0")
    return middle, spread
