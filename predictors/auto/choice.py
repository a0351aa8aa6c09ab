"""Which recipes are tried, in which order, and which survive: coarse first, a time limit at every step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from predictors.auto.member import MODELS, Recipe, Sharing, length_groups
from predictors.auto.trial import Labelled, Trial
from predictors.encoders import ENCODERS
from predictors.evaluation.folds import repeated_folds

Preset = Literal["quick", "default"]
BLENDED = 5  # members of a blend at most
FINALISTS = 6  # recipes that get further repeats
SCOUTED = 3  # encoders that get a model with a kernel
SCOUT = "bayesian ridge"
SCOUTS = ("quadratic kernel ridge", "gp matern by column")  # of those, the cheap one first
QUICK = ("bayesian ridge", "gp quadratic by role", "gp matern by column")
FEWEST_ROWS = 8  # below that no choice can be made by folds
MOST_TRIED = 600  # rows of a trial; of more, a sample
NET_ROWS = 1_500  # a ranking net needs thousands of labels
TREE_ROWS = 400
SHARED: tuple[Sharing, Sharing] = ("role", "column")


@dataclass(frozen=True)
class Effort:
    """How long to look.

    Attributes:
        preset: "quick" tries a fixed short list once, so that its result depends on the labels and the seed only.
        time_limit: seconds for the trials; None for no limit. A trial that is not done by then is dropped.
    """

    preset: Preset = "default"
    time_limit: float | None = 15.0


def part_to_try(labelled: Labelled) -> Labelled:
    """All rows, or a sample of ``MOST_TRIED``."""
    rows = len(labelled.labels)
    if rows <= MOST_TRIED:
        return labelled
    kept = np.random.default_rng(labelled.seed).choice(rows, MOST_TRIED, replace=False)
    return replace(labelled, raw=labelled.raw[kept], labels=labelled.labels[kept], weights=labelled.weights[kept])


def try_recipes(labelled: Labelled, effort: Effort, rows: int) -> list[Trial]:
    """Trials of all recipes that were worth it in the time, at least one.

    Args:
        labelled: what ``part_to_try`` gave.
        effort: how long to look.
        rows: of the final fit; some models are worth it only with many.

    Encoders are compared with a linear model, the best three with two that have kernels; the best two get all models;
    the best models leave out costs and proxies and try the label maps; the finalists are repeated on other folds.
    """
    search = _Search(labelled, effort, rows)
    search.run()
    return search.trials


class _Search:
    def __init__(self, labelled: Labelled, effort: Effort, rows: int) -> None:
        self.labelled, self.effort, self.rows = labelled, effort, rows
        self.deadline = None if effort.time_limit is None else time.monotonic() + effort.time_limit
        self.trials: list[Trial] = []
        self._tried: set[Recipe] = set()
        tried = len(labelled.labels)
        repeats = 1 if effort.preset == "quick" or tried == MOST_TRIED else 3
        splits = repeated_folds(tried, min(5, tried // 2), repeats, labelled.seed)
        self.folds = [splits[i : i + len(splits) // repeats] for i in range(0, len(splits), len(splits) // repeats)]

    def run(self) -> None:
        encoders = [name for name, encoder in ENCODERS.items() if encoder.applies(self.labelled.schema)]
        encoders = encoders or ["one-hot"]  # numbers and costs alone: every encoder appends those
        schema = self.labelled.schema
        may_do_alone = bool(schema.of_kind("choice") and schema.of_kind("cost", "number"))
        if self.effort.preset == "quick":
            self._try(Recipe(QUICK[0], encoder) for encoder in encoders)
            best = self._best(1)[0].recipe.encoder
            self._try(Recipe(model, best) for model in QUICK[1:])
            return
        self._try(Recipe(SCOUT, encoder) for encoder in encoders)
        leading = [trial.recipe.encoder for trial in self._best(SCOUTED)]
        self._try(Recipe(model, encoder) for model in SCOUTS for encoder in leading)
        leading = list(dict.fromkeys(trial.recipe.encoder for trial in self._best(len(self.trials))))[:2]
        self._try(Recipe(model, encoder) for encoder in leading for model in self._models(encoder))
        if may_do_alone:
            self._try(replace(trial.recipe, costs=False) for trial in self._best(2))
        self._try(trial.recipe.with_labels(name) for trial in self._best(2) for name in ("normal scores", "logit"))
        for splits in self.folds[1:]:
            for trial in self._best(FINALISTS):
                trial.run(self.labelled, splits, self._late_and_enough)

    def _models(self, encoder: str) -> list[str]:
        """Those that the number of rows is worth; by role only where that is another sharing than by column."""
        least = {"ranking net": NET_ROWS, "boosted trees": TREE_ROWS}
        fitted = ENCODERS[encoder]().fit(self.labelled.raw, self.labelled.schema)
        roles, columns = (len(set(length_groups(fitted, how).tolist())) for how in SHARED)
        worth = [name for name in MODELS if least.get(name, 0) <= self.rows]
        return [name for name in worth if MODELS[name].sharing != "role" or roles < columns]

    def _try(self, recipes: Iterator[Recipe]) -> None:
        for recipe in list(recipes):
            if recipe in self._tried or self._late_and_enough():
                continue
            self._tried.add(recipe)
            trial = Trial(recipe)
            if trial.run(self.labelled, self.folds[0], self._late_and_enough):
                self.trials.append(trial)

    def _best(self, count: int) -> Sequence[Trial]:
        return sorted(self.trials, key=lambda trial: -trial.tau(self.labelled.labels))[:count]

    def _late_and_enough(self) -> bool:
        """The time is up, and there is a trial to choose."""
        return bool(self.trials) and self.deadline is not None and time.monotonic() >= self.deadline
