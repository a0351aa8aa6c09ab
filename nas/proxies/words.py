"""A trust report for a person: a table of the proxies and the facts around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from nas.proxies.combine import weights_of

LOW_CEILING = 0.8


def facts_of(report: Mapping[str, Any]) -> list[str]:
    """What was trained, how noisy it was, and which networks failed."""
    top1 = [row["top1"] for row in report["networks"] if row["top1"] is not None]
    settings = report["settings"]
    lines = [
        f"{report['trained']} networks of {report['space']} trained for {settings['epochs']} epochs on "
        f"{settings['data']}, seed {settings['seed']}"
        + (f": validation top-1 {min(top1):.3f} to {max(top1):.3f}" if top1 else "")
    ]
    lines += [
        f"left out: network {row['id']}: {row['failure']}" for row in report["networks"] if row["failure"] is not None
    ]
    noise = report["noise"]
    if noise and noise["spearman"]:
        lines.append(
            f"noise: two seeds differ by a standard deviation of {100 * noise['seed_deviation']:.2f} points, the "
            f"networks by {100 * noise['network_deviation']:.2f} ({noise['pairs']} trained twice); a perfect proxy "
            f"would reach a rho of {_interval(noise['spearman'])}"
        )
        if noise["spearman"]["value"] < LOW_CEILING:
            lines.append("so noisy that little can be told: give more --epochs or --images, or looser limits")
    else:
        lines.append("noise: unknown, no network was trained twice (--repeats)")
    return lines


def table_of(report: Mapping[str, Any]) -> Table:
    """Baselines first, then the proxies by rho, then the ensemble."""
    table = Table("score", "rho [95 %]", "tau [95 %]", "rho less that of", "top-3 regret", "ms", "verdict")
    for row in report["baselines"]:
        table.add_row(*_cells(row))
    table.add_section()
    order = sorted(report["proxies"], key=lambda row: -row["spearman"]["value"] if row["applies"] else 2)
    for row in order:
        table.add_row(*_cells(row))
    table.add_section()
    ensemble = report["ensemble"]
    if not ensemble["members"]:
        table.add_row("ensemble", "", "", "", "", "", f"none: {ensemble['reason']}")
        return table
    worth = ensemble["cross_validated"]
    table.add_row(*_cells({"name": "ensemble, left out", "applies": True, **worth}))
    made_of = ", ".join(f"{weight:.2f} {name}" for name, weight in weights_of(ensemble))
    against = worth["difference_to_best_single"]
    table.add_row("", "", "", "", "", "", made_of)
    if against is not None:
        table.add_row("", "", "", f"{worth['best_single']} {_interval(against, sign='+')}", "", "", "in hindsight")
    return table


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    if not row["applies"]:
        return row["name"], "", "", "", "", "", row["verdict"]
    difference, regret, seconds = row.get("difference"), row.get("top3_regret"), row.get("seconds")
    return (
        row["name"],
        _interval(row["spearman"]),
        _interval(row["kendall"]),
        "" if difference is None else f"{row['baseline']} {_interval(difference, sign='+')}",
        "" if regret is None else f"{100 * regret:.2f}",
        "" if seconds is None else f"{1e3 * seconds:.3g}",
        row["verdict"],
    )


def _interval(row: Mapping[str, Any], sign: str = "") -> str:
    if any(row[name] is None for name in ("value", "low", "high")):
        return "-"
    return f"{row['value']:{sign}.2f} [{row['low']:{sign}.2f}, {row['high']:{sign}.2f}]"
