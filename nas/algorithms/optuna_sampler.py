"""Optuna's samplers as searches: the tree-structured Parzen estimator and its NSGA-II."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import inf
from typing import Any, Literal

import numpy as np

from nas.algorithms.ordered import OrderedSearch, violation_of
from nas.protocols import SearchSpace
from nas.records import LARGER_IS_BETTER, InvalidObjectives, Result, Success
from search_spaces.arch import Architecture
from search_spaces.space import GridSpace, Knob, Value

Sampler = Literal["tpe", "nsga2"]
_VIOLATION = "violation"


class NoKnobs(ValueError):
    """The space is not a table of knobs, which is what Optuna samples from."""


class OptunaSearch(OrderedSearch):
    """Candidates from an Optuna sampler through its ask and tell, with the violation as its constraint.

    Numeric knobs are ordinal to the sampler, others categorical. The sampler is seeded anew for every candidate with a
    key of (seed, candidate), and told in candidate order, so a search is repeatable and resumes exactly. The study is
    in memory; the run file is the record.

    Source: Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization" (TPE); Deb et al. 2002 (NSGA-II), both
    as Akiba et al. 2019, "Optuna" (arXiv 1907.10902), implement them.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        sampler: Sampler = "tpe",
        objectives: Sequence[str] = ("score",),
        lookahead: int = 16,
    ) -> None:
        """Start an empty study.

        Args:
            space: a ``GridSpace``, whose knobs are what is sampled.
            seed: of all randomness.
            sampler: "tpe" or "nsga2".
            objectives: metrics; "score" is maximised, everything else minimised.
            lookahead: see OrderedSearch; the sampler learns from results that are so many candidates old.
        Raises: NoKnobs: the space is not a ``GridSpace``.
        """
        import optuna

        super().__init__(space, seed=seed, lookahead=lookahead)
        if not isinstance(space, GridSpace):
            raise NoKnobs(
                f"space {space.name}: has no table of knobs, which Optuna's samplers need; "
                "take search.algorithm evolution, regularized, local or nsga2, or a space like genet-tiny"
            )
        self.objectives = tuple(objectives)
        self._grid: GridSpace = space
        self._sampler = sampler
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        directions = ["maximize" if name in LARGER_IS_BETTER else "minimize" for name in self.objectives]
        self._study = optuna.create_study(directions=directions, sampler=self._make_sampler(0))
        self._distributions = {knob.name: _distribution(knob) for knob in space.knobs}
        self._trials: dict[int, Any] = {}

    def _make_sampler(self, seed: int) -> Any:
        from optuna.samplers import NSGAIISampler, TPESampler

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constraints_func is called experimental
            if self._sampler == "nsga2":
                return NSGAIISampler(seed=seed, constraints_func=_constraints)
            return TPESampler(seed=seed, constraints_func=_constraints)

    def _propose(self, index: int, rng: np.random.Generator) -> tuple[Architecture, int | None]:
        from optuna.trial import TrialState

        if index in self._trials:  # the design was seen before: ask again
            self._study.tell(self._trials[index], state=TrialState.FAIL)
        self._study.sampler = self._make_sampler(int(rng.integers(2**32)))
        trial = self._trials[index] = self._study.ask(self._distributions)
        values = {knob.name: _value(knob, trial.params[knob.name]) for knob in self._grid.knobs}
        return self._grid.decode(values), None

    def _apply(self, result: Result) -> None:
        from optuna.trial import TrialState

        trial = self._trials.pop(result.candidate.id, None)
        if trial is None:  # a design that the search was given
            return
        violation = violation_of(result)
        if violation == inf:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        trial.set_user_attr(_VIOLATION, violation)
        values = [0.0] * len(self.objectives)  # never read: constraints are compared by their violation alone
        if isinstance(result, Success):
            missing = [name for name in self.objectives if name not in result.metrics]
            if missing:
                raise InvalidObjectives(f"objective {missing[0]!r}: candidates have only {', '.join(result.metrics)}")
            values = [result.metrics[name] for name in self.objectives]
        self._study.tell(trial, values)


def _constraints(trial: Any) -> tuple[float, ...]:
    """Optuna's convention: at most 0 is feasible."""
    return (trial.user_attrs[_VIOLATION],)


def _is_numeric(knob: Knob) -> bool:
    return all(isinstance(choice, int | float) and not isinstance(choice, bool) for choice in knob.choices)


def _distribution(knob: Knob) -> Any:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if _is_numeric(knob):
        return IntDistribution(0, len(knob.choices) - 1)  # the position, so that the order is known
    return CategoricalDistribution(knob.choices)


def _value(knob: Knob, sampled: Value) -> Value:
    return knob.choices[int(sampled)] if _is_numeric(knob) else sampled
