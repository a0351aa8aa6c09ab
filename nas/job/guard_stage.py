"""The baseline guard: did the search help? Winner and baselines of equal latency, trained equally, several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardware.measure import LayerModel, Measurement
from nas.gates import Gates
from nas.job.baselines import (
    Baseline,
    largest_feasible,
    random_feasible,
    scaled_mobilenets,
    scaled_resnets,
    strides_of,
)
from nas.job.finalists_stage import Finalist
from nas.job.guard_verdict import TOLERANCE, conclude
from nas.job.task import Task
from nas.narrator import Silent
from nas.store import RunStore
from nas.train.finalists import train_finalists
from nas.train.recipe import Recipe
from search_spaces.arch import Architecture

LADDER = 6  # sizes of a scaled family that are measured


@dataclass(frozen=True, slots=True)
class _Entry:
    id: int
    arch: Architecture


def guard(
    task: Task, winner: Finalist, gates: Gates, store: RunStore, folder: Path, narrator: Silent
) -> dict[str, Any] | None:
    """Train the winner and every baseline with the same recipe and seeds; returns what the report shows.

    Returns: None when it is turned off, no latency is known or none can be measured; else ``{"latency_ms", "rows":
    [{"name", "latency_ms", "params", "macs", "top1": [per seed]}], "verdict"}`` with validation accuracies, the
    winner's row first.
    """
    seeds = task.config.guard.seeds
    if seeds == 0 or gates.table is None:
        return None
    if not task.target.here:
        narrator.say("baseline guard: left out, equal latency cannot be measured on a device that is not here")
        return None
    done = store.events("guard")
    if done:
        return done[0]["result"]  # type: ignore[no-any-return]
    rows = _chosen_field(task, winner, gates, store, narrator)
    tops = _train(task, [Architecture.from_dict(row["arch"]) for row in rows], seeds, folder, narrator)
    rows = [{**row, "top1": top1} for row, top1 in zip(rows, tops, strict=True)]
    verdict = conclude(rows, len(task.dataset.validation))
    result = {"latency_ms": rows[0]["latency_ms"], "rows": rows, "verdict": verdict}
    store.record("guard", {"result": result})
    narrator.say(f"baseline guard: {result['verdict']}")
    return result


def _chosen_field(
    task: Task, winner: Finalist, gates: Gates, store: RunStore, narrator: Silent
) -> list[dict[str, Any]]:
    """Measured and chosen once: a resume trains the same networks, though a second measurement might choose others."""
    chosen = store.events("guard_field")
    if not chosen:
        store.record("guard_field", {"rows": _field(task, winner, gates, store, narrator)})
        chosen = store.events("guard_field")
    rows: list[dict[str, Any]] = chosen[0]["rows"]
    return rows


def _field(task: Task, winner: Finalist, gates: Gates, store: RunStore, narrator: Silent) -> list[dict[str, Any]]:
    """Winner and baselines with their measured latencies; a baseline is the family member closest to the winner's."""
    assert winner.predicted_ms is not None
    families: list[list[Baseline]] = [[Baseline("searched", winner.arch, winner.predicted_ms)]]
    for single in (
        random_feasible(task.space, gates, winner.arch, winner.predicted_ms, seed=task.config.seed),
        largest_feasible(store, winner.arch, winner.predicted_ms),
    ):
        if single is not None:
            families.append([single])
    strides = strides_of(winner.arch)
    for name, archs in (("scaled ResNet", scaled_resnets(strides)), ("scaled MobileNet", scaled_mobilenets(strides))):
        families.append(_ladder(name, archs, gates, winner.predicted_ms))
    flat = [member for family in families for member in family]
    models = [LayerModel.of(b.arch, task.input_shape, task.num_classes, b.name) for b in flat]
    found = task.place.measure(models, task.device, task.protocol(45.0), narrator)
    measured = dict(zip((id(b) for b in flat), found, strict=True))
    target = measured[id(families[0][0])].latency_ms
    chosen = [min(family, key=lambda b: _distance(measured[id(b)].latency_ms, target)) for family in families]
    return [_row(b, measured[id(b)], gates) for b in chosen]


def _ladder(name: str, archs: Sequence[Architecture], gates: Gates, latency_ms: float) -> list[Baseline]:
    """The members of a family whose predicted latency is closest to a given one."""
    assert gates.table is not None
    members = [Baseline(name, arch, gates.table.estimate(arch).mean_ms) for arch in archs]
    members.sort(key=lambda b: abs(np.log(b.predicted_ms / latency_ms)))
    return members[:LADDER]


def _distance(latency_ms: float, target_ms: float) -> tuple[bool, float]:
    """Order by closeness to the target; anything slower than the tolerance comes last."""
    return latency_ms > TOLERANCE * target_ms, abs(latency_ms - target_ms)


def _row(baseline: Baseline, measurement: Measurement, gates: Gates) -> dict[str, Any]:
    metrics = gates(baseline.arch)
    return {
        "name": baseline.name,
        "arch": baseline.arch.to_dict(),
        "latency_ms": measurement.latency_ms,
        "latency_high_ms": measurement.high_ms,
        "params": metrics["params"],
        "macs": metrics["macs"],
    }


def _train(task: Task, archs: Sequence[Architecture], seeds: int, folder: Path, narrator: Silent) -> list[list[float]]:
    """Validation accuracy after a full training, per architecture and seed."""
    recipe = Recipe.from_dict(task.config.recipe)
    entries = [_Entry(seed * len(archs) + i, arch) for seed in range(seeds) for i, arch in enumerate(archs)]
    epochs = 0

    def on_epoch(entry: int, report: object) -> None:
        nonlocal epochs
        epochs += 1
        narrator.update(f"baseline guard: {epochs} epochs trained", epochs / (recipe.epochs * len(entries)))

    results = train_finalists(
        entries,
        task.config.data,
        recipe,
        seed=task.config.seed + 1,
        max_epochs=recipe.epochs,
        storage_dir=folder,
        engine=task.config.engine.kind,
        address=task.config.engine.address,
        workers=task.config.engine.workers,
        device=task.config.train_device,
        drop=False,
        on_epoch=on_epoch,
    )
    narrator.done()
    finished = [result.top1 if not result.stopped_early else None for result in results]
    return [[top1 for top1 in finished[i :: len(archs)] if top1 is not None] for i in range(len(archs))]
