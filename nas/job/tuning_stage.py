"""Between the choice of the winner and its training: a recipe tuned for it, where the configuration asks for one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nas.job.finalists_stage import Finalist
from nas.job.task import Task
from nas.narrator import Silent
from nas.store import RunStore
from nas.train.recipe import Recipe
from nas.train.trials.engine import Placement
from nas.train.tuned.tuning import Tuning, tune_recipe


def recipe_for(task: Task, winner: Finalist, store: RunStore, folder: Path, narrator: Silent) -> Recipe:
    """The recipe of the winner's training: the configuration's, or one tuned for this network and found better.

    Trials and outcome are events of the run; an interrupted tuning goes on from them and its checkpoints. Only training
    and validation images are used.
    """
    given, settings = Recipe.from_dict(task.config.recipe), task.config.tune
    if settings.trials == 0:
        return given
    engine = task.config.engine
    tuning = Tuning(winner.arch, task.config.data, given, settings, task.config.seed, task.config.train_device)
    result = tune_recipe(
        tuning,
        task.dataset,
        store=store,
        folder=folder,
        placement=Placement(engine.kind, engine.workers, engine.address),
        narrator=narrator,
    )
    return replace(Recipe.from_dict(result["recipe"]), epochs=given.epochs)
