"""From values to pixels, with ticks at numbers that a person would choose."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_LOG_MARKS = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9))
LOG_FROM = 25.0  # a range of more than this factor reads better on a logarithmic axis


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values ``low``..``high`` to pixels ``start``..``end``, linearly or by logarithm.

    Attributes:
        low, high: values at the ends; low < high, and low > 0 when ``log``.
        start, end: pixels; ``start > end`` for an axis that points up.
        log: logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value; values beyond an end stay at the end."""
        value = min(max(value, self.low), self.high)
        share = (
            math.log(value / self.low) / math.log(self.high / self.low)
            if self.log
            else (value - self.low) / (self.high - self.low)
        )
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 5) -> tuple[float, ...]:
        """About ``count`` round values within the range, rising."""
        return log_ticks(self.low, self.high, count) if self.log else linear_ticks(self.low, self.high, count)


def fit_scale(
    values: Iterable[float],
    pixels: tuple[float, float],
    *,
    zero: bool = False,
    log: bool = False,
    pad: float = 0.04,
) -> Scale:
    """A scale that shows all finite values with a little room.

    Args:
        values: at least one finite value; others are ignored.
        pixels: where the axis starts and ends.
        zero: let the axis begin at zero.
        log: take a logarithmic axis when all values are positive and span more than ``LOG_FROM``.
        pad: share of the range left free at each end.
    Raises: ValueError: no finite value.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        raise ValueError("scale: no finite value to show")
    low, high = min(finite), max(finite)
    if log and low > 0 and high / low > LOG_FROM:
        room = (high / low) ** pad
        return Scale(low / room, high * room, *pixels, log=True)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        half = abs(low) / 10 or 1.0
        low, high = (low, high + 2 * half) if zero else (low - half, high + half)
    room = pad * (high - low)
    return Scale(low if zero and low == 0 else low - room, high if zero and high == 0 else high + room, *pixels)


def linear_ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    """Multiples of 1, 2, 2.5 or 5 times a power of ten, at most ``count`` + 1 of them."""
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in _STEPS if s * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(_clean(i * step) for i in range(first, last + 1))


def log_ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    """Round values per decade: as many as fit into ``count``."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    best: tuple[float, ...] = ()
    for marks in _LOG_MARKS:
        ticks = tuple(_clean(m * 10.0**d) for d in decades for m in marks if low <= m * 10.0**d <= high)
        if len(ticks) > count + 1 and len(best) >= 2:
            break
        best = ticks
    every = max(1, math.ceil(len(best) / (count + 1)))
    return best[::every]


def _clean(value: float) -> float:
    """Without the dust of binary arithmetic."""
    return float(f"{value:.10g}")


def spread(positions: list[float], gap: float, low: float, high: float) -> list[float]:
    """Move labels apart until neighbours are ``gap`` pixels from each other, as little as possible.

    Args:
        positions: wanted pixels, any order.
        gap: least distance.
        low: least position, kept where the labels fit at all.
        high: largest position, always kept.
    """
    order = sorted(range(len(positions)), key=lambda i: (positions[i], i))
    placed = [min(max(positions[i], low), high) for i in order]
    for at in range(1, len(placed)):
        placed[at] = max(placed[at], placed[at - 1] + gap)
    if placed and placed[-1] > high:
        placed[-1] = high
        for at in range(len(placed) - 2, -1, -1):
            placed[at] = min(placed[at], placed[at + 1] - gap)
    result = [0.0] * len(positions)
    for i, value in zip(order, placed, strict=True):
        result[i] = value
    return result
