"""Before a search by predictor: the run trains a few networks, chosen round by round, and learns from them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nas.accuracy_model import AccuracyModel
from nas.gates import Gates
from nas.guided.final_scale import final_accuracies
from nas.guided.guided_search import FEWEST, GuidedSearch, Labelled, Plan
from nas.job.predictor_verdict import judge_predictor
from nas.job.task import Task
from nas.narrator import Silent
from nas.objective import PREDICTOR, Objective
from nas.run import NothingFeasible
from nas.store import RunStore
from nas.train.finalists import train_finalists
from nas.train.fit import EpochReport
from nas.train.race import FinalistResult
from nas.train.recipe import Recipe
from search_spaces.arch import Architecture


class LabelsFailed(RuntimeError):
    """The trained networks teach nothing: too few trainings went well, or all reached the same accuracy."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A network to train; its id is its place among all of the stage."""

    id: int
    arch: Architecture


def train_labels(task: Task, gates: Gates, store: RunStore, folder: Path, narrator: Silent) -> None:
    """Train networks in rounds until there are as many as asked for; goes on from wherever the run file stands.

    A round is chosen once and recorded, then trained, then its labels are recorded; a half-done round goes on from its
    checkpoints. Only training and validation images are used.

    Raises: NothingFeasible: no network keeps the limits; LabelsFailed.
    """
    if task.config.search.score != PREDICTOR or store.events("predictor"):
        return
    settings = task.config.predictor
    search = _search(task, gates)
    rounds = [[Architecture.from_dict(arch) for arch in event["archs"]] for event in store.events("label_round")]
    at = first = 0
    while at < len(rounds) or first < settings.labels:
        if at == len(rounds):
            archs = _choose(search, labelled(task, store), at, settings.labels - first, narrator)
            if not archs:
                break
            store.record("label_round", {"round": at, "archs": [arch.to_dict() for arch in archs]})
            rounds.append(archs)
        entries = [_Entry(first + i, arch) for i, arch in enumerate(rounds[at])]
        _train_round(task, store, entries, at, folder, narrator)
        first += len(entries)
        at += 1
    _conclude(task, store, narrator)


def predicted_objective(task: Task, store: RunStore) -> Objective:
    """The task's objective with what the run has learnt; that of other scores unchanged."""
    if task.config.search.score != PREDICTOR:
        return task.objective
    sound = [one for one in labelled(task, store) if one.label is not None]
    labels = {
        "space": task.space_name,
        "num_classes": task.num_classes,
        "seed": task.config.seed,
        "kappa": task.config.predictor.kappa,
        "archs": [one.arch.to_dict() for one in sound],
        "labels": [one.label for one in sound],
    }
    return replace(task.objective, labels=labels)


def labelled(task: Task, store: RunStore) -> list[Labelled]:
    """The trained networks of the run with their labels, in order."""
    events = sorted(store.events("label"), key=lambda event: event["id"])
    curves = [
        [report["validation_top1"] for report in event["curve"]] if event["failure"] is None else [] for event in events
    ]
    labels = final_accuracies(curves, task.config.predictor.epochs)
    return [Labelled(Architecture.from_dict(event["arch"]), label) for event, label in zip(events, labels, strict=True)]


def _search(task: Task, gates: Gates) -> GuidedSearch:
    s = task.config.predictor
    plan = Plan(s.initial, s.batch, s.proposals, s.acquisition, s.kappa, s.explore)
    model = _model(task)
    return GuidedSearch(task.space, gates, plan, lambda: model, seed=task.config.seed)


def _model(task: Task) -> AccuracyModel:
    return AccuracyModel(task.space, task.input_shape, task.num_classes, seed=task.config.seed)


def _choose(
    search: GuidedSearch, told: Sequence[Labelled], number: int, wanted: int, narrator: Silent
) -> list[Architecture]:
    narrator.update(f"labels: choosing the networks of round {number + 1}")
    started = time.monotonic()
    archs = search.ask(told)[:wanted]
    narrator.done()
    if not archs and not told:
        raise NothingFeasible("labels: no network keeps the limits; loosen one")
    how = "far apart" if not told else f"by the predictor, in {time.monotonic() - started:.1f} s"
    narrator.say(
        f"labels: round {number + 1}, {len(archs)} networks chosen {how}"
        if archs
        else f"labels: the space has no further network within the limits; {len(told)} it is"
    )
    return archs


def _train_round(
    task: Task, store: RunStore, entries: Sequence[_Entry], number: int, folder: Path, narrator: Silent
) -> None:
    """Train what has no label yet, all of a round together; their labels are recorded when all are done."""
    known = {event["id"] for event in store.events("label")}
    if all(entry.id in known for entry in entries):
        return
    settings, ended = task.config.predictor, set[int]()

    def on_epoch(network: int, report: EpochReport) -> None:
        narrator.update(
            f"labels: network {network + 1} of {settings.labels}, epoch {report.epoch} of {settings.epochs}, "
            f"top-1 {report.validation_top1:.3f}",
            min(1.0, (entries[0].id + len(ended)) / settings.labels),
        )

    results = train_finalists(
        entries,
        task.config.data,
        Recipe.from_dict(task.config.recipe),
        seed=task.config.seed,
        max_epochs=settings.epochs,
        storage_dir=folder / f"round-{number}",
        engine=task.config.engine.kind,
        address=task.config.engine.address,
        workers=task.config.engine.workers,
        device=task.config.train_device,
        drop=settings.dropping,
        on_result=lambda result: ended.add(result.id),
        on_epoch=on_epoch,
    )
    narrator.done()
    for entry, result in zip(entries, results, strict=True):
        if entry.id not in known:
            curve = [asdict(report) for report in result.curve]
            store.record("label", {**asdict(result), "curve": curve, "round": number, "arch": entry.arch.to_dict()})
    _tell_round(results, number, narrator)


def _tell_round(results: Sequence[FinalistResult], number: int, narrator: Silent) -> None:
    tops = sorted(result.top1 for result in results if result.top1 is not None)
    for result in results:
        if result.failure is not None:
            narrator.say(f"labels: network {result.id + 1} has none: {result.failure}")
    if tops:
        narrator.say(
            f"labels: round {number + 1}, validation top-1 {tops[0]:.3f} to {tops[-1]:.3f} "
            f"(median {tops[len(tops) // 2]:.3f}, {len(tops)} networks)"
        )


def _conclude(task: Task, store: RunStore, narrator: Silent) -> None:
    """Judge the predictor by the networks that it was not fitted to, and record that."""
    sound = [one for one in labelled(task, store) if one.label is not None]
    labels = [one.label for one in sound if one.label is not None]
    if len(labels) < FEWEST:
        failures = [event["failure"] for event in store.events("label") if event["failure"]]
        why = f"; the last: {failures[-1]}" if failures else ""
        raise LabelsFailed(
            f"labels: only {len(labels)} networks have one, expected at least {FEWEST}{why}; lower the learning rate, "
            "or loosen the limits"
        )
    if min(labels) == max(labels):
        raise LabelsFailed(
            f"labels: all {len(labels)} networks reach {labels[0]:.4f} on the validation images; there is nothing to "
            "learn from. Raise predictor.epochs"
        )
    narrator.update("predictor: judging it by networks left out")
    found = judge_predictor(_model(task), [one.arch for one in sound], labels, seed=task.config.seed)
    narrator.done()
    store.record("predictor", found)
    narrator.say(f"predictor: {found['sentence']}")
