"""Tune a recipe for one network: trials, then the best recipe and the given one trained equally in fresh seeds."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas.narrator import Silent
from nas.store import RunStore
from nas.train.augment import fitting_augment
from nas.train.data import Dataset
from nas.train.entrant import build_network
from nas.train.finalists import GRACE_STEPS
from nas.train.fit import TrainingDiverged
from nas.train.optimiser import has_attention
from nas.train.recipe import Recipe
from nas.train.trials.engine import Placement, Work
from nas.train.trials.source import FixedTrials
from nas.train.trials.trial import Outcome, Trial
from nas.train.tuned.bounds import Knob, bounds_around, read_bounds
from nas.train.tuned.comparison import interval_of
from nas.train.tuned.judgement import judge, paired_trials, training_seed
from nas.train.tuned.proposals import RecipeProposals, rungs_of
from nas.train.tuned.recorded import train_recorded
from nas.train.tuned.settings import TuneSettings
from search_spaces.arch import Architecture

TRIAL, COMPARED, TUNED = "tune_trial", "tune_compared", "tuned"  # kinds of events


@dataclass(frozen=True)
class Tuning:
    """What is tuned.

    Attributes:
        arch: the network.
        data: as for ``load_dataset``.
        recipe: the given one, which all others are held against.
        settings: how.
        seed: of proposals, weights, order and augmentation.
        device: "cpu" or "cuda".
        test: whether the networks of the last comparison are held against the test images.
    """

    arch: Architecture
    data: str
    recipe: Recipe
    settings: TuneSettings
    seed: int
    device: str = "cpu"
    test: bool = False


def tune_recipe(
    tuning: Tuning, dataset: Dataset, *, store: RunStore, folder: Path, placement: Placement, narrator: Silent
) -> dict[str, Any]:
    """Tune; goes on from wherever the run file and the checkpoints stand.

    Args:
        tuning: what.
        dataset: of it.
        store: gets an event for every trial as it ends, and for the outcome.
        folder: for checkpoints.
        placement: where it is trained.
        narrator: told what is going on.
    Returns: the recorded outcome: "recipe" (to be used), "taken" (whether that is a tuned one), "given", "tuned",
        "best" (its trial), "trials", "validation", "test" (null where nothing was tested).
    Raises: TrainingDiverged: no trial came to its end.
    """
    done = [event for event in store.events(TUNED) if event["trials"] == tuning.settings.trials]
    if done:
        return {name: value for name, value in done[-1].items() if name not in ("time", "kind")}
    source, given = proposals(tuning, dataset), given_trial(tuning, dataset)
    outcomes = train_recorded(Work(source, folder / "trials"), TRIAL, "tune: trial", store, placement, narrator)
    best = best_of(outcomes)
    trial = source.trial(best.id, dict(enumerate(outcomes)))
    assert trial is not None
    _tell_trials(outcomes, best, narrator)
    found: dict[str, Any] = {"taken": False, "validation": _of_trials(best, outcomes[0], dataset), "test": None}
    if best.id == 0:
        narrator.say("tune: no trial is better than the given recipe; it stays")
    else:
        pairs = paired_trials(given, trial.recipe, seed=tuning.seed, repeats=tuning.settings.repeats, test=tuning.test)
        name = _digest(trial.recipe)
        work = Work(FixedTrials(pairs), folder / f"compared-{name}")
        compared = train_recorded(work, f"{COMPARED}_{name}", "tune: comparison", store, placement, narrator)
        found |= judge(compared, dataset, narrator, tested=tuning.test)
    recipes = {"recipe": dict((trial if found["taken"] else given).recipe), "given": dict(given.recipe)}
    result = {**recipes, "tuned": dict(trial.recipe), "best": best.id, "trials": source.count, **found}
    plain: dict[str, Any] = json.loads(json.dumps(result))  # as it will be read
    store.record(TUNED, plain)
    return plain


def given_trial(tuning: Tuning, dataset: Dataset) -> Trial:
    """Trial 0: the given recipe, its augmentation by name."""
    recipe = replace(tuning.recipe, epochs=tuning.settings.epochs or tuning.recipe.epochs)
    if recipe.augment == "auto":
        attention = has_attention(build_network(tuning.arch, dataset, seed=0))
        recipe = replace(recipe, augment=fitting_augment(dataset.input_shape, attention=attention))
    seed = training_seed("trials", tuning.seed, 0)
    return Trial(0, tuning.arch.to_dict(), tuning.data, recipe.to_dict(), seed, tuning.device)


def knobs_of(tuning: Tuning, dataset: Dataset) -> tuple[Knob, ...]:
    """What varies: the settings' bounds, or those around the given recipe."""
    augment = str(given_trial(tuning, dataset).recipe["augment"])
    return read_bounds(tuning.settings.bounds or bounds_around(tuning.recipe, len(dataset.train), augment))


def proposals(tuning: Tuning, dataset: Dataset) -> RecipeProposals:
    """The trials of a tuning."""
    settings, first = tuning.settings, given_trial(tuning, dataset)
    steps = max(1, len(dataset.train) // tuning.recipe.batch_size)
    rungs = rungs_of(first.recipe["epochs"], settings.eta, math.ceil(GRACE_STEPS / steps)) if settings.drop else ()
    return RecipeProposals(
        first,
        knobs_of(tuning, dataset),
        count=settings.trials,
        seed=tuning.seed,
        lookahead=settings.lookahead,
        rungs=rungs,
        eta=settings.eta,
    )


def best_of(outcomes: Sequence[Outcome]) -> Outcome:
    """The most accurate on the validation images of those trained to their end; of equal ones that of lower loss.

    Raises: TrainingDiverged: there is none.
    """
    finished = [outcome for outcome in outcomes if outcome.finished]
    if not finished:
        why = outcomes[0].failure
        raise TrainingDiverged(f"tune: none of {len(outcomes)} trials came to its end; the first: {why}")
    return max(finished, key=lambda o: (o.curve[-1].validation_top1, -o.curve[-1].validation_loss, -o.id))


def _tell_trials(outcomes: Sequence[Outcome], best: Outcome, narrator: Silent) -> None:
    dropped = sum(outcome.dropped for outcome in outcomes)
    failed = sum(outcome.failure is not None for outcome in outcomes)
    epochs = sum(len(outcome.curve) for outcome in outcomes)
    narrator.say(
        f"tune: {len(outcomes)} trials, {epochs} epochs; {dropped} fell out at a rung, {failed} diverged or broke; "
        f"the best is trial {best.id}, validation top-1 {best.curve[-1].validation_top1:.4f}"
    )


def _of_trials(best: Outcome, given: Outcome, dataset: Dataset) -> dict[str, Any]:
    """What the trials showed on the validation images; that of the best of many is optimistic."""
    images = len(dataset.validation)
    tops = {"best": best.curve[-1].validation_top1, "given": given.top1}
    intervals = {f"{side}_interval": None if top is None else interval_of(top, images) for side, top in tops.items()}
    return {"images": images, "seeds": 0, **tops, **intervals, "difference": None}


def _digest(recipe: Mapping[str, Any]) -> str:
    return hashlib.sha256(repr(sorted(recipe.items())).encode()).hexdigest()[:8]
