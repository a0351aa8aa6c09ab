"""Which of two is faster: the statistics of paired bursts, apart from any real clock.

A slow epoch longer than a pair slows both bursts of it and leaves their ratio alone, so a paired ratio needs no calm
machine. Its median gets an interval from order statistics (the sign test turned round): no distribution is assumed,
and a few broken pairs move it little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import binom

from hardware.protocol import GOLDEN, Clock, estimate_ms

Choice = Literal["faster", "slower", "no clear difference"]

LEAST_PAIRS = 6  # below this even the lowest and the highest ratio do not hold the median with 95 %
LEAST_DIFFERENCE = 0.02  # two loads of one network differ by as much
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class PairProtocol:
    """How many pairs, and over how long.

    Attributes:
        pairs: at most, >= 6; all are taken unless time runs out, so that the interval is not stopped at a lucky end.
        span_s: seconds over which they are spread.
        max_s: cap on the time; six pairs are taken all the same.
    """

    pairs: int = 30
    span_s: float = 15.0
    max_s: float = 60.0

    def __post_init__(self) -> None:
        if self.pairs < LEAST_PAIRS:
            raise ValueError(f"comparison: {self.pairs} pairs, expected {LEAST_PAIRS} or more")
        if self.span_s < 0 or self.max_s <= 0:
            raise ValueError(f"comparison: durations must be positive, got {self}")


@dataclass(frozen=True, slots=True)
class PairJudgement:
    """What the pairs say of the first against the second.

    Attributes:
        ratio: median of first over second; below 1 the first is faster.
        low, high: interval of the median, 95 % or more.
        ratio_of_minima: of the timer's estimates, for comparison.
        verdict: of the first: "faster", "slower" or "no clear difference".
    """

    ratio: float
    low: float
    high: float
    ratio_of_minima: float
    verdict: Choice


def run_pairs(burst: Callable[[int], float], protocol: PairProtocol, clock: Clock) -> list[tuple[float, float]]:
    """Burst medians of two models in pairs, each begun by the other one in turn.

    Args:
        burst: runs one burst of model 0 or 1 and returns its median in milliseconds.
        protocol: how many pairs over how long.
        clock: real or simulated.
    Returns: (first, second) milliseconds of each pair, in the order of measuring; six or more.
    """
    found: list[tuple[float, float]] = []
    deadline = clock.now() + protocol.max_s
    even_pause_s = protocol.span_s / (protocol.pairs - 1)
    while len(found) < protocol.pairs and (len(found) < LEAST_PAIRS or clock.now() < deadline):
        began = clock.now()
        if len(found) % 2:
            second = burst(1)
            found.append((burst(0), second))
        else:
            found.append((burst(0), burst(1)))
        pause_s = even_pause_s * (0.5 + len(found) * GOLDEN % 1)  # uneven, lest pairs keep step with epochs
        rest = min(began + pause_s, deadline) - clock.now()
        if rest > 0 and len(found) < protocol.pairs:
            clock.sleep(rest)
    return found


def judge_pairs(pairs_ms: Sequence[tuple[float, float]]) -> PairJudgement:
    """Paired ratio, its interval and the verdict of the first of the two.

    A difference counts when the whole interval lies beyond 1, and the median by 2 % or more: two loads of one network
    differ by that. Source of the interval: order statistics of the median, ranks from the binomial distribution.
    Raises: ValueError: fewer than six pairs.
    """
    if len(pairs_ms) < LEAST_PAIRS:
        raise ValueError(f"comparison: {len(pairs_ms)} pairs, expected {LEAST_PAIRS} or more")
    firsts, seconds = np.asarray(pairs_ms, dtype=float).T
    ratios = np.sort(firsts / seconds)
    rank = interval_rank(len(ratios))
    ratio, low, high = float(np.median(ratios)), float(ratios[rank]), float(ratios[-1 - rank])
    minima = estimate_ms(firsts.tolist()) / estimate_ms(seconds.tolist())
    return PairJudgement(ratio, low, high, minima, _verdict(ratio, low, high))


def interval_rank(count: int) -> int:
    """How many of so many sorted values lie below an interval that holds their median with 95 % or more.

    The interval runs from the value of that position to the one as far from the end.
    """
    return max(0, int(binom.ppf((1 - CONFIDENCE) / 2, count, 0.5)) - 1)


def _verdict(ratio: float, low: float, high: float) -> Choice:
    if high < 1 and ratio <= 1 / (1 + LEAST_DIFFERENCE):
        return "faster"
    if low > 1 and ratio >= 1 + LEAST_DIFFERENCE:
        return "slower"
    return "no clear difference"
