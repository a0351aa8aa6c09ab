"""Maximise a sum of effects of choices under budgets: plain data, no solver.

A network has, in every stage, one depth and a configuration of every block that this depth has. With beta the one-hot
depths and y the one-hot configurations of existing blocks, BINAS's objective and its latency are linear in (beta, y):
the effect and the time of a block's configuration do not depend on which deeper depth the stage has. So the bilinear
program of the paper is a multiple-choice knapsack in 0/1 variables, without a product.
Source: Nayman et al. 2022, "BINAS", arXiv 2110.12399; the linear form is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from predictors.models.bilinear_effects import BilinearEstimator
from predictors.models.bilinear_structure import Floats, Structure

RELATIVE_GAP = 1e-6  # of what the choices add: a bound so near counts as proven, and is told


class InvalidProgram(ValueError):
    """Arrays of other sizes than the structure has, or values that are not finite."""


class NothingFeasible(ValueError):
    """No network keeps the budgets; the message says which one binds and the nearest that can be kept."""


@dataclass(frozen=True, eq=False)
class Resource:
    """A cost that is a sum over choices, and its budget.

    Attributes:
        name: with its unit, for example ``latency_ms``.
        at_most: the budget; inf for none.
        fixed: cost of what has no choice.
        depths: (beta,) cost of each depth of each stage.
        configs: (alpha,) cost of each configuration of each block, where the block exists.
    """

    name: str
    at_most: float
    fixed: float
    depths: Floats
    configs: Floats

    def within(self, at_most: float) -> Self:
        """The same cost under another budget."""
        return replace(self, at_most=at_most)


@dataclass(frozen=True, eq=False)
class BilinearProgram:
    """Maximise base + effects of depths + effects of configurations of existing blocks, under budgets.

    Attributes:
        structure: the stages.
        base: label where all effects are 0.
        depths, configs: (beta,) and (alpha,) effects; higher is better.
        resources: costs with budgets.
    """

    structure: Structure
    base: float
    depths: Floats
    configs: Floats
    resources: tuple[Resource, ...] = ()

    def __post_init__(self) -> None:
        sizes = (self.structure.beta_starts[-1], self.structure.alpha_starts[-1])
        rows: list[tuple[str, BilinearProgram | Resource]] = [("effects", self)]
        rows += [(resource.name, resource) for resource in self.resources]
        for name, row in rows:
            if (row.depths.shape, row.configs.shape) != ((sizes[0],), (sizes[1],)):
                raise InvalidProgram(
                    f"program: {name} of shapes {row.depths.shape} and {row.configs.shape}, "
                    f"expected ({sizes[0]},) and ({sizes[1]},)"
                )
            if not (np.isfinite(row.depths).all() and np.isfinite(row.configs).all()):
                raise InvalidProgram(f"program: {name} has values that are not finite")
        for resource in self.resources:
            if np.isnan(resource.at_most):
                raise InvalidProgram(f"program: the budget of {resource.name} is not a number")

    @classmethod
    def of_estimator(
        cls, estimator: BilinearEstimator, resources: Sequence[Resource] = (), *, kappa: float = 0.0
    ) -> Self:
        """The program of an accuracy estimator.

        Args:
            estimator: effects, with standard errors where ``kappa`` is above 0; unknown errors count as 0.
            resources: costs with budgets.
            kappa: standard errors that every effect is lowered by: a lower bound, against the optimism of an optimum.
        """
        depths = estimator.depths - kappa * np.nan_to_num(estimator.depth_errors)
        configs = estimator.configs - kappa * np.nan_to_num(estimator.config_errors)
        return cls(estimator.structure, estimator.base, depths, configs, tuple(resources))

    def value(self, depths: Sequence[int], configs: Sequence[int]) -> float:
        """Objective of one network: (stages,) numbers of blocks, (blocks,) 0-based configurations."""
        places, alphas = self._places(depths, configs)
        return float(self.base + self.depths[places].sum() + self.configs[alphas].sum())

    def costs(self, depths: Sequence[int], configs: Sequence[int]) -> dict[str, float]:
        """Every resource of one network."""
        places, alphas = self._places(depths, configs)
        return {r.name: float(r.fixed + r.depths[places].sum() + r.configs[alphas].sum()) for r in self.resources}

    def keeps(self, depths: Sequence[int], configs: Sequence[int]) -> bool:
        """Whether one network keeps every budget, exactly."""
        costs = self.costs(depths, configs)
        return all(costs[resource.name] <= resource.at_most for resource in self.resources)

    def _places(self, depths: Sequence[int], configs: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        depth_places, alpha_places, exists = self.structure.places(np.array([depths]), np.array([configs]))
        return depth_places[0], alpha_places[0][exists[0]]


@dataclass(frozen=True)
class Solution:
    """A network that a solver found.

    Attributes:
        depths: (stages,) numbers of blocks.
        configs: (blocks,) 0-based configurations; 0 at blocks that the network does not have.
        value: objective.
        bound: proven upper bound on the objective of every network that keeps the budgets and was not cut off before.
        costs: of every resource.
        proven: whether this is the optimum, up to the bound's rounding.
        seconds: of the solver.
    """

    depths: tuple[int, ...]
    configs: tuple[int, ...]
    value: float
    bound: float
    costs: Mapping[str, float]
    proven: bool
    seconds: float

    @property
    def gap(self) -> float:
        """How much better any network can be, in units of the objective; at least 0."""
        return max(0.0, self.bound - self.value)

    @property
    def relative_gap(self) -> float:
        """The gap as a share of the objective's size."""
        return self.gap / max(abs(self.value), 1e-300)
