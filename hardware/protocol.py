"""When to time, when to stop and what to say: the statistics of the timer, apart from any real clock.

A shared machine has slow epochs, 1.25-1.7 times slower for 0.1 s to seconds. More runs in a row do not help
against them; many short bursts spread over time do. Bursts of all models are interleaved round-robin, and the
estimate is the minimum of the burst medians, or their 10th percentile once there are eight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self, TypeVar

import numpy as np

Verdict = Literal["ok", "noisy", "void"]

AGREEMENT = 0.02  # the three lowest burst medians agree when they lie this close
DISAGREEMENT = 0.05  # beyond this no figure is quoted
SLOW = 0.10  # a burst this far above the estimate fell into a slow epoch
SLOW_SHARE = 1 / 3  # more slow bursts than this: the machine is busy or runs at two speeds
SLOW_SHARE_TO_STOP = 1 / 6  # stricter: luck must not end a campaign early on such a machine
MANY_BURSTS = 8
GOLDEN = 0.6180339887498949
SMALL_BYTES, LARGE_BYTES = 2e6, 8e6  # working sets between which the interval widens
SMALL_HALF_WIDTH, LARGE_HALF_WIDTH = 0.03, 0.08
# With several threads a slow epoch on any core spoils a burst, and barriers wait for the slowest.
THREADS_BURSTS, THREADS_SPAN_S, THREADS_HALF_WIDTH = 12, 12.0, 0.21


class Clock(Protocol):
    """Time in seconds, real or simulated."""

    def now(self) -> float:
        """Seconds since some origin."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...


