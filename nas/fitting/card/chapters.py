"""The sections of the card: how well, how far off, how sure, and under which conditions."""

from __future__ import annotations

from typing import Any

from nas.fitting.card.lines import draw_calibration, draw_curve
from nas.fitting.card.parity import draw_parity
from nas.fitting.words import of
from nas.report.charts.bars import Bar, draw_bars
from nas.report.content import Figure, Headline, KeyFigure, Note, Part, Section, Table
from nas.report.figures import digits, percent, seconds
from nas.report.plot import both

Facts = dict[str, Any]


def headline(facts: Facts) -> Headline:
    """The first screen."""
    verdict = str(facts["verdict"])
    better = verdict.startswith("ranks better")
    state: Any = "kept" if better else "missed" if "worse" in verdict else "open"
    words = (
        "Worth its labels" if better and facts["baseline"] else "Better than chance" if better else "Not worth it yet"
    )
    if "worse" in verdict:
        words = "Do not use it"
    base = facts["baseline"]
    figures = [
        KeyFigure("Kendall's tau", digits(facts["kendall"]), _between(facts["kendall_interval"])),
        KeyFigure(f"{base} alone", digits(facts["baseline_kendall"]), _between(facts["baseline_kendall_interval"]))
        if base
        else KeyFigure("baseline", "none", "the table has no cost"),
        KeyFigure("RMSE", digits(facts["rmse"]), f"unit of {facts['target']}"),
        KeyFigure("regret", digits(facts["top_k_regret"]) if facts["top_k_regret"] is not None else "–",
                  f"of the best {facts['top_k']} predictions"),
    ]  # fmt: skip
    if facts["coverage"] is not None:
        figures.append(
            KeyFigure("coverage", percent(facts["coverage"]), f"of intervals that state {facts['stated_coverage']:.0%}")
        )
    sentences = (f"{verdict[:1].upper()}{verdict[1:]}.", f"{facts['networks']} networks in {facts['evaluated']}.")
    return Headline(state, words, sentences, tuple(figures))


def sections(facts: Facts, plots: dict[str, Any]) -> tuple[Section, ...]:
    """All of them, in order."""
    return (
        ranks(facts),
        parity(facts, plots["parity"]),
        errors(facts, plots["errors"]),
        calibration(plots["calibration"]),
        curve(facts),
        choice(facts),
        conditions(facts),
    )


def ranks(facts: Facts) -> Section:
    """Tau beside the baseline and the ceiling."""
    named = [
        ("predictor", "kendall", True),
        (f"{facts['baseline']} alone", "baseline_kendall", False),
        ("gain", "kendall_gain", False),
        ("predictor at equal cost", "tau_in_cost_bins", False),
        (f"ceiling from noise ({facts['repeated_networks']} networks)", "noise_ceiling", False),
    ]
    bars = [
        Bar(name, facts[key], facts[f"{key}_interval"][0], facts[f"{key}_interval"][1], of(facts, key), strong)
        for name, key, strong in named
        if facts[key] is not None and None not in facts[f"{key}_interval"]
    ]
    lead = "Kendall's tau on networks left out of the fit: 1 is the right order, 0 none, with 95 % intervals."
    parts: list[Part] = [Note(note) for note in facts["warnings"]]
    if bars:
        parts.append(Figure(both(lambda w: draw_bars(bars, "Kendall's tau", "Rank correlations with intervals", w))))
    parts += [
        Table("How it was counted", ("", ""), tuple((str(i), n) for i, n in enumerate(facts["notes"], 1)), (0, 1))
    ]
    return Section("ranks", "Order", lead, tuple(parts))


def parity(facts: Facts, plot: dict[str, Any]) -> Section:
    """Predicted against true."""
    lead = "Every network as predicted by a model that had not seen it. Bars are the stated 90 % intervals."
    some = f" {plot['drawn']} of {plot['rows']} rows are drawn." if plot["drawn"] < plot["rows"] else ""
    chart = Figure(both(lambda w: draw_parity(plot, facts["target"], w)), f"First repeat; dashed: right.{some}")
    return Section("parity", "Parity", lead, (chart,))


