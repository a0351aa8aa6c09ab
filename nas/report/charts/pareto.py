"""Score against cost: the dominated cloud as a density, the front as a line, the finalists measured."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup

from nas.report.facts import Candidates, Finalist, Floats
from nas.report.figures import count, digits, exact_ms, ms, si, tick_labels
from nas.report.plot import Area, Axis, axes, budget_line, diamond
from nas.report.scale import Scale, fit_scale
from nas.report.svg import Point, dot, group, line, number, picture, polyline, tag, text

DOTS = 500  # up to so many dominated candidates are drawn one by one
LEVELS = 5  # shades of the density
_CORNERS = [(math.sin(i * math.pi / 3), -math.cos(i * math.pi / 3)) for i in range(6)]
_SIDES = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(_CORNERS)]  # of a hexagon of radius 1, from its top


@dataclass(frozen=True, eq=False)
class ParetoField:
    """What the scatter shows."""

    candidates: Candidates
    score_name: str
    finalists: Sequence[Finalist]
    winner: int | None
    budget_ms: float | None

    @property
    def timed(self) -> bool:
        """Whether the cost is latency."""
        return self.candidates.cost_name == "latency_ms"

    def cost_text(self, cost: float) -> str:
        """A cost with its unit."""
        return ms(cost) if self.timed else si(cost, "MACs")


def draw_pareto(field: ParetoField, width: int) -> Markup:
    """The scatter; the field holds at least one scored candidate."""
    height = 430 if width > 500 else 340
    area = Area(52, 34, width - 16, height - 48)
    x, y = _scales(field, area)
    title = "predicted latency, ms (finalists: measured)" if field.timed else "multiply-accumulates of one image"
    label = (
        f"Scatter of {len(field.candidates)} candidates: {field.score_name} score against cost, "
        f"with the Pareto front of {len(field.candidates.front)}"
    )
    budget = field.budget_ms if field.timed else None
    parts = [
        axes(
            area,
            Axis(x, title, 6 if width > 500 else 4, tick_labels),
            Axis(y, f"{field.score_name} score, higher is better"),
        ),
        _cloud(field, area, x, y, 9.0 if width > 500 else 7.0),
        budget_line(area, x, budget, f"budget {exact_ms(budget)}", low=True) if budget is not None else Markup(),
        _front(field, x, y),
        _finalists(field, x, y),
    ]
    return picture(width, height, label, *parts)


def _scales(field: ParetoField, area: Area) -> tuple[Scale, Scale]:
    scored = np.flatnonzero(field.candidates.outcome == 0)
    costs, scores = field.candidates.cost[scored].tolist(), field.candidates.score[scored].tolist()
    if field.timed:
        costs += [f.measurement.latency_ms for f in field.finalists if f.measurement]
        costs += [field.budget_ms] if field.budget_ms else []
    return fit_scale(costs, area.across, log=True), fit_scale(scores, area.up)


def _cloud(field: ParetoField, area: Area, x: Scale, y: Scale, radius: float) -> Markup:
    """The candidates behind the front: dots while they are few, else hexagons shaded by number."""
    c = field.candidates
    dominated = np.setdiff1d(np.flatnonzero((c.outcome == 0) & np.isfinite(c.score) & np.isfinite(c.cost)), c.front)
    across, up = _pixels(c.cost[dominated], x), _pixels(c.score[dominated], y)
    if len(dominated) <= DOTS:
        d = "".join(f"M{number(px)} {number(py)}h0" for px, py in zip(across, up, strict=True))
        return tag("path", d=d, class_="cloud") if d else Markup()
    return hexagons(across - area.left, up - area.top, radius, (area.left, area.top))


def _pixels(values: Floats, scale: Scale) -> Floats:
    """``scale`` over an array."""
    clipped = np.clip(values, scale.low, scale.high)
    if scale.log:
        share = np.log(clipped / scale.low) / math.log(scale.high / scale.low)
    else:
        share = (clipped - scale.low) / (scale.high - scale.low)
    return np.asarray(scale.start + share * (scale.end - scale.start), dtype=np.float64)


def hexagons(across: Floats, up: Floats, radius: float, origin: Point) -> Markup:
    """Points counted in hexagons, one path per shade; the shade follows the logarithm of the number.

    Args:
        across: (n,) horizontal pixels of the points.
        up: (n,) vertical pixels of the points.
        radius: of a hexagon, pixels.
        origin: added to all positions.
    """
    cells = Counter(zip(*nearest_centres(across, up, radius), strict=True))
    most = max(cells.values())
    shades: list[list[str]] = [[] for _ in range(LEVELS)]
    outline = "".join(f"l{number(radius * dx)} {number(radius * dy)}" for dx, dy in _SIDES)
    for (column, row), n in sorted(cells.items()):
        level = min(LEVELS - 1, int(LEVELS * math.log(n) / math.log(most + 1))) if most > 1 else 0
        cx, cy = origin[0] + column * radius * math.sqrt(3) / 2, origin[1] + row * radius * 1.5
        shades[level].append(f"M{number(cx)} {number(cy - radius)}{outline}z")
    return group(*(tag("path", d="".join(d), class_=f"hex h{i + 1}") for i, d in enumerate(shades) if d))


def nearest_centres(across: Floats, up: Floats, radius: float) -> tuple[list[int], list[int]]:
    """Each point's hexagon: column in half widths, and row; a point is never farther away than ``radius``."""
    half, high = radius * math.sqrt(3) / 2, radius * 1.5
    row = np.floor(up / high)
    best_distance = np.full(len(across), np.inf)
    best = (np.zeros(len(across), dtype=np.int64), np.zeros(len(across), dtype=np.int64))
    for r in (row, row + 1):
        column = 2 * np.round((across / half - r % 2) / 2) + r % 2
        distance = (across - column * half) ** 2 + (up - r * high) ** 2
        closer = distance < best_distance
        best_distance = np.where(closer, distance, best_distance)
        best = (
            np.where(closer, column, best[0]).astype(np.int64),
            np.where(closer, r, best[1]).astype(np.int64),
        )
    return best[0].tolist(), best[1].tolist()


