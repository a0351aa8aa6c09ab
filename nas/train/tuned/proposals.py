"""Recipes proposed by TPE, in an order that does not depend on timing.

Proposal i is made from the outcomes of the trials 0 to i - lookahead, and from no others, whichever have arrived. So
the same seed proposes the same recipes for any number of workers up to ``lookahead``, after any interruption, and with
or without Ray; the price is that TPE knows a little less than it could. Everything is found again from the outcomes:
there is no searcher to be saved.

The rungs are those of ASHA (Li et al. 2020, arXiv 1810.05934): a trial goes on when it is among the best 1/eta of those
that it is compared with, and these are likewise the trials 0 to i - lookahead.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nas.train.recipe import Recipe
from nas.train.trials.trial import Outcome, Trial
from nas.train.tuned.bounds import Knob

if TYPE_CHECKING:
    import optuna

RANDOM_FIRST = 8  # proposals before TPE has anything to go by


class RecipeProposals:
    """The given recipe as trial 0, then what TPE proposes; a ``Source`` of trials."""

    def __init__(  # noqa: PLR0913 - the facts of a tuning, all named
        self,
        first: Trial,
        knobs: Sequence[Knob],
        *,
        count: int,
        seed: int,
        lookahead: int,
        rungs: Sequence[int] = (),
        eta: int = 3,
    ) -> None:
        """Begin.

        Args:
            first: trial 0, with the given recipe; all others differ from it in their recipe and their rungs.
            knobs: what varies.
            count: of trials.
            seed: of the proposals.
            lookahead: as in ``TuneSettings``.
            rungs: epochs after which trials are compared.
            eta: one of so many goes on.
        """
        self.count = count
        self._first, self._knobs, self._rungs, self._eta = first, tuple(knobs), tuple(rungs), eta
        self._seed, self._lookahead = seed, lookahead
        self._study = _study(seed)
        self._asked: list[Trial] = []
        self._running: dict[int, optuna.Trial] = {}

    @property
    def identity(self) -> dict[str, Any]:
        """All but the number of trials: more of them begin with the same ones."""
        return {
            "first": self._first.to_dict(),
            "knobs": [[k.name, k.low, k.high, k.log, k.whole, list(k.choices)] for k in self._knobs],
            "rungs": [*self._rungs, self._eta],
            "proposals": [self._seed, self._lookahead],
        }

    def trial(self, index: int, finished: Mapping[int, Outcome]) -> Trial | None:
        """The trial of this number; None while one of 0 to index - lookahead has not ended."""
        if any(known not in finished for known in range(index - self._lookahead + 1)):
            return None
        for number in range(len(self._asked), index + 1):
            heard = number - self._lookahead
            if heard >= 0:
                self._tell(finished[heard])
            self._asked.append(self._ask(number, [finished[i] for i in range(heard + 1)]))
        return self._asked[index]

    def _ask(self, number: int, heard: Sequence[Outcome]) -> Trial:
        rungs = least_at_rungs(heard, self._rungs, self._eta)
        if number == 0:
            return self._first
        asked = self._study.ask(_distributions(self._knobs))
        self._running[number] = asked
        changes = {knob.name: knob.tidy(asked.params[knob.name]) for knob in self._knobs}
        recipe = Recipe.from_dict({**self._first.recipe, **changes})
        return replace(self._first, id=number, recipe=recipe.to_dict(), rungs=rungs)

    def _tell(self, outcome: Outcome) -> None:
        """What became of a trial: its accuracy, or how far it came; TPE ranks those that did not finish last."""
        from optuna.trial import TrialState

        if outcome.id == 0:
            self._tell_first(outcome)
            return
        asked = self._running.pop(outcome.id)
        if outcome.top1 is not None:
            self._study.tell(asked, outcome.top1)
            return
        for report in outcome.curve:
            asked.report(report.validation_top1, report.epoch)
        self._study.tell(asked, state=TrialState.PRUNED)

    def _tell_first(self, outcome: Outcome) -> None:
        """The given recipe counts where it lies within the bounds."""
        import optuna

        params = {knob.name: self._first.recipe[knob.name] for knob in self._knobs}
        if outcome.top1 is not None and all(knob.holds(params[knob.name]) for knob in self._knobs):
            distributions = _distributions(self._knobs)
            trial = optuna.trial.create_trial(params=params, distributions=distributions, value=outcome.top1)
            self._study.add_trial(trial)


def least_at_rungs(heard: Sequence[Outcome], rungs: Sequence[int], eta: int) -> tuple[tuple[int, float], ...]:
    """What a trial must show at each rung to be among the best 1/eta of earlier ones; no rung with fewer than eta."""
    least = []
    for epoch in rungs:
        shown = sorted((o.curve[epoch - 1].validation_top1 for o in heard if len(o.curve) >= epoch), reverse=True)
        if len(shown) >= eta:
            least.append((epoch, shown[math.ceil(len(shown) / eta) - 1]))
    return tuple(least)


def rungs_of(epochs: int, eta: int, grace: int) -> tuple[int, ...]:
    """Epochs after which trials are compared: epochs/eta^k, none before ``grace``."""
    found, at = set[int](), epochs // eta
    while at >= max(1, grace):
        found.add(at)
        at //= eta
    return tuple(sorted(found))


def _study(seed: int) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some arguments are called experimental, by release
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=RANDOM_FIRST, multivariate=True, constant_liar=True
        )
    return optuna.create_study(direction="maximize", sampler=sampler)


def _distributions(knobs: Sequence[Knob]) -> dict[str, optuna.distributions.BaseDistribution]:
    return {knob.name: _distribution(knob) for knob in knobs}


def _distribution(knob: Knob) -> optuna.distributions.BaseDistribution:
    from optuna import distributions

    if knob.choices:
        return distributions.CategoricalDistribution(knob.choices)
    if knob.whole:
        return distributions.IntDistribution(int(knob.low), int(knob.high), log=knob.log)
    return distributions.FloatDistribution(knob.low, knob.high, log=knob.log)
