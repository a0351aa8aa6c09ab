"""Numbers that experiment trackers draw, by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nas.callbacks.callback import TrialReport
from nas.callbacks.standing import Standing


def search_scalars(standing: Standing) -> dict[str, float]:
    """Counts of a search, finite ones, as ``search/…``; to be drawn over the number of candidates."""
    return finite({f"search/{name}": value for name, value in standing.counts().items()})


def trial_scalars(report: TrialReport) -> dict[str, float]:
    """Metrics of an epoch as ``winner/…`` or ``finalist-12/…``; to be drawn over the epoch."""
    return finite({f"{report.training}/{name}": value for name, value in report.metrics.items()})


def summary_scalars(summary: Mapping[str, Any]) -> dict[str, float]:
    """What the run ended with: score, latencies, test accuracy; of a tuning or a training, its plain numbers."""
    best = summary.get("best")
    if not isinstance(best, Mapping):
        return finite({f"end/{name}": value for name, value in summary.items() if type(value) in {int, float}})
    values = {
        "best/score": best["score"],
        "best/latency_predicted_ms": best["latency_ms"]["predicted"],
        "best/latency_measured_ms": best["latency_ms"]["measured"],
        "best/test_top1": best["top1"],
    }
    return finite({name: value for name, value in values.items() if value is not None})


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """The values that can be drawn, as floats."""
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def flat_settings(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings of a configuration by dotted name, as short text."""
    flat: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flat_settings(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(value)[:500]
    return flat
