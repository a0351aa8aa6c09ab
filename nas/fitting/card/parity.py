"""Predicted against true labels, each prediction by a model that had not seen the network."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from nas.report.figures import digits
from nas.report.plot import Area, Axis, axes
from nas.report.scale import fit_scale
from nas.report.svg import dot, line, picture

FEW = 200  # networks up to which every interval is drawn


def draw_parity(parity: dict[str, Any], target: str, width: int) -> Markup:
    """A dot for each network; the closer to the diagonal the better."""
    side = min(width, 560)
    area = Area(64, 34, side - 16, side - 48)
    labels, predicted = parity["label"], parity["predicted"]
    x = fit_scale([*labels, *predicted], area.across)
    y = fit_scale([*labels, *predicted], area.up)
    parts = [
        axes(area, Axis(x, f"true {target}"), Axis(y, f"predicted {target}, left out of the fit")),
        line((area.left, area.bottom), (area.right, area.top), "ideal"),
    ]
    if parity["low"] is not None:
        step = max(1, len(labels) // FEW)
        for at in range(0, len(labels), step):
            low, high = parity["low"][at], parity["high"][at]
            if low is not None and high is not None:
                across = x(labels[at])
                parts.append(line((across, y(low)), (across, y(high)), "stated"))
    radius = 3.0 if len(labels) <= 400 else 2.0
    for truth, said in zip(labels, predicted, strict=True):
        tip = f"true {digits(truth, 4)}, predicted {digits(said, 4)}"
        parts.append(dot((x(truth), y(said)), radius, "point", tip))
    words = f"Predicted against true {target} of {len(labels)} networks"
    return picture(width, side, words, *parts)
