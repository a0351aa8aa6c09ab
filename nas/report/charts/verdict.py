"""The measured verdict: every burst of the exported file, its interval, and the budget."""

from __future__ import annotations

from markupsafe import Markup

from hardware.measure import Measurement
from nas.report.figures import digits, exact_ms, ms
from nas.report.plot import Area, Axis, axes, whole_ticks
from nas.report.scale import Scale, fit_scale, spread
from nas.report.svg import dot, group, line, picture, rect, text


def draw_bursts(measurement: Measurement, budget_ms: float | None, width: int) -> Markup:
    """Burst medians in the order of measuring; the estimate's interval as a band, the budget as a line."""
    m, height = measurement, 290
    area = Area(52, 34, width - (150 if width > 500 else 118), height - 48)
    x = Scale(0.5, len(m.bursts_ms) + 0.5, *area.across)
    values = [*m.bursts_ms, m.low_ms, m.high_ms, m.p50_ms, *([budget_ms] if budget_ms else [])]
    y = fit_scale(values, area.up, pad=0.08)
    parts = [
        rect(
            (area.left, y(m.high_ms)),
            area.right - area.left,
            y(m.low_ms) - y(m.high_ms),
            "band",
            _interval(m),
        ),
        axes(area, Axis(x, "burst", min(8, len(m.bursts_ms)), whole_ticks), Axis(y, "latency of one call, ms")),
        line((area.left, y(m.latency_ms)), (area.right, y(m.latency_ms)), "estimate"),
        *(dot((x(i), y(b)), 3, "burst", f"burst {i}: {ms(b)}") for i, b in enumerate(m.bursts_ms, 1)),
    ]
    if budget_ms is not None:
        parts.append(line((area.left, y(budget_ms)), (area.right, y(budget_ms)), "budget"))
    return picture(
        width,
        height,
        f"Burst medians of the exported file: {_interval(m)}",
        *parts,
        _labels(m, budget_ms, area, y),
    )


def _labels(m: Measurement, budget_ms: float | None, area: Area, y: Scale) -> Markup:
    named = [
        (m.latency_ms, f"{ms(m.latency_ms)}", "name"),
        (m.p50_ms, f"median run {digits(m.p50_ms)}", "note"),
    ]
    if budget_ms is not None:
        named.append((budget_ms, f"budget {exact_ms(budget_ms)}", "budget-label"))
    placed = spread([y(value) + 4 for value, _, _ in named], 15, area.top, area.bottom)
    return group(*(text(area.right + 8, at, said, class_) for at, (_, said, class_) in zip(placed, named, strict=True)))


def _interval(m: Measurement) -> str:
    return f"{ms(m.latency_ms)}, interval {digits(m.low_ms)} to {digits(m.high_ms)} ms"