def _front(field: ParetoField, x: Scale, y: Scale) -> Markup:
    """The best score that each cost allows, as a step line with a dot per network."""
    c = field.candidates
    costs, scores = c.cost[c.front].tolist(), c.score[c.front].tolist()
    steps: list[Point] = []
    for cost, score in zip(costs, scores, strict=True):
        if steps:
            steps.append((x(cost), steps[-1][1]))
        steps.append((x(cost), y(score)))
    marks = [
        dot(
            (x(cost), y(score)),
            2.2,
            "front-dot",
            f"candidate {i}: score {digits(score, 4)}, {field.cost_text(cost)}",
        )
        for i, cost, score in zip(c.ids[c.front].tolist(), costs, scores, strict=True)
    ]
    return group(polyline(steps, "front"), *(marks if len(marks) <= DOTS else []))


def _finalists(field: ParetoField, x: Scale, y: Scale) -> Markup:
    """From predicted to measured latency; the winner with its name."""
    parts: list[Markup] = []
    for finalist in sorted(field.finalists, key=lambda f: f.id == field.winner):
        height = y(finalist.score)
        if not (field.timed and finalist.predicted_ms is not None and finalist.measurement):
            continue
        at = (x(finalist.measurement.latency_ms), height)
        shift = f"predicted {ms(finalist.predicted_ms)}, measured {ms(finalist.measurement.latency_ms)}"
        tip = f"candidate {finalist.id}: {shift}"
        parts += [
            line((x(finalist.predicted_ms), height), at, "shift"),
            dot(at, 4, "measured" if finalist.within else "measured over", tip),
        ]
    return group(*parts, _winner(field, x, y))


def _winner(field: ParetoField, x: Scale, y: Scale) -> Markup:
    c = field.candidates
    at = np.flatnonzero(c.ids == field.winner) if field.winner is not None else np.array([])
    if not len(at):
        return Markup()
    finalist = next((f for f in field.finalists if f.id == field.winner and f.measurement), None)
    cost = (
        finalist.measurement.latency_ms if finalist and finalist.measurement and field.timed else float(c.cost[at[0]])
    )
    place = (x(cost), y(float(c.score[at[0]])))
    left = place[0] > (x.start + x.end) / 2
    return group(
        diamond(place, 8, "winner", f"winner: candidate {count(field.winner)}, {field.cost_text(cost)}"),
        text(place[0] + (-13 if left else 13), place[1] - 9, "winner", "name", "end" if left else None),
    )
