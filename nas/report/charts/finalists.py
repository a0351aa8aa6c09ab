"""The finalists: predicted against measured latency, and the race of their short trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from markupsafe import Markup

from nas.report.facts import Finalist
from nas.report.figures import digits, exact_ms, ms, percent
from nas.report.plot import Area, Axis, axes, budget_line, diamond, interval, whole_ticks
from nas.report.scale import Scale, fit_scale, spread
from nas.report.svg import dot, group, line, picture, polyline, text

ROW = 22.0


def draw_shifts(finalists: Sequence[Finalist], winner: int | None, budget_ms: float | None, width: int) -> Markup:
    """A row per measured finalist: hollow where predicted, filled where measured, with its interval."""
    shown = [f for f in finalists if f.measurement]
    area = Area(92, 34, width - 20, 34 + ROW * len(shown) + 6)
    values = [v for f in shown if f.measurement for v in (f.measurement.low_ms, f.measurement.high_ms)]
    values += [f.predicted_ms for f in shown if f.predicted_ms is not None] + ([budget_ms] if budget_ms else [])
    x = fit_scale(values, area.across, log=True)
    title = "latency, ms (○ predicted, ● measured)"
    parts = [
        axes(area, Axis(x, title, 6 if width > 500 else 4), None),
        text(area.left - 12, 22, "candidate", "axis", "end"),
    ]
    if budget_ms is not None:
        above = replace(area, top=14)
        parts.append(budget_line(above, x, budget_ms, f"budget {exact_ms(budget_ms)}"))
    for i, finalist in enumerate(shown):
        parts.append(_shift(finalist, area.top + ROW * (i + 0.5), x, area, finalist.id == winner))
    return picture(width, area.bottom + 48, f"Predicted and measured latency of {len(shown)} finalists", *parts)


def _shift(finalist: Finalist, y: float, x: Scale, area: Area, won: bool) -> Markup:
    m = finalist.measurement
    assert m is not None
    measured = f"{ms(m.latency_ms)} [{digits(m.low_ms)}, {digits(m.high_ms)}]"
    tip = f"candidate {finalist.id}: predicted {ms(finalist.predicted_ms)}, measured {measured}"
    state = "measured" if finalist.within else "measured over"
    parts = [
        text(area.left - 12, y + 4, f"{finalist.id}", "name" if won else "label", "end"),
        line((area.left, y), (area.right, y), "grid"),
        interval(y, x, m.low_ms, m.high_ms, "interval"),
    ]
    if finalist.predicted_ms is not None:
        parts += [
            line((x(finalist.predicted_ms), y), (x(m.latency_ms), y), "shift"),
            dot((x(finalist.predicted_ms), y), 4, "hollow", tip),
        ]
    parts.append(diamond((x(m.latency_ms), y), 7, "winner", tip) if won else dot((x(m.latency_ms), y), 4, state, tip))
    return group(*parts)


def draw_race(finalists: Sequence[Finalist], winner: int | None, width: int) -> Markup:
    """Learning curves of the race; who falls out ends early, the winner stands out."""
    shown = [f for f in finalists if f.curve]
    height = 280
    area = Area(52, 34, width - 96, height - 48)
    longest = max(len(f.curve) for f in shown)
    x = Scale(1, max(longest, 2), *area.across)
    y = fit_scale([100 * top1 for f in shown for top1 in f.curve], area.up)
    parts = [axes(area, Axis(x, "epoch", min(longest, 8), whole_ticks), Axis(y, "validation top-1, %"))]
    for finalist in sorted(shown, key=lambda f: f.id == winner):
        won = finalist.id == winner
        points = [(x(epoch), y(100 * top1)) for epoch, top1 in enumerate(finalist.curve, 1)]
        tip = f"candidate {finalist.id}: {percent(finalist.curve[-1], 2)} after {len(finalist.curve)} epochs"
        parts += [
            polyline(points, "curve won" if won else "curve"),
            dot(points[-1], 3.5 if won else 2.5, "front-dot" if won else "end-dot", tip),
        ]
    placed = spread([y(100 * f.curve[-1]) + 4 for f in shown], 14, area.top, area.bottom)
    for finalist, at in zip(shown, placed, strict=True):
        won = finalist.id == winner
        parts.append(
            text(
                area.right + 10,
                at,
                f"{finalist.id} · {100 * finalist.curve[-1]:.1f}",
                "name" if won else "note",
            )
        )
    return picture(width, height, f"Validation accuracy of {len(shown)} finalists by epoch", *parts)