def errors(facts: Facts, plot: dict[str, Any]) -> Section:
    """Where predictions are too high or too low."""
    title, rows = "Error by choice", plot["rows"]
    if not rows:
        return Section("errors", title, "Left out: no choice is shared by several networks.")
    bars = [
        Bar(f"{row['choice']} = {row['level']}", row["bias"], *_within_two(row), _bias(row), row["suspect"])
        for row in rows
    ]
    suspect = sum(row["suspect"] for row in rows)
    lead = (
        f"Mean of predicted less true {facts['target']} over the networks that share a choice: the {len(rows)} "
        f"largest of {plot['looked_at']}, in standard errors. "
    )
    lead += f"{suspect} are more than chance gives." if suspect else "None is more than chance gives among so many."
    caption = "Bars: two standard errors to each side."
    figure = Figure(both(lambda w: draw_bars(bars, f"bias, unit of {facts['target']}", "Bias by choice", w)), caption)
    head = ("choice", "networks", "bias", "RMSE", "in standard errors")
    table = tuple(
        (f"{r['choice']} = {r['level']}", str(r["networks"]), digits(r["bias"]), digits(r["rmse"]), digits(r["errors"]))
        for r in rows
    )
    return Section("errors", title, lead, (figure, Table("Errors as a table", head, table)))


def _within_two(row: dict[str, Any]) -> tuple[float, float]:
    half = 2 * abs(row["bias"] / row["errors"]) if row["errors"] else 0.0
    return row["bias"] - half, row["bias"] + half


def _bias(row: dict[str, Any]) -> str:
    return f"{digits(row['bias'])}, {row['networks']} rows"


def calibration(rows: list[dict[str, Any]]) -> Section:
    """Whether intervals hold what they state."""
    title = "Calibration"
    sound = [row for row in rows if None not in row["found"].values()]
    if not sound:
        return Section("calibration", title, "Left out: too few labels to state an interval.")
    lead = "How often the intervals of networks left out held the label, against how often they were said to."
    table = tuple(
        (percent(row["stated"], 0), percent(row["found"]["value"]), _percents(row["found"]), digits(row["width"]))
        for row in sound
    )
    parts = (
        Figure(both(lambda w: draw_calibration(sound, w)), "Below the dashed line intervals are too narrow."),
        Table("Calibration as a table", ("stated", "observed", "95 % interval", "mean width"), table),
    )
    return Section("calibration", title, lead, parts)


def _percents(found: dict[str, float]) -> str:
    return f"{percent(found['low'])} to {percent(found['high'])}"


def curve(facts: Facts) -> Section:
    """What more labels would bring."""
    title = "Learning curve"
    points = [point for point in facts["learning_curve"] if None not in point["kendall"].values()]
    if len(points) < 2:
        return Section("curve", title, "Left out: not asked for (--learning-curve), or too few labels.")
    lead = "Learned from ever more labels, judged on the same networks. Where it still rises, more labels will help."
    beside = f"Grey: {facts['baseline']} alone." if facts["baseline"] else ""
    return Section("curve", title, lead, (Figure(both(lambda w: draw_curve(points, w)), beside),))


def choice(facts: Facts) -> Section:
    """What was chosen, and from what."""
    lead = f"Saved: {'; '.join(facts['members'])}."
    folds = tuple((f"fold {i}", name) for i, name in enumerate(facts["chosen_in_folds"], 1))
    board = tuple((row["recipe"], f"{row['kendall']:.3f}", seconds(row["seconds"])) for row in facts["leaderboard"])
    parts: list[Part] = [Table("Chosen in each fold", ("", ""), folds, (0, 1))]
    if board:
        title = "All that was tried on all rows; optimistic, because the best is chosen by these figures"
        parts.insert(0, Table(title, ("recipe", "tau", "time"), board, strong=0, folded=len(board) > 8))
    return Section("choice", "Choice", lead, tuple(parts))


def conditions(facts: Facts) -> Section:
    """Columns, seed, versions."""
    dropped = tuple(facts["dropped"].items())
    rows = {
        "table": facts["table"] or "a DataFrame",
        "target": facts["target"] + (", lower is better" if facts["lower_is_better"] else ""),
        "rows": f"{facts['rows']} of {facts['networks']} networks",
        "columns used": ", ".join(facts["features"]),
        "folds": f"{facts['folds']}, drawn {facts['repeats']} times" if facts["repeats"] > 1 else str(facts["folds"]),
        "seed": str(facts["seed"]),
        "time limit of a choice": seconds(facts["time_limit"]),
        "time": seconds(facts["seconds"]),
        "versions": ", ".join(f"{name} {number}" for name, number in facts["versions"].items()),
    }
    parts: list[Part] = [Table("Conditions", ("", ""), tuple(rows.items()), (0, 1), folded=False)]
    if dropped:
        parts.insert(0, Table("Columns left out", ("column", "why"), dropped, (0, 1), folded=False))
    return Section("conditions", "Conditions", "What the figures above hold for.", tuple(parts))


def _between(ends: list[float | None] | None) -> str:
    if not ends or ends[0] is None or ends[1] is None:
        return ""
    return f"{digits(ends[0])} to {digits(ends[1])} (95 %)"
