"""How the search went: the best score so far, and what became of the candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from nas.report.facts import OUTCOMES, Candidates, Floats
from nas.report.figures import count, digits, percent
from nas.report.plot import Area, Axis, axes, bar, heading, whole_ticks
from nas.report.scale import Scale, fit_scale, spread
from nas.report.svg import Point, dot, group, number, picture, polyline, tag, text

BINS = 60
STEPS = 400  # improvements drawn at most


def best_so_far(score: Floats) -> list[tuple[int, float]]:
    """(position, score) of every candidate that beat all before it."""
    filled = np.where(np.isfinite(score), score, -np.inf)
    best = np.maximum.accumulate(filled)
    better = np.flatnonzero(best > np.concatenate([[-np.inf], best[:-1]]))
    return [(int(i), float(best[i])) for i in better]


def draw_best(candidates: Candidates, score_name: str, width: int) -> Markup:
    """Best score so far against candidate number, as a step line."""
    height = 250
    area = Area(52, 34, width - 16, height - 48)
    improved = best_so_far(candidates.score)
    thinned = improved[:: max(1, len(improved) // STEPS)]
    if thinned[-1] != improved[-1]:
        thinned.append(improved[-1])
    x = Scale(0, max(1, len(candidates)), *area.across)
    y = fit_scale([score for _, score in thinned], area.up)
    points: list[Point] = []
    for position, score in thinned:
        if points:
            points.append((x(position), points[-1][1]))
        points.append((x(position), y(score)))
    points.append((x(len(candidates)), points[-1][1]))
    last, best = improved[-1]
    reached = f"{digits(best, 4)} at candidate {count(float(candidates.ids[last]))}"
    return picture(
        width,
        height,
        f"Best {score_name} score so far over {len(candidates)} candidates; it ends at {digits(best, 4)}",
        axes(area, _candidate_axis(x, width), Axis(y, "", 4)),
        heading(area, f"best {score_name} score so far", (reached, "name")),
        polyline(points, "best"),
        dot((x(last), y(best)), 3.5, "front-dot", reached),
    )


def outcome_shares(outcome: np.ndarray[tuple[int], np.dtype[np.int64]], bins: int = BINS) -> Floats:
    """(bins, outcomes) shares in 0..1 over equal parts of the search; every row sums to 1."""
    parts = np.array_split(outcome, min(bins, len(outcome)))
    counts = np.array([np.bincount(part, minlength=len(OUTCOMES)) for part in parts], dtype=np.float64)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True), dtype=np.float64)


def draw_outcomes(candidates: Candidates, width: int) -> Markup:
    """Shares of scored, rejected, duplicate and failed candidates over the search, stacked."""
    height, room = 210, 118 if width > 500 else 98
    area = Area(52, 34, width - room, height - 48)
    shares = outcome_shares(candidates.outcome)
    x = Scale(0, max(1, len(candidates)), *area.across)
    y = Scale(0, 1, *area.up)
    edges = np.linspace(area.left, area.right, len(shares) + 1)
    above = np.concatenate([np.zeros((len(shares), 1)), np.cumsum(shares, axis=1)], axis=1)
    total = candidates.counts()
    areas = [
        tag("path", d=_band(edges, above[:, i], above[:, i + 1], y), class_=f"share {name}")
        for i, name in enumerate(OUTCOMES)
        if total[name]
    ]
    said = ", ".join(f"{percent(total[name] / len(candidates))} {name}" for name in OUTCOMES if total[name])
    return picture(
        width,
        height,
        f"What became of the candidates over the search; in all {said}",
        group(*areas),
        axes(area, _candidate_axis(x, width), Axis(y, "share of the candidates, %", 4, _percents)),
        _names(area, above[-1], y, total, len(candidates)),
    )


def _band(edges: Floats, low: Floats, high: Floats, y: Scale) -> str:
    """A stepped band: along its upper edge, back along its lower one."""
    there = [(e, y(v)) for i, v in enumerate(high) for e in (edges[i], edges[i + 1])]
    back = [(e, y(v)) for i, v in reversed(list(enumerate(low))) for e in (edges[i + 1], edges[i])]
    return "M" + "L".join(f"{number(px)} {number(py)}" for px, py in there + back) + "z"


def _names(area: Area, above: Floats, y: Scale, total: dict[str, int], n: int) -> Markup:
    """Each band named where it ends."""
    shown = [(i, name) for i, name in enumerate(OUTCOMES) if total[name]]
    wanted = [y(float(above[i] + above[i + 1]) / 2) + 4 for i, _ in shown]
    placed = spread(wanted, 15, area.top + 4, area.bottom)
    return group(
        *(
            text(
                area.right + 8,
                at,
                f"{name} {percent(total[name] / n, 0)}",
                "name" if name == "scored" else "note",
            )
            for (_, name), at in zip(shown, placed, strict=True)
        )
    )


def _candidate_axis(x: Scale, width: int) -> Axis:
    return Axis(x, "candidate number", 6 if width > 500 else 3, whole_ticks)


def _percents(ticks: Sequence[float]) -> list[str]:
    return [f"{100 * tick:.0f}" for tick in ticks]


def draw_reasons(reasons: Sequence[tuple[str, int]], n: int, width: int) -> Markup:
    """How often each limit was exceeded, as bars."""
    row, left = 24, 190 if width > 500 else 128
    height = row * len(reasons) + 8
    most = max(number_ for _, number_ in reasons)
    x = Scale(0, most, left, width - 130 if width > 500 else width - 96)
    parts = []
    for i, (name, times) in enumerate(reasons):
        top = 4 + i * row
        parts += [
            text(left - 10, top + 15, name, "label", "end"),
            bar((left, x(times)), top + 4, row - 9, "quiet-bar"),
            text(x(times) + 8, top + 15, f"{times:,} ({percent(times / n)})", "note"),
        ]
    return picture(width, height, "Rejections by reason", *parts)
