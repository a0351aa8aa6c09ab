"""The winner's training: losses, accuracy and learning rate by epoch, one panel each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from nas.report.figures import digits
from nas.report.plot import Area, Axis, axes, heading, whole_ticks
from nas.report.scale import Scale, fit_scale
from nas.report.svg import dot, group, picture, polyline

PANEL = 250.0  # height of one
KEY_OUT = 30.0  # pixels by which the titles stand out to the left, above the tick labels


@dataclass(frozen=True, slots=True)
class _Line:
    """One quantity over the epochs."""

    name: str
    value: Callable[[dict[str, Any]], float]
    class_: str


@dataclass(frozen=True, slots=True)
class _Panel:
    """One small chart; ``zero`` lets its axis begin there."""

    title: str
    lines: tuple[_Line, ...]
    zero: bool = False


_PANELS = (
    _Panel(
        "loss, nats",
        (
            _Line("train", lambda e: float(e["train_loss"]), "curve"),
            _Line("validation", lambda e: float(e["validation_loss"]), "curve won"),
        ),
    ),
    _Panel("validation top-1, %", (_Line("", lambda e: 100 * float(e["validation_top1"]), "curve won"),)),
    _Panel("learning rate", (_Line("", lambda e: float(e["learning_rate"]), "curve"),), zero=True),
)


def draw_training(epochs: Sequence[dict[str, Any]], width: int) -> Markup:
    """Three panels, side by side or below each other."""
    if width > 500:
        areas = [Area(a.left + 34, 34, a.right, PANEL - 48) for a in Area(8, 0, width - 8, 0).split(3, 44)]
        height = PANEL
    else:
        areas = [Area(46, 34 + i * PANEL, width - 10, (i + 1) * PANEL - 48) for i in range(3)]
        height = 3 * PANEL
    parts = [_panel(area, panel, epochs) for area, panel in zip(areas, _PANELS, strict=True)]
    last = epochs[-1]
    label = (
        f"Training of {len(epochs)} epochs: validation top-1 ends at {100 * last['validation_top1']:.2f} %, "
        f"train loss at {digits(last['train_loss'])}"
    )
    return picture(width, height, label, *parts)


def _panel(area: Area, panel: _Panel, epochs: Sequence[dict[str, Any]]) -> Markup:
    numbers = [int(e["epoch"]) for e in epochs]
    x = Scale(1, max(numbers[-1], 2), *area.across)
    y = fit_scale([one.value(e) for one in panel.lines for e in epochs], area.up, zero=panel.zero, log=not panel.zero)
    parts = [axes(area, Axis(x, "epoch", min(numbers[-1], 5), whole_ticks), Axis(y, "", 4))]
    key = []
    for one in panel.lines:
        last, strong = one.value(epochs[-1]), one.class_ == "curve won"
        points = [(x(n), y(one.value(e))) for n, e in zip(numbers, epochs, strict=True)]
        said = f"{one.name} {digits(last)}".strip()
        parts += [
            polyline(points, one.class_),
            dot(points[-1], 3, "front-dot" if strong else "end-dot", said),
        ]
        key.append((said, "name" if strong else "note"))
    return group(*parts, heading(replace(area, left=area.left - KEY_OUT), panel.title, *key))
