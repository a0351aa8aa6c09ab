"""Recipes tried by repeated K-fold: out-of-fold predictions, their tau, and what differences are worth."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from predictors.auto.member import MODELS, TUNED_IN_TRIALS, Member, Recipe
from predictors.evaluation.folds import Split
from predictors.rank import draw, kendall, kendall_of
from predictors.regressor import Floats
from predictors.schema import Schema

MOST_BOOTSTRAPPED = 400  # rows
RESAMPLES = 200


@dataclass(frozen=True)
class Labelled:
    """What the choice is made from."""

    schema: Schema
    raw: Floats
    labels: Floats
    weights: Floats
    seed: int


@dataclass
class Trial:
    """A recipe with its out-of-fold predictions.

    Attributes:
        recipe: what was tried.
        predicted: one (n,) array a repeat, in the unit of the labels.
        deviations: the stated standard deviations, likewise.
        seconds: of all its fits.
    """

    recipe: Recipe
    predicted: list[Floats] = field(default_factory=list)
    deviations: list[Floats] = field(default_factory=list)
    seconds: float = 0.0

    def run(self, labelled: Labelled, splits: Sequence[Split], stop: Callable[[], bool] = lambda: False) -> bool:
        """One more repeat; False, and nothing of it is kept, when it was to stop before the last fold."""
        started = time.perf_counter()
        predicted, deviations = np.empty(len(labelled.labels)), np.empty(len(labelled.labels))
        for train, test in splits:
            if stop():
                return False
            member = Member(self.recipe, labelled.schema, labelled.seed, TUNED_IN_TRIALS)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                member.fit(labelled.raw[train], labelled.labels[train], labelled.weights[train])
                predicted[test], deviations[test] = member.estimate_with_std(labelled.raw[test])
        broken = ~np.isfinite(predicted)
        predicted[broken] = labelled.labels.mean()
        deviations[broken | ~np.isfinite(deviations)] = labelled.labels.std()
        self.predicted.append(predicted)
        self.deviations.append(deviations)
        self.seconds += time.perf_counter() - started
        return True

    def tau(self, labels: Floats) -> float:
        """Kendall's tau, the mean over the repeats; -1 where the predictions are constant."""
        taus = [kendall(predicted, labels) for predicted in self.predicted]
        return float(np.nan_to_num(np.mean(taus), nan=-1.0))

    @property
    def mean(self) -> Floats:
        """(n,) out-of-fold predictions, the mean over the repeats."""
        return np.asarray(np.mean(self.predicted, axis=0))


def standard_error_of_difference(first: Floats, second: Floats, labels: Floats, seed: int) -> float:
    """Of tau(first) - tau(second), by a paired bootstrap over networks."""
    if len(labels) > MOST_BOOTSTRAPPED:
        kept = np.random.default_rng(seed).choice(len(labels), MOST_BOOTSTRAPPED, replace=False)
        scale = np.sqrt(MOST_BOOTSTRAPPED / len(labels))
        first, second, labels = first[kept], second[kept], labels[kept]
    else:
        scale = 1.0
    counts = draw(len(labels), resamples=RESAMPLES, seed=seed)
    difference = kendall_of(first, labels, counts) - kendall_of(second, labels, counts)
    return float(np.nanstd(difference) * scale) if np.isfinite(difference).any() else 0.0


def with_most_repeats(trials: Sequence[Trial]) -> list[Trial]:
    """Those that were tried on as many splits as any."""
    most = max(len(trial.predicted) for trial in trials)
    return [trial for trial in trials if len(trial.predicted) == most]


def close_to_best(trials: Sequence[Trial], labelled: Labelled, errors: float) -> list[Trial]:
    """Those whose tau is below the best by no more than so many standard errors of the difference; best first."""
    ranked = sorted(trials, key=lambda trial: -trial.tau(labelled.labels))
    best = ranked[0]
    close = [best]
    for trial in ranked[1:]:
        error = standard_error_of_difference(best.mean, trial.mean, labelled.labels, labelled.seed)
        if trial.tau(labelled.labels) >= best.tau(labelled.labels) - errors * error:
            close.append(trial)
    return close


def simplest_of(trials: Sequence[Trial]) -> Trial:
    """The one-standard-error rule's choice among trials that are close to the best.

    Source: Breiman et al. 1984, "Classification and regression trees", section 3.4.3. Deviation: the error is that of
        the difference on the same networks (``close_to_best``), not of the best alone, which is larger.
    """
    return min(trials, key=lambda trial: (MODELS[trial.recipe.model].rank, trial.recipe.costs))
