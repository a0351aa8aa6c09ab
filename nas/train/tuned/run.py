"""A tuning in a folder of its own: one file of everything that happened, checkpoints, and the recipe at the end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import yaml

from nas.callbacks.callback import Callback, RunStart
from nas.callbacks.telling import telling
from nas.callbacks.watched_store import WatchedStore
from nas.narrator import Silent
from nas.store import RunStore, find_run
from nas.train.data import load_dataset
from nas.train.trials.engine import Placement
from nas.train.tuned.tuning import TRIAL, Tuning, knobs_of, tune_recipe

FILE_NAME = "tune.sqlite"
RECIPE = "recipe.yaml"
WORK = "work"  # checkpoints; gone when it has finished


class OtherTuning(ValueError):
    """The folder holds a tuning of something else."""


def tune_in(
    directory: Path,
    tuning: Tuning,
    placement: Placement,
    narrator: Silent,
    callbacks: Sequence[tuple[str, Callback]] = (),
) -> dict[str, Any]:
    """Tune, or go on with it; more trials than before are added to those that are done.

    Args:
        directory: gets ``tune.sqlite`` (every trial as it ends) and ``recipe.yaml``.
        tuning: what.
        placement: where it is trained; no outcome depends on it.
        narrator: told what is going on.
        callbacks: with their names; they hear of every trial once it is recorded.
    Returns: as ``tune_recipe``, and "outcomes": id, recipe, top1, epochs, dropped and failure of every trial.
    Raises: OtherTuning, InvalidDataset, TrainingDiverged, RunFileError, RayUnavailable.
    """
    dataset = load_dataset(tuning.data)
    knobs_of(tuning, dataset)
    with ExitStack() as stack:
        store = stack.enter_context(_open(directory, tuning, narrator))
        start = RunStart(directory, _identity(tuning), 0, resumed=bool(store.events()))
        dispatcher = stack.enter_context(telling(callbacks, start, narrator))
        stack.enter_context(_shared_ray(placement))
        watched = cast(RunStore, WatchedStore(store, dispatcher))
        result = tune_recipe(
            tuning, dataset, store=watched, folder=directory / WORK, placement=placement, narrator=narrator
        )
        dispatcher.end(result, "finished")
        events = sorted(store.events(TRIAL), key=lambda event: int(event["id"]))[: tuning.settings.trials]
    _write(directory / RECIPE, result)
    shutil.rmtree(directory / WORK, ignore_errors=True)
    names = ("id", "recipe", "top1", "dropped", "failure")
    outcomes = [{**{name: event[name] for name in names}, "epochs": len(event["curve"])} for event in events]
    return {**result, "outcomes": outcomes}


@contextmanager
def _open(directory: Path, tuning: Tuning, narrator: Silent) -> Iterator[RunStore]:
    if find_run(directory) is not None:
        raise OtherTuning(f"tune: {directory} holds a search; choose another folder")
    path, asked = directory / FILE_NAME, _identity(tuning)
    if not path.exists():
        with RunStore.create(path, {"tuning": asked}) as store:
            yield store
        return
    with RunStore.open(path, writable=True) as store:
        found = store.fact("tuning") or {}
        if other := [name for name in asked if found.get(name) != asked[name]]:
            raise OtherTuning(
                f"{directory}: holds a tuning of other settings ({', '.join(other)}); choose another --out"
            )
        narrator.say(f"going on in {directory}")
        yield store


def _identity(tuning: Tuning) -> dict[str, Any]:
    """All but the number of trials, as JSON gives it back."""
    facts = asdict(tuning) | {
        "arch": tuning.arch.to_dict(),
        "settings": tuning.settings.model_dump(mode="json", exclude={"trials"}),
    }
    found: dict[str, Any] = json.loads(json.dumps(facts))
    return found


@contextmanager
def _shared_ray(placement: Placement) -> Iterator[None]:
    """One Ray session for trials and comparison, where Ray is insisted on."""
    if placement.engine != "ray":
        yield
        return
    from nas.runners.ray_session import start_ray

    with start_ray(placement.address, placement.workers):
        yield


def _write(path: Path, result: dict[str, Any]) -> None:
    """The recipe as the configuration of a search has it."""
    difference = result["validation"]["difference"]
    what = "the given recipe: no trial was better" if not result["taken"] else "tuned"
    if difference:
        what += (
            f"; in fresh seeds {difference['value']:+.4f} validation top-1 to the given one ({difference['verdict']})"
        )
    text = f"# Written by `netwright tune`: {what}.\n" + yaml.safe_dump({"recipe": result["recipe"]}, sort_keys=False)
    draft = path.with_name(f".{path.name}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
