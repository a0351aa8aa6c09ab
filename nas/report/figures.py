"""Numbers as a reader wants them: three digits that matter, and always a unit."""

from __future__ import annotations

import math
from collections.abc import Sequence

NONE = "–"
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def digits(value: float, significant: int = 3) -> str:
    """Plain decimal notation with so many significant digits, integers in full."""
    if not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    exponent = int(f"{value:.{significant - 1}e}".partition("e")[2])  # of the rounded value
    places = significant - 1 - exponent
    return f"{value:,.{max(0, places)}f}"


def si(value: float | None, unit: str = "") -> str:
    """``1234567`` -> ``1.23 M``; below a thousand as it is."""
    if value is None or not math.isfinite(value):
        return NONE
    for size, prefix in _PREFIXES:
        if abs(value) >= size * 0.9995:
            return f"{digits(value / size)} {prefix}{unit}"
    return f"{value:g} {unit}".rstrip() if value == int(value) else f"{digits(value)} {unit}".rstrip()


def count(value: float | None) -> str:
    """A whole number with separators."""
    return NONE if value is None else f"{round(value):,}"


def ms(value: float | None) -> str:
    """Milliseconds with three digits that matter."""
    return NONE if value is None else f"{digits(value)} ms"


def exact_ms(value: float) -> str:
    """Milliseconds as somebody set them, without added zeros."""
    return f"{value:g} ms"


def size(value: float | None) -> str:
    """Bytes in decimal units."""
    return NONE if value is None else si(value, "B")


def percent(value: float | None, places: int = 1) -> str:
    """A share in 0..1 as percent."""
    return NONE if value is None or not math.isfinite(value) else f"{100 * value:.{places}f} %"


def seconds(value: float | None) -> str:
    """A duration in the unit that fits."""
    if value is None:
        return NONE
    if value < 90:
        return f"{digits(value)} s"
    return f"{value / 60:.1f} min" if value < 5400 else f"{value / 3600:.1f} h"


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Labels of one axis: equal decimals and one prefix; each its own across orders of magnitude."""
    sizes = [abs(tick) for tick in ticks if tick]
    if sizes and max(sizes) > 50 * min(sizes):
        return [_tick(tick, tick, None) for tick in ticks]
    largest = max(sizes, default=1.0)
    places = max((_decimals(tick / _prefix(largest)[0]) for tick in ticks), default=0)
    return [_tick(tick, largest, places) for tick in ticks]


def _tick(tick: float, like: float, places: int | None) -> str:
    if tick == 0:
        return "0"
    factor, prefix = _prefix(abs(like))
    return f"{tick / factor:.{_decimals(tick / factor) if places is None else places}f}{prefix}"


def _prefix(value: float) -> tuple[float, str]:
    return next(((factor, prefix) for factor, prefix in _PREFIXES if value >= factor), (1.0, ""))


def _decimals(value: float) -> int:
    text = f"{value:.10g}"
    if "e" in text:
        text = f"{value:.12f}".rstrip("0")
    return len(text.partition(".")[2])
