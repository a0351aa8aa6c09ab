"""Did the search help? The searched network against baselines of equal latency."""

from __future__ import annotations

from typing import Any

from nas.report.charts.guard import draw_guard
from nas.report.content import Figure, Note, Part, Section, Table
from nas.report.facts import Facts
from nas.report.figures import NONE, ms, percent, si
from nas.report.plot import both

HELPED = "the search helped"


def guard(facts: Facts) -> Section:
    """Accuracy per seed, and the verdict in plain words."""
    title = "Baseline guard: did the search help?"
    if facts.guard is None:
        return Section("guard", title, f"Left out: {_why(facts)}.")
    rows: list[dict[str, Any]] = facts.guard["rows"]
    verdict = str(facts.guard["verdict"])
    seeds = max(len(row["top1"]) for row in rows)
    lead = (
        "The searched network and baselines that take about as long or less when measured "
        f"({ms(facts.guard['latency_ms'])}), each trained {seeds} time{'s' if seeds != 1 else ''} "
        "with the same recipe and judged on the validation images."
    )
    parts: list[Part] = [Note(f"{verdict[:1].upper()}{verdict[1:]}.", grave=not verdict.startswith(HELPED))]
    if any(row["top1"] for row in rows):
        parts.append(Figure(both(lambda w: draw_guard(rows, w))))
    head = ("network", "measured latency", "parameters", "MACs", "mean top-1", "top-1 per seed")
    parts.append(
        Table("Guard as a table", head, tuple(_row(row) for row in rows), words=(0, 5), strong=0, folded=False)
    )
    return Section("guard", title, lead, tuple(parts))


def _why(facts: Facts) -> str:
    if facts.config.guard.seeds == 0:
        return "the guard was turned off (guard.seeds: 0)"
    if facts.budget_ms is None:
        return "without a latency budget there is no equal latency to compare at"
    if not facts.config.train:
        return "the run was told not to train"
    return "the baselines have not been trained yet"


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    tops = row["top1"]
    mean = percent(sum(tops) / len(tops), 2) if tops else NONE
    each = ", ".join(f"{100 * top1:.2f}" for top1 in tops) or "diverged"
    return str(row["name"]), ms(row["latency_ms"]), si(row["params"]), si(row["macs"]), mean, each
