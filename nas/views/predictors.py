"""How far the predictions of a run can be trusted: of latency, and of accuracy where one was learnt."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import asdict
from typing import Any

import numpy as np

from nas.run import Run
from nas.views.drawing import stored_table, task_of
from nas.views.plain import as_view
from search_spaces import SPACES
from search_spaces.arch import Architecture

FOLDS, FEWEST, KEPT = 5, 8, 16
_LEFT_OUT: OrderedDict[tuple[str, int], dict[str, Any]] = OrderedDict()
_LOCK = threading.Lock()


def predictors(run: Run) -> dict[str, Any]:
    """Parity and calibration.

    Returns: "latency": None without a latency table, else "pairs" (predicted and measured ms of the table's own
        networks), "finalists" (the same of this run's, with "id", "upper" and "low", "high" of the measurement),
        "held_out", "confidence", "upper_factor", "covered" (share of the finalists below their upper bound);
        "accuracy": None without labels, else "labels" (with round, top-1, epochs, failure), "judged" (as the run
        recorded it), "parity" (points with "predicted", "std", "actual", each network left out in turn), "calibration"
        ("stated" and "seen" shares), "note"; JSON-ready.
    """
    return as_view({"latency": _latency(run), "accuracy": _accuracy(run)})


def _latency(run: Run) -> dict[str, Any] | None:
    table = stored_table(run)
    measured = run.events("measured")
    if table is None and not measured:
        return None
    factor = None if table is None else table.calibration.upper_factor
    points = []
    for event in measured:
        found, predicted = event["measurement"], event["predicted_ms"]
        if predicted is not None:
            upper = None if factor is None else predicted * factor
            figures = {name: found[f"{name}_ms"] for name in ("low", "high")}
            points.append(
                {"id": event["id"], "predicted": predicted, "upper": upper, "actual": found["latency_ms"], **figures}
            )
    known = [point for point in points if point["upper"] is not None]
    return {
        "device": run.config.device,
        "pairs": [] if table is None else [{"predicted": p, "actual": m} for p, m in table.measured],
        "finalists": points,
        "held_out": None if table is None else asdict(table.calibration.held_out),
        "confidence": None if table is None else table.calibration.confidence,
        "upper_factor": factor,
        "covered": sum(p["actual"] <= p["upper"] for p in known) / len(known) if known else None,
    }


def _accuracy(run: Run) -> dict[str, Any] | None:
    events = sorted(run.events("label"), key=lambda event: event["id"])
    if not events:
        return None
    judged = run.events("predictor")
    labels = [{key: event.get(key) for key in ("id", "round", "top1", "epochs", "failure")} for event in events]
    sound = [event for event in events if event["top1"] is not None]
    return {"labels": labels, "judged": judged[-1] if judged else None, **_left_out(run, sound)}


def _left_out(run: Run, events: list[dict[str, Any]]) -> dict[str, Any]:
    """Predictions of networks that the model was not fitted to; kept in memory, as the fits take seconds."""
    key = (str(run.store.path), len(events))
    if (known := _LEFT_OUT.get(key)) is not None:  # without waiting for another run's fits
        return known
    with _LOCK:
        if key not in _LEFT_OUT:
            _LEFT_OUT[key] = _fit_left_out(run, events)
            while len(_LEFT_OUT) > KEPT:
                _LEFT_OUT.popitem(last=False)
        return _LEFT_OUT[key]


def _fit_left_out(run: Run, events: list[dict[str, Any]]) -> dict[str, Any]:
    nothing: dict[str, Any] = {"parity": [], "calibration": []}
    shape, classes = task_of(run)
    name = None if shape is None else run.config.space_name(shape[1])
    if shape is None or classes is None or name is None or name not in SPACES:
        return nothing | {"note": "parity is shown for the spaces that come with netwright"}
    tops = np.array([event["top1"] for event in events])
    if len(events) < FEWEST or np.ptp(tops) == 0:
        return nothing | {"note": f"{len(events)} labels; parity needs {FEWEST} that differ"}
    from nas.accuracy_model import AccuracyModel
    from predictors.evaluation.folds import repeated_folds

    archs = [Architecture.from_dict(event["arch"]) for event in events]
    model = AccuracyModel(SPACES[name], shape, classes, seed=run.config.seed)
    mean, std = np.full(len(tops), tops.mean()), np.zeros(len(tops))
    for train, test in repeated_folds(len(tops), min(FOLDS, len(tops) // 2), 1, run.config.seed):
        if np.ptp(tops[train]) > 0:
            model.fit([archs[i] for i in train], tops[train].tolist())
            mean[test], std[test] = model.predict([archs[i] for i in test])
    points = [
        {"id": event["id"], "predicted": m, "std": s, "actual": y}
        for event, m, s, y in zip(events, mean, std, tops, strict=True)
    ]
    return {"parity": points, "calibration": _calibration(mean, std, tops), "note": None}


def _calibration(mean: Any, std: Any, tops: Any) -> list[dict[str, float]]:
    """How often intervals of a stated share hold the label, taking the errors as normal."""
    from statistics import NormalDist

    z = np.abs(tops - mean) / np.maximum(std, 1e-9)
    levels = np.arange(0.1, 1.0, 0.1)
    return [
        {"stated": float(level), "seen": float((z <= NormalDist().inv_cdf(0.5 + level / 2)).mean())} for level in levels
    ]
