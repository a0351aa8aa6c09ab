"""A fit in words and as a short table, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from predictors.evaluation import Evaluation

SMALL = 0.05  # gains of tau that hardly matter
NAMED = 8  # columns
FEW_REPEATED = 5  # networks from which noise can hardly be told


def verdict_of(found: Evaluation, has_costs: bool) -> str:
    """Whether the predictor is worth its labels, as far as the intervals tell."""
    if not found.kendall.low > 0:
        return f"not shown to rank better than chance: tau {_said(found.kendall)} on {found.networks} networks"
    if found.baseline is None or found.kendall_gain is None:
        return f"ranks better than chance: tau {_said(found.kendall)}; the table has no cost to compare with"
    gain = found.kendall_gain
    name = f"{found.baseline} alone" if has_costs else f"the best single quantity ({found.baseline})"
    if gain.low > 0:
        return f"ranks better than {name} by {_said(gain)}"
    if gain.high < 0:
        return f"ranks worse than {name} by {-gain.value:.2f} [{-gain.high:.2f}, {-gain.low:.2f}]: do not use it"
    if gain.high < SMALL:
        return f"no better than {name} (difference {_said(gain)})"
    return f"not shown to rank better than {name}: difference {_said(gain)} on {found.networks} networks"


def _said(found: Any) -> str:
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def table_of(facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Rows of (what, value with its 95 % interval, what it stands against)."""
    base, rows = facts["baseline"], []
    against = f"{base}: {of(facts, 'baseline_kendall')}" if base else "no cost to compare with"
    rows.append(("Kendall's tau", of(facts, "kendall"), against))
    if base and facts["kendall_gain"] is not None:
        rows.append(("  gain over it", of(facts, "kendall_gain"), ""))
    if facts["noise_ceiling"] is not None:
        repeated = facts["repeated_networks"]
        few = "only " if repeated < FEW_REPEATED else ""
        said = f"what noise leaves, as seen on {few}{repeated} networks with several labels"
        rows.append(("  noise ceiling", of(facts, "noise_ceiling"), said))
    if facts["tau_in_cost_bins"] is not None:
        rows.append(("  at equal cost", of(facts, "tau_in_cost_bins"), f"inside five bins of {base}"))
    rows.append(("Spearman's rho", of(facts, "spearman"), ""))
    rows.append(("RMSE", of(facts, "rmse"), f"unit of {facts['target']}"))
    regret = f"the best of the {facts['top_k']} {_best(facts)} predictions against the best network"
    rows.append(("regret", of(facts, "top_k_regret"), regret))
    if facts["coverage"] is not None:
        rows.append(("coverage", of(facts, "coverage"), f"of intervals that state {facts['stated_coverage']:.0%}"))
    return rows


def lines_of(facts: Mapping[str, Any]) -> list[str]:
    """What stands above and below the table."""
    same = "" if facts["rows"] == facts["networks"] else f" of {facts['networks']} networks"
    lines = [
        f"verdict    {facts['verdict']}",
        f"model      {', '.join(facts['members'])}",
        f"evaluated  {facts['rows']} rows{same} in {facts['evaluated']}",
    ]
    if facts["dropped"]:
        names = [f"{name} ({reason.partition(';')[0]})" for name, reason in facts["dropped"].items()]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        lines.append(f"left out   {'; '.join(names[:NAMED])}{more}")
    for point in facts["learning_curve"]:
        tau = point["kendall"]
        lines.append(f"{point['size']:>6} labels: tau {tau['value']:.3f} [{tau['low']:.3f}, {tau['high']:.3f}]")
    return lines


def _best(facts: Mapping[str, Any]) -> str:
    return "lowest" if facts["lower_is_better"] else "highest"


def of(facts: Mapping[str, Any], name: str) -> str:
    """A statistic with its interval."""
    value, interval = facts[name], facts.get(f"{name}_interval")
    if value is None:
        return "not defined"
    if not interval or interval[0] is None:
        return f"{value:.4g}"
    return f"{value:.4g} [{interval[0]:.4g}, {interval[1]:.4g}]"
