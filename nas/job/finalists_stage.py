"""The best candidates, measured whole on the device, then trained side by side; one wins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from hardware.device import Device
from hardware.measure import LayerModel, Measurement
from nas.algorithms.evolution import depth_niche
from nas.job.labels_stage import labelled
from nas.job.task import Task
from nas.narrator import Silent
from nas.objective import PREDICTOR
from nas.run import NothingFeasible
from nas.store import RunStore
from nas.train.finalists import train_finalists
from nas.train.fit import EpochReport, TrainingDiverged
from nas.train.race import FinalistResult
from nas.train.recipe import Recipe
from nas.verdict import judge
from search_spaces.arch import Architecture

ROUNDS = 3
TRIES = 3  # of a measurement that turns out void
MOST_RANKED = 200  # designs read back from the run file


@dataclass(frozen=True, slots=True)
class Finalist:
    """A candidate among the best, with what the search knew about it."""

    id: int
    arch: Architecture
    score: float
    predicted_ms: float | None


def choose_finalists(task: Task, store: RunStore, narrator: Silent) -> list[Finalist]:
    """The best candidates that keep the latency budget when measured whole, best score first; chosen once.

    Raises: NothingFeasible: no measured candidate is proven to keep the budget; the message says what was seen.
    """
    chosen = store.events("finalists")
    if not chosen:
        finalists = measure_finalists(task, store, narrator)
        store.record("finalists", {"ids": [finalist.id for finalist in finalists]})
        return finalists
    rows = {row["id"]: row for row in store.table()}
    return [_finalist(rows[i], store) for i in chosen[0]["ids"]]


def measure_finalists(task: Task, store: RunStore, narrator: Silent) -> list[Finalist]:
    """Measure the best candidates and return those within the budget, best score first.

    Rounds of ``finalists.measured`` candidates are measured until one round leaves enough within the budget; later
    rounds are chosen under a prediction corrected by what was measured. A sound measurement goes into the run file
    at once, before the void ones of its round are repeated, and is not made again. For a device elsewhere nothing is
    measured: the predictions stand.
    """
    budget = task.latency_budget_ms
    ranked = _ranked(task, store)
    if budget is None or not task.target.here:
        return ranked[: task.config.finalists.trained]
    measured = {event["id"]: event for event in store.events("measured")}
    for _ in range(ROUNDS):
        within = [f for f in ranked if f.id in measured and measured[f.id]["within"]]
        if len(within) >= task.config.finalists.trained:
            break
        correction = _correction(measured)
        upcoming = [f for f in ranked if f.id not in measured and _promising(f, correction, budget)]
        batch = upcoming[: task.config.finalists.measured]
        if not batch:
            break
        measured |= measure_candidates(task, batch, store, narrator)
    _tell_error(measured, narrator)
    within = [f for f in ranked if f.id in measured and measured[f.id]["within"]]
    narrator.say(f"finalists: {len(within)} of {len(measured)} measured networks keep {budget:g} ms")
    if not within:
        raise NothingFeasible(_explain([event["measurement"] for event in measured.values()], budget))
    return within[: task.config.finalists.trained]


def measure_candidates(
    task: Task, candidates: Sequence[Finalist], store: RunStore, narrator: Silent
) -> dict[int, dict[str, Any]]:
    """Measure candidates on the device and the further ones that are here, and record that; events by id."""
    budget, measured = task.latency_budget_ms, dict[int, dict[str, Any]]()
    assert budget is not None
    waiting: dict[int, dict[str, Any]] = {}
    for finalist, measurement in _measure(task, candidates, task.device, narrator):
        event = {
            "id": finalist.id,
            "predicted_ms": finalist.predicted_ms,
            "within": judge(measurement, budget) == "kept",
            "measurement": measurement.to_dict(),
        }
        measured[finalist.id] = event
        if task.further and event["within"]:
            waiting[finalist.id] = event
        else:
            store.record("measured", event)
    _on_further(task, [finalist for finalist in candidates if finalist.id in waiting], waiting, narrator)
    for event in waiting.values():
        store.record("measured", event)
    return measured


def _on_further(task: Task, finalists: Sequence[Finalist], events: dict[int, dict[str, Any]], narrator: Silent) -> None:
    """Add to the events whether networks keep the budgets of the further devices that are here, by measurement."""
    for further in task.further:
        if not further.target.here:
            continue
        left = [finalist for finalist in finalists if events[finalist.id]["within"]]
        for finalist, measurement in _measure(task, left, further.target.device, narrator):
            event, verdict = events[finalist.id], judge(measurement, further.budget_ms)
            event["within"] = verdict == "kept"
            found = {"verdict": verdict, "measurement": measurement.to_dict()}
            event["also"] = {**event.get("also", {}), further.target.text: found}


def _sound(measured: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in measured.values() if event["measurement"]["verdict"] != "void"]


def _tell_error(measured: dict[int, dict[str, Any]], narrator: Silent) -> None:
    """Say how far off the predictions were; later rounds were held against corrected ones."""
    sound = _sound(measured)
    if not sound:
        return
    ratios = sorted(event["measurement"]["latency_ms"] / event["predicted_ms"] for event in sound)
    narrator.say(
        f"finalists: measured latencies are {ratios[0]:.2f} to {ratios[-1]:.2f} times the predicted ones "
        f"(median {ratios[len(ratios) // 2]:.2f}, {len(ratios)} networks)"
    )


def _explain(measurements: Sequence[dict[str, Any]], budget: float) -> str:
    """Why no finalist is left: too slow, or a machine too busy to tell."""
    said = f"finalists: none of {len(measurements)} measured networks keeps {budget:g} ms"
    sound = [measurement for measurement in measurements if measurement["verdict"] != "void"]
    if not sound:
        why = measurements[0]["reason"] if measurements else "no candidate is predicted to"
        return f"{said}: no measurement can be believed ({why}); free the machine and resume the run"
    fastest = min(measurement["high_ms"] for measurement in sound)
    return f"{said}; the fastest needs up to {fastest:.4g} ms. Renew the table with netwright profile, or allow more"


def _ranked(task: Task, store: RunStore) -> list[Finalist]:
    """Candidates in the order in which they deserve to be finalists.

    By score; when the search kept niches of depth, the best of evenly spaced depths take turns, so that the short
    trainings decide between shallow and deep, which the score cannot. When the score is a predictor's, networks that
    it expects to be good and networks that were seen to be good take turns: what looks best to a predictor is partly
    its error.
    """
    rows = sorted(store.table(), key=lambda row: (-row["score"], row["id"]))
    settings = task.config.search
    if settings.algorithm == "evolution" and settings.niches == "depth":
        rows = _take_turns(rows, task.config.finalists.trained)
    if settings.score == PREDICTOR:
        seen = {one.arch.digest: one.label for one in labelled(task, store) if one.label is not None}
        rows = _expected_and_seen(rows, seen)
    return [_finalist(row, store) for row in rows[:MOST_RANKED]]


def _finalist(row: dict[str, Any], store: RunStore) -> Finalist:
    return Finalist(row["id"], store.result(row["id"]).candidate.arch, row["score"], row["latency_ms"])


def _take_turns(rows: Sequence[dict[str, Any]], places: int) -> list[dict[str, Any]]:
    """The best row of each of so many evenly spaced depths, then the second best of each, and so on."""
    niches: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        niches.setdefault(depth_niche(row["convs"]), []).append(row)
    depths = sorted(niches)
    at = np.unique(np.linspace(0, len(depths) - 1, places).round().astype(int))
    turns = zip_longest(*(niches[depths[i]] for i in at))
    return [row for turn in turns for row in turn if row is not None]


def _expected_and_seen(rows: Sequence[dict[str, Any]], seen: Mapping[str, float]) -> list[dict[str, Any]]:
    """The best by score and the best by label in turn, each row once.

    Args:
        rows: by score, the best first.
        seen: label of each trained network by its digest.
    """
    by_label = sorted((row for row in rows if row["digest"] in seen), key=lambda row: (-seen[row["digest"]], row["id"]))
    turns = [row for turn in zip_longest(rows, by_label) for row in turn if row is not None]
    return list({row["id"]: row for row in turns}.values())


def _correction(measured: dict[int, dict[str, Any]]) -> float:
    """Measured over predicted latency of what was measured so far, void figures apart; 1 before."""
    ratios = sorted(event["measurement"]["high_ms"] / event["predicted_ms"] for event in _sound(measured))
    return float(ratios[len(ratios) // 2]) if ratios else 1.0


def _promising(finalist: Finalist, correction: float, budget: float) -> bool:
    return finalist.predicted_ms is not None and finalist.predicted_ms * correction <= budget


def _measure(
    task: Task, finalists: Sequence[Finalist], device: Device, narrator: Silent
) -> Iterator[tuple[Finalist, Measurement]]:
    """Measured whole, side by side, and handed over as soon as the measurement is sound.

    Those whose measurement is void are measured once more, a busy moment is not their fault; what is void in the end
    is handed over as it is.
    """
    waiting = list(finalists)
    for left in reversed(range(TRIES)):
        models = [LayerModel.of(f.arch, task.input_shape, task.num_classes, f"candidate {f.id}") for f in waiting]
        protocol = task.protocol(max(30.0, 1.5 * len(waiting)))
        measured = list(zip(waiting, task.place.measure(models, device, protocol, narrator), strict=True))
        yield from ((f, found) for f, found in measured if found.verdict != "void" or not left)
        waiting = [f for f, found in measured if found.verdict == "void"]
        if not waiting:
            return


def race(task: Task, finalists: Sequence[Finalist], store: RunStore, folder: Path, narrator: Silent) -> Finalist:
    """Train the finalists side by side and return the most accurate on the validation images.

    With one finalist there is nothing to decide. The race can be killed and goes on when called again.
    """
    done = store.events("winner")
    if done:
        return next(f for f in finalists if f.id == done[0]["id"])
    if len(finalists) == 1:
        winner = finalists[0]
    else:
        results = _train(task, finalists, folder, narrator)
        for result in results:
            store.record("finalist", {**asdict(result), "curve": [asdict(report) for report in result.curve]})
        winner = next(f for f in finalists if f.id == best_of(results).id)
    store.record("winner", {"id": winner.id, "arch": winner.arch.to_dict(), "score": winner.score})
    narrator.say(f"winner: candidate {winner.id}")
    return winner


def best_of(results: Sequence[FinalistResult]) -> FinalistResult:
    """The most accurate of those that went furthest.

    Raises: TrainingDiverged: every training broke.
    """
    sound = [result for result in results if result.failure is None]
    if not sound:
        raise TrainingDiverged(f"finalists: all {len(results)} trainings diverged; {results[0].failure}")
    return max(sound, key=lambda result: (result.epochs, result.top1 or 0.0))


def _train(task: Task, finalists: Sequence[Finalist], folder: Path, narrator: Silent) -> list[FinalistResult]:
    epochs = task.config.finalists.epochs

    def on_epoch(candidate: int, report: EpochReport) -> None:
        narrator.update(f"finalists: candidate {candidate}, {report.epoch} epochs, top-1 {report.validation_top1:.3f}")

    results = train_finalists(
        finalists,
        task.config.data,
        Recipe.from_dict(task.config.recipe),
        seed=task.config.seed,
        max_epochs=epochs,
        storage_dir=folder,
        engine=task.config.engine.kind,
        address=task.config.engine.address,
        workers=task.config.engine.workers,
        device=task.config.train_device,
        on_epoch=on_epoch,
    )
    narrator.done()
    return results