@dataclass(frozen=True, slots=True)
class MeasureProtocol:
    """How much to measure; with several threads more, see ``for_threads``.

    Attributes:
        burst_ms: timed part of one burst; three runs at least.
        min_bursts: of each model before it may stop, >= 3.
        min_span_s: least time between the first and the last burst of a model.
        max_s: cap on the whole campaign, however many models; at least half of it is kept for timing.
        max_bursts: of each model.
        hang_s: a burst or a load that takes longer counts as hung.
        sentinels: whether sentinel networks are timed beside the bursts, see ``hardware.sentinels``.
    """

    burst_ms: float = 20.0
    min_bursts: int = 10
    min_span_s: float = 10.0
    max_s: float = 60.0
    max_bursts: int = 40
    hang_s: float = 60.0
    sentinels: bool = True

    def __post_init__(self) -> None:
        if self.min_bursts < 3 or self.max_bursts < self.min_bursts:
            raise ValueError(
                f"protocol: bursts from {self.min_bursts} to {self.max_bursts}, expected 3 or more, in order"
            )
        if self.burst_ms <= 0 or self.min_span_s < 0 or self.max_s <= 0 or self.hang_s <= 0:
            raise ValueError(f"protocol: durations must be positive, got {self}")

    @classmethod
    def quick(cls, max_s: float = 30.0) -> Self:
        """For many small models at once, such as the blocks of a space."""
        return cls(burst_ms=8.0, min_bursts=6, min_span_s=5.0, max_s=max_s, max_bursts=16)

    @classmethod
    def careful(cls) -> Self:
        """For a figure that will be quoted."""
        return cls(min_bursts=12, min_span_s=20.0, max_s=180.0, max_bursts=80)

    def for_threads(self, threads: int) -> Self:
        """The protocol of a device with so many threads: with more than one at least 12 bursts over 12 s."""
        if threads == 1:
            return self
        return replace(
            self,
            min_bursts=max(self.min_bursts, THREADS_BURSTS),
            max_bursts=max(self.max_bursts, THREADS_BURSTS),
            min_span_s=max(self.min_span_s, THREADS_SPAN_S),
        )

    def capped(self, max_s: float) -> Self:
        """The same with another cap on time."""
        return replace(self, max_s=max_s)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the burst medians of one model say.

    Attributes:
        estimate_ms, low_ms, high_ms: the latency and its interval.
        verdict: "ok", "noisy" (believe the interval, not the figure) or "void" (measure again).
        reason: why it is not "ok"; "" otherwise.
    """

    estimate_ms: float
    low_ms: float
    high_ms: float
    verdict: Verdict
    reason: str


def estimate_ms(medians_ms: Sequence[float]) -> float:
    """Latency outside slow epochs: minimum of fewer than eight burst medians, else their 10th percentile."""
    if len(medians_ms) < MANY_BURSTS:
        return float(min(medians_ms))
    return float(np.quantile(medians_ms, 0.10))


def disagreement(medians_ms: Sequence[float]) -> float:
    """How far the third lowest burst median lies above the lowest, as a fraction; infinite if absent."""
    if len(medians_ms) < 3:
        return float("inf")
    lowest = sorted(medians_ms)[:3]
    return lowest[2] / lowest[0] - 1


T = TypeVar("T")


def steady(things: Sequence[T], bursts_ms: Sequence[Sequence[float]], least: int) -> list[T]:
    """Those of the timed things whose figures are not void, in order; the steadiest where fewer than ``least`` are.

    Args:
        things: what was timed.
        bursts_ms: the burst medians of each.
        least: without so many nothing can be learned, and their spread is told beside them.
    """
    spreads = [disagreement(each) for each in bursts_ms]
    limit = max([DISAGREEMENT, *sorted(spreads)[:least]])
    return [thing for thing, spread in zip(things, spreads, strict=True) if spread <= limit]


def slow_share(medians_ms: Sequence[float]) -> float:
    """Fraction of bursts, 0..1, that fell into slow epochs."""
    limit = (1 + SLOW) * estimate_ms(medians_ms)
    return sum(median > limit for median in medians_ms) / len(medians_ms)


def half_width(working_set_bytes: float, threads: int) -> float:
    """Half of the interval as a fraction: small working sets stay in private caches, and repeat.

    With one thread 95 % of repeats lie inside, on a machine whose slow epochs are shorter than the campaign. With
    more the width is that of 95 % of repeats over an hour on two cores of a shared machine (docs/latency.md).
    """
    if threads > 1:
        return THREADS_HALF_WIDTH
    return float(np.interp(working_set_bytes, [SMALL_BYTES, LARGE_BYTES], [SMALL_HALF_WIDTH, LARGE_HALF_WIDTH]))


def judge(
    medians_ms: Sequence[float], working_set_bytes: float, threads: int = 1, disturbed: Sequence[bool] = ()
) -> Judgement:
    """Estimate, interval and verdict from the burst medians of one model.

    Args:
        medians_ms: in the order of measuring, at least one.
        working_set_bytes: weights and largest activation.
        threads: of one call.
        disturbed: of each burst, whether a sentinel network was slow beside it; it explains, and decides nothing.
    """
    estimate = estimate_ms(medians_ms)
    spread = disagreement(medians_ms)
    verdict, reason = _verdict(medians_ms, spread)
    reason += _explanation(disturbed) if reason else ""
    width = max(half_width(working_set_bytes, threads), min(spread, 1.0))
    return Judgement(estimate, min(medians_ms) / (1 + width), estimate * (1 + width), verdict, reason)


def _verdict(medians_ms: Sequence[float], spread: float) -> tuple[Verdict, str]:
    count = len(medians_ms)
    if count < 3:
        return "void", f"only {count} bursts, at least 3 are needed"
    disagree = f"the 3 lowest burst medians differ by {spread:.1%}, more than"
    if spread > DISAGREEMENT:
        return "void", f"{disagree} {DISAGREEMENT:.0%}"
    if spread > AGREEMENT:
        return "noisy", f"{disagree} {AGREEMENT:.0%}"
    slow = slow_share(medians_ms)
    if slow > SLOW_SHARE:
        return "noisy", f"{slow:.0%} of {count} bursts were over {SLOW:.0%} slower: busy, or of two speeds"
    return "ok", ""


def _explanation(disturbed: Sequence[bool]) -> str:
    """What the sentinels add to the reason."""
    if not disturbed:
        return ""
    if any(disturbed):
        return (
            f"; the sentinels were slow beside {sum(disturbed)} of {len(disturbed)} bursts: the machine was disturbed"
        )
    return "; the sentinels kept still: this network is what does not repeat"


@dataclass
class _Progress:
    """Bursts of one model so far."""

    medians_ms: list[float]
    first_at: float = 0.0
    last_at: float = 0.0

    def settled(self, protocol: MeasureProtocol) -> bool:
        if len(self.medians_ms) >= protocol.max_bursts:
            return True
        if len(self.medians_ms) < protocol.min_bursts or self.last_at - self.first_at < protocol.min_span_s:
            return False
        few_slow = slow_share(self.medians_ms) <= SLOW_SHARE_TO_STOP
        return few_slow and disagreement(self.medians_ms) <= AGREEMENT


def run_campaign(
    count: int, burst: Callable[[int], float], protocol: MeasureProtocol, clock: Clock
) -> list[list[float]]:
    """Time ``count`` models in interleaved bursts until each has settled or time is up.

    Args:
        count: number of models.
        burst: runs one burst of the model at that position and returns its median in milliseconds.
        protocol: how much to measure.
        clock: real or simulated.
    Returns: the burst medians of each model, at least one each, in the order of measuring.
    """
    models = [_Progress([]) for _ in range(count)]
    deadline = clock.now() + protocol.max_s
    even_pause_s = protocol.min_span_s / (protocol.min_bursts - 1)
    rounds = 0
    while open_ := [i for i, model in enumerate(models) if not model.settled(protocol)]:
        round_began = clock.now()
        for i in open_:
            if models[i].medians_ms and clock.now() >= deadline:
                return [model.medians_ms for model in models]
            models[i].last_at = clock.now()
            if not models[i].medians_ms:
                models[i].first_at = models[i].last_at
            models[i].medians_ms.append(burst(i))
        rounds += 1
        pause_s = even_pause_s * (0.5 + rounds * GOLDEN % 1)  # uneven, lest rounds keep step with epochs
        rest = min(round_began + pause_s, deadline) - clock.now()
        if rest > 0:
            clock.sleep(rest)
    return [model.medians_ms for model in models]
