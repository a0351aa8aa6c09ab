"""What is known of a device: coverage, errors by space, conditions. For a person, for JSON, and as one offline page."""

from __future__ import annotations

import html
from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np

from hardware.device_table import DeviceTable
from hardware.lookup import LatencyTable

LARGEST = 12  # rows of the page's tables


def device_card(table: DeviceTable, fitted: list[LatencyTable]) -> dict[str, Any]:
    """The facts of a device, JSON-ready.

    Args:
        table: its rows.
        fitted: latency tables made from them, one for each space and image size.
    """
    kinds = Counter(row.kernel.kind for row in table.kernels)
    return {
        "name": table.name,
        "device": table.device,
        "precision": table.precision,
        "source": table.source,
        "measured_here": bool(table.device),
        "rows": {"kernels": len(table.kernels), "pieces": len(table.pieces), "networks": len(table.networks)},
        "coverage": {
            "kernel_kinds": dict(kinds.most_common()),
            "kernel_ms": _span([row.latency_ms for row in table.kernels]),
            "network_ms": _span([row.latency_ms for row in table.networks]),
            "network_macs": _span([float(sum(k.macs for k in row.kernels())) for row in table.networks]),
            "images": sorted({"x".join(map(str, row.input_shape)) for row in table.networks}),
            "batches": sorted({row.kernel.batch for row in table.kernels} | {row.batch for row in table.networks}),
        },
        "overhead_ms": table.overhead_ms,
        "tables": [_table_facts(each) for each in fitted],
        "conditions": table.conditions.to_dict() if table.conditions else None,
        "notes": table.notes,
        "digest": table.digest,
    }


def _table_facts(table: LatencyTable) -> dict[str, Any]:
    return {
        "space": table.space,
        "input_shape": list(table.input_shape),
        "held_out": asdict(table.calibration.held_out),
        "upper_factor": table.calibration.upper_factor,
        "confidence": table.calibration.confidence,
        "measured": [list(pair) for pair in table.measured],
    }


def _span(values: list[float]) -> list[float] | None:
    """Smallest, median and largest."""
    if not values:
        return None
    return [float(value) for value in np.quantile(values, [0, 0.5, 1])]


def card_page(card: dict[str, Any]) -> str:
    """One offline HTML page of the card."""
    facts = {
        "device": card["device"] or "not here",
        "precision": card["precision"],
        "source": card["source"],
        "rows": ", ".join(f"{count} {what}" for what, count in card["rows"].items()),
        "images": ", ".join(card["coverage"]["images"]) or "–",
        "networks, ms": _words(card["coverage"]["network_ms"]),
        "kernels, ms": _words(card["coverage"]["kernel_ms"]),
        "call overhead": f"{card['overhead_ms']:.4g} ms",
        **{f"note: {key}": value for key, value in card["notes"].items()},
    }
    parts = [f"<h1>{html.escape(card['name'])}</h1>", _rows(facts)]
    for table in card["tables"]:
        held = table["held_out"]
        size = "x".join(map(str, table["input_shape"]))
        parts += [
            f"<h2>{html.escape(table['space'])} at {size}</h2>",
            f"<p>Held-out error {held['mape']:.1%}, {held['within_10']:.0%} within 10 %, rank correlation "
            f"{held['spearman']:.3f}, on {held['networks']} networks. A measurement stays below "
            f"{table['upper_factor']:.3f} times its prediction at {table['confidence']:.0%}.</p>",
            _scatter(table["measured"]),
        ]
    if not card["tables"]:
        parts.append(
            "<p>No space has a latency table from these rows yet: <code>netwright profile</code> makes one.</p>"
        )
    kinds = card["coverage"]["kernel_kinds"]
    if kinds:
        parts += ["<h2>Kernels</h2>", _rows({kind: str(count) for kind, count in list(kinds.items())[:LARGEST]})]
    if card["conditions"]:
        parts += ["<h2>Conditions</h2>", _rows({key: str(value) for key, value in card["conditions"].items()})]
    return _PAGE.format(title=html.escape(card["name"]), body="\n".join(parts))


def _words(span: list[float] | None) -> str:
    return "–" if span is None else f"{span[0]:.4g} to {span[2]:.4g}, median {span[1]:.4g}"


def _rows(facts: dict[str, Any]) -> str:
    cells = (f"<tr><th>{html.escape(key)}</th><td>{html.escape(str(value))}</td></tr>" for key, value in facts.items())
    return f"<table>{''.join(cells)}</table>"


def _scatter(pairs: list[list[float]]) -> str:
    """Predicted against measured, both logarithmic, with the diagonal and the lines of 10 %."""
    side, margin = 320, 36
    logs = np.log10(np.array(pairs))
    low, high = float(logs.min()) - 0.05, float(logs.max()) + 0.05
    scale = (side - 2 * margin) / (high - low)

    def at(x: float, y: float) -> tuple[float, float]:
        return margin + (x - low) * scale, side - margin - (y - low) * scale

    shift = float(np.log10(1.1))
    lines = [
        _line(at(low, low + by), at(high, high + by), "diagonal" if by == 0 else "ten") for by in (0.0, shift, -shift)
    ]
    dots = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>predicted {pair[0]:.4g} ms, measured {pair[1]:.4g} ms</title>'
        "</circle>"
        for pair, (x, y) in zip(pairs, (at(float(p), float(m)) for p, m in logs), strict=True)
    ]
    ends = f"{10**low:.3g} to {10**high:.3g} ms"
    words = (
        f'<text x="{side / 2}" y="{side - 8}" text-anchor="middle">predicted, {ends}</text>'
        f'<text transform="translate(12 {side / 2}) rotate(-90)" text-anchor="middle">measured</text>'
    )
    return (
        f'<svg viewBox="0 0 {side} {side}" width="{side}" role="img" aria-label="predicted against measured latency">'
        f"{''.join(lines)}{''.join(dots)}{words}</svg>"
    )


def _line(a: tuple[float, float], b: tuple[float, float], kind: str) -> str:
    return f'<line class="{kind}" x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}"/>'


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
table {{ border-collapse: collapse; }}
th {{ text-align: left; font-weight: 600; padding: .15rem 1.2rem .15rem 0; vertical-align: top; }}
td {{ padding: .15rem 0; overflow-wrap: anywhere; }}
svg {{ background: #f7f7f7; }} circle {{ fill: #2563a8; fill-opacity: .7; }}
line.diagonal {{ stroke: #555; }} line.ten {{ stroke: #bbb; stroke-dasharray: 3 3; }} text {{ font-size: 11px; }}
</style></head><body>
{body}
</body></html>
"""
