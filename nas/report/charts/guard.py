"""The baseline guard: accuracy per seed of the searched network and of baselines of equal latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from nas.report.figures import ms, percent
from nas.report.plot import Area, Axis, axes
from nas.report.scale import fit_scale
from nas.report.svg import dot, line, picture, text

ROW = 34.0


def draw_guard(rows: Sequence[Mapping[str, Any]], width: int) -> Markup:
    """A row per network: a dot per seed, a bar at the mean; the first row is the searched network."""
    area = Area(150 if width > 500 else 118, 20, width - (24 if width > 500 else 16), 20 + ROW * len(rows))
    tops = [100 * top1 for row in rows for top1 in row["top1"]]
    x = fit_scale(tops, area.across, pad=0.06)
    parts = [
        axes(
            area,
            Axis(x, "validation top-1, %: a dot per seed, a bar at the mean", 6 if width > 500 else 4),
            None,
        )
    ]
    for i, row in enumerate(rows):
        y = area.top + ROW * (i + 0.5)
        ours = i == 0
        parts += [
            text(area.left - 14, y - 1, str(row["name"]), "name" if ours else "label", "end"),
            text(area.left - 14, y + 12, ms(row["latency_ms"]), "note small", "end"),
            line((area.left, y), (area.right, y), "grid"),
        ]
        for seed, top1 in enumerate(row["top1"]):
            tip = f"{row['name']}, training {seed + 1}: {percent(top1, 2)}"
            parts.append(dot((x(100 * top1), y), 5, "seed ours" if ours else "seed", tip))
        if row["top1"]:
            mean = x(100 * sum(row["top1"]) / len(row["top1"]))
            parts.append(line((mean, y - 9), (mean, y + 9), "mean ours" if ours else "mean"))
        else:
            parts.append(text(area.left + 8, y - 4, "every training diverged", "note"))
    return picture(width, area.bottom + 48, "Validation accuracy of the searched network and its baselines", *parts)
