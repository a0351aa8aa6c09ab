"""The frame that all charts share: a plotting area with thin axes, round ticks and titles with units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from nas.report.figures import tick_labels
from nas.report.scale import Scale
from nas.report.svg import Point, group, line, rect, text, tips
from nas.report.svg import tag as element

WIDE, NARROW = 880, 372  # pixels of the two drawings of every chart; the page shows the one that fits
Drawing = Callable[[int], Markup]  # width -> picture


def both(draw: Drawing) -> Markup:
    """A chart drawn twice, for screens and paper and for phones; style sheets choose."""
    return Markup('<div class="wide">{}</div><div class="narrow">{}</div>').format(draw(WIDE), draw(NARROW))


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle to plot in, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def across(self) -> tuple[float, float]:
        """Pixels of a horizontal axis."""
        return self.left, self.right

    @property
    def up(self) -> tuple[float, float]:
        """Pixels of a vertical axis."""
        return self.bottom, self.top

    def split(self, parts: int, gap: float) -> tuple[Area, ...]:
        """Side by side, equally wide."""
        width = (self.right - self.left - gap * (parts - 1)) / parts
        lefts = [self.left + i * (width + gap) for i in range(parts)]
        return tuple(Area(left, self.top, left + width, self.bottom) for left in lefts)


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its scale, its title with unit, and how its ticks read."""

    scale: Scale
    title: str
    ticks: int = 5
    labels: Callable[[Sequence[float]], list[str]] = tick_labels


def axes(area: Area, x: Axis | None, y: Axis | None) -> Markup:
    """Grid, ticks and titles; the title of the vertical axis stands above it, so that nothing is rotated."""
    parts = []
    if y is not None:
        for tick, label in _marks(y):
            at = y.scale(tick)
            parts += [
                line((area.left, at), (area.right, at), "grid"),
                text(area.left - 8, at + 4, label, "tick", "end"),
            ]
        parts.append(text(area.left, area.top - 14, y.title, "axis") if y.title else Markup())
    if x is not None:
        parts.append(line((area.left, area.bottom), (area.right, area.bottom), "base"))
        for tick, label in _marks(x):
            at = x.scale(tick)
            parts.append(line((at, area.bottom), (at, area.bottom + 4), "base"))
            parts.append(text(at, area.bottom + 18, label, "tick", "middle"))
        parts.append(text(area.right, area.bottom + 36, x.title, "axis", "end"))
    return group(*parts)


def _marks(axis: Axis) -> list[tuple[float, str]]:
    ticks = axis.scale.ticks(axis.ticks)
    return list(zip(ticks, axis.labels(ticks), strict=True))


def whole_ticks(ticks: Sequence[float]) -> list[str]:
    """Labels of a counting axis: nothing between whole numbers."""
    return [f"{tick:,.0f}" if tick == int(tick) else "" for tick in ticks]


def heading(area: Area, title: str, *said: tuple[str, str]) -> Markup:
    """The title of a chart followed by what its lines end at: (text, class) each, in the line's colour."""
    words = [element("tspan", text_, class_=class_, dx=9) for text_, class_ in said]
    return element("text", element("tspan", title, class_="axis"), *words, x=area.left, y=area.top - 14)


def budget_line(area: Area, x: Scale, budget: float, label: str, *, low: bool = False) -> Markup:
    """The limit as a vertical line, its label on the side that has room, at the top or ``low`` down."""
    at = x(budget)
    left = at > (area.left + area.right) / 2
    height = area.bottom - 10 if low else area.top + 10
    return group(
        line((at, area.top), (at, area.bottom), "budget"),
        text(at - 6 if left else at + 6, height, label, "budget-label", "end" if left else None),
    )


def interval(y: float, x: Scale, low: float, high: float, class_: str) -> Markup:
    """A horizontal error bar."""
    return line((x(low), y), (x(high), y), class_)


def diamond(at: Point, radius: float, class_: str, tip: str = "") -> Markup:
    """A mark that stands out without colour."""
    x, y = at
    points = f"{x:.2f},{y - radius:.2f} {x + radius:.2f},{y:.2f} {x:.2f},{y + radius:.2f} {x - radius:.2f},{y:.2f}"
    return element("polygon", *tips(tip), points=points, class_=class_)


def bar(span: tuple[float, float], top: float, height: float, class_: str, tip: str = "") -> Markup:
    """A horizontal bar between two pixels, never thinner than can be seen."""
    left, right = span
    return rect((left, top), max(right - left, 0.75), height, class_, tip)
