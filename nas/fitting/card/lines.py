"""Calibration and the learning curve."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from nas.report.figures import percent
from nas.report.plot import Area, Axis, axes
from nas.report.scale import Scale, fit_scale
from nas.report.svg import dot, line, picture, polyline


def draw_calibration(rows: list[dict[str, Any]], width: int) -> Markup:
    """How often intervals held the label, against how often they were said to; the diagonal is right."""
    side = min(width, 400)
    area = Area(52, 34, side - 16, side - 48)
    least = min([0.4, *(row["found"]["low"] for row in rows)])
    x, y = Scale(least, 1.0, *area.across), Scale(least, 1.0, *area.up)
    parts = [
        axes(area, Axis(x, "stated coverage"), Axis(y, "observed coverage")),
        line((area.left, area.bottom), (area.right, area.top), "ideal"),
    ]
    for row in rows:
        at = x(row["stated"])
        found = row["found"]
        tip = f"stated {percent(row['stated'], 0)}, observed {percent(found['value'])}"
        parts += [
            line((at, y(found["low"])), (at, y(found["high"])), "interval"),
            dot((at, y(found["value"])), 4.5, "winner", tip),
        ]
    return picture(width, side, "Stated and observed coverage of intervals", *parts)


def draw_curve(points: list[dict[str, Any]], width: int) -> Markup:
    """Kendall's tau by the number of labels, with that of the baseline below."""
    height = 300
    area = Area(52, 34, width - 24, height - 48)
    taus = [point["kendall"] for point in points]
    theirs = [point["baseline_kendall"]["value"] for point in points if point["baseline_kendall"]]
    x = fit_scale([point["size"] for point in points], area.across, log=True)
    y = fit_scale([v for tau in taus for v in (tau["low"], tau["high"])] + theirs, area.up)
    parts = [axes(area, Axis(x, "labels learned from"), Axis(y, "Kendall's tau"))]
    if len(theirs) == len(points):
        parts.append(polyline([(x(p["size"]), y(tau)) for p, tau in zip(points, theirs, strict=True)], "curve"))
    parts.append(polyline([(x(p["size"]), y(p["kendall"]["value"])) for p in points], "curve won"))
    for point, tau in zip(points, taus, strict=True):
        at = x(point["size"])
        parts += [
            line((at, y(tau["low"])), (at, y(tau["high"])), "interval"),
            dot((at, y(tau["value"])), 4.5, "winner", f"{point['size']} labels: {tau['value']:.3f}"),
        ]
    return picture(width, height, f"Kendall's tau by the number of labels, {len(points)} points", *parts)
