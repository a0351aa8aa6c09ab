"""Values with intervals, a row each: rank correlations, and errors by choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from nas.report.plot import Area, Axis, axes, interval
from nas.report.scale import fit_scale
from nas.report.svg import dot, line, picture, text

ROW = 26.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One row; ``strong`` stands out."""

    name: str
    value: float
    low: float
    high: float
    said: str
    strong: bool = False


def draw_bars(bars: Sequence[Bar], title: str, words: str, width: int) -> Markup:
    """Dots with their intervals, and where zero is."""
    wide = width > 500
    left, right = (250.0, width - 190.0) if wide else (8.0, width - 8.0)
    step = ROW if wide else 2 * ROW
    area = Area(left, 20, right, 20 + step * len(bars) + 4)
    x = fit_scale([0.0, *(v for bar in bars for v in (bar.value, bar.low, bar.high))], area.across)
    parts = [axes(area, Axis(x, title, 6 if wide else 4), None), line((x(0), area.top), (x(0), area.bottom), "zero")]
    for i, bar in enumerate(bars):
        y = area.top + step * i + (0.5 * ROW if wide else 1.5 * ROW)
        parts += [
            interval(y, x, bar.low, bar.high, "interval"),
            dot((x(bar.value), y), 4.5, "winner" if bar.strong else "measured", bar.said),
        ]
        class_ = "name" if bar.strong else "label"
        if wide:
            parts.append(text(left - 14, y + 4, shortened(bar.name, 36), class_, "end"))
            parts.append(text(right + 14, y + 4, bar.said, "note"))
        else:
            parts.append(text(left, y - ROW + 8, f"{shortened(bar.name, 26)}: {bar.said}", class_))
    return picture(width, area.bottom + 46, words, *parts)


def shortened(name: str, most: int) -> str:
    """The end of a long name says more than its beginning."""
    return name if len(name) <= most else "…" + name[1 - most :]
