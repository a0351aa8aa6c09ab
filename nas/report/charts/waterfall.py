"""Where the milliseconds go: latency accumulates block by block, beside params, MACs and memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from nas.report.blocks import BlockRow
from nas.report.figures import digits, percent, si, size
from nas.report.plot import bar
from nas.report.scale import Scale
from nas.report.svg import group, line, picture, text

ROW = 22.0
HEAD = 34.0


@dataclass(frozen=True, slots=True)
class _Measure:
    """One column of bars."""

    title: str
    value: Callable[[BlockRow], float]
    show: Callable[[float], str]
    stacked: bool = False  # each bar begins where the one above ends
    sums: bool = True  # the network has the sum of its blocks


_LATENCY = _Measure("predicted latency, ms", lambda row: row.latency_ms or 0.0, digits, stacked=True)
_COUNTS = (
    _Measure("parameters", lambda row: row.params, si),
    _Measure("MACs", lambda row: row.macs, si),
    _Measure("peak memory", lambda row: row.peak_memory_bytes, size, sums=False),
)


def draw_waterfall(rows: Sequence[BlockRow], width: int) -> Markup:
    """A row of bars per block; on phones only the first column (the table beside has the others)."""
    timed = rows[0].latency_ms is not None
    measures = ((_LATENCY,) if timed else ()) + _COUNTS
    wide = width > 500
    shown = measures if wide else measures[:1]
    left, gap = (128.0, 22.0) if wide else (92.0, 0.0)
    weights = [2.2 if m.stacked else 1.0 for m in shown]
    unit = (width - left - gap * (len(shown) - 1)) / sum(weights)
    parts = [line((0, HEAD - 6), (width, HEAD - 6), "base")]
    for i, row in enumerate(rows):
        parts.append(
            text(
                0,
                HEAD + i * ROW + 15,
                f"{i + 1}  {row.name}" if i + 1 < len(rows) else f"   {row.name}",
                "label",
            )
        )
    at = left
    for measure, weight in zip(shown, weights, strict=True):
        parts.append(_column(measure, rows, at, at + unit * weight))
        at += unit * weight + gap
    return picture(
        width, HEAD + ROW * len(rows) + 6, "Cost of every block: " + ", ".join(m.title for m in shown), *parts
    )


def _column(measure: _Measure, rows: Sequence[BlockRow], left: float, right: float) -> Markup:
    values = [measure.value(row) for row in rows]
    total = sum(values)
    x = Scale(0, (total if measure.stacked else max(values)) or 1.0, left, right - 52)
    head = f"{measure.title}: {measure.show(total)}" if measure.sums else measure.title
    class_ = "bar" if measure.stacked else "quiet-bar"
    parts, start = [text(left, HEAD - 14, head, "axis")], 0.0
    for i, (row, value) in enumerate(zip(rows, values, strict=True)):
        top = HEAD + i * ROW
        begin = start if measure.stacked else 0.0
        share = percent(value / total if total else 0.0)
        tip = f"{row.name}: {measure.show(value)}, {share}"
        parts.append(bar((x(begin), x(begin + value)), top + 4, ROW - 9, class_, tip))
        if measure.stacked:
            if i + 1 < len(rows):
                parts.append(line((x(begin + value), top + ROW - 5), (x(begin + value), top + ROW + 4), "joint"))
            start += value
        parts.append(text(x(begin + value) + 6, top + 15, measure.show(value), "note small"))
    return group(*parts)
