"""Accuracies of the networks that a predictor learnt from, in the order in which they were trained."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from nas.report.facts import Event
from nas.report.figures import percent
from nas.report.plot import Area, Axis, axes, whole_ticks
from nas.report.scale import Scale, fit_scale
from nas.report.svg import Point, dot, line, picture, polyline, text


def draw_labels(events: Sequence[Event], width: int) -> Markup:
    """A dot a network, the best so far as a step line, a stroke where a round begins.

    Args:
        events: of networks with an accuracy, at least one.
        width: pixels.
    """
    height = 250
    area = Area(52, 34, width - 16, height - 48)
    last = max(event["id"] for event in events) + 1
    x = Scale(0.5, last + 0.5, *area.across)
    y = fit_scale([100 * event["top1"] for event in events], area.up)
    parts = [axes(area, Axis(x, "network", 8 if width > 500 else 4, whole_ticks), Axis(y, "validation top-1, %"))]
    best: list[Point] = []
    number = 0
    for event in events:
        at = (x(event["id"] + 1), y(100 * event["top1"]))
        if event["round"] > number:
            number = event["round"]
            edge = x(event["id"] + 0.5)
            parts.append(line((edge, area.top), (edge, area.bottom), "grid"))
        best.append((at[0], min(at[1], best[-1][1]) if best else at[1]))
        tip = f"network {event['id'] + 1}, round {event['round'] + 1}: {percent(event['top1'], 2)}"
        parts.append(dot(at, 3.5, "measured", tip))
    top = max(events, key=lambda event: (event["top1"], -event["id"]))
    parts.append(polyline(_steps(best), "best"))
    parts.append(text(area.right, area.top - 14, f"best {percent(top['top1'], 2)}", "name", "end"))
    return picture(width, height, f"Validation accuracy of {len(events)} trained networks by number", *parts)


def _steps(points: Sequence[Point]) -> list[Point]:
    found = [points[0]]
    for before, after in pairwise(points):
        found += [(after[0], before[1]), after]
    return found
