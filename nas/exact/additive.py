"""Any cost model as a row of the program: read exactly where it is a sum over choices, else fitted, and how well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nas.exact.program import Resource
from predictors.models.bilinear_structure import Floats, Indices, Structure

Cost = Callable[[Indices, Indices], Floats]  # (n, stages) depths and (n, blocks) configurations -> (n,) costs
PROBES = 64  # random networks on which additivity is checked
FITTED_SHARE = 0.75  # of the sample of a fit; the rest judges it


class NotAdditive(ValueError):
    """A cost is no sum over choices; the message says by how much and what to use instead."""


@dataclass(frozen=True, slots=True, eq=False)
class FittedResource:
    """A cost as the best additive fit to networks of the space.

    Attributes:
        resource: the fit, with the budget as given.
        relative_error: mean absolute error over the mean cost, on networks that it was not fitted to.
        largest_over: by how much the fit exceeds the true cost at most on those, in the unit of the cost, at least 0.
        largest_under: by how much it falls short at most.
        networks: on which the three were found.
    """

    resource: Resource
    relative_error: float
    largest_over: float
    largest_under: float
    networks: int

    def moved(self, level: float) -> Resource:
        """The row with its budget moved by so many largest errors.

        At 1 every network passes whose true cost keeps the budget, at -1 none whose true cost breaks it, as far as was
        seen; at 0 it is the fit itself.
        """
        error = self.largest_over if level > 0 else self.largest_under
        return self.resource.within(self.resource.at_most + level * error)


def additive_resource(
    name: str, at_most: float, structure: Structure, cost: Cost, *, rng: np.random.Generator, tolerance: float = 1e-6
) -> Resource:
    """Read the terms of a cost that is a sum over depths and configurations of existing blocks.

    One network for each choice is asked, then random ones, whether the sum holds.

    Args:
        name: of the resource.
        at_most: its budget.
        structure: the stages.
        cost: of networks.
        rng: draws the random networks.
        tolerance: largest relative deviation.
    Raises: NotAdditive.
    """
    resource = _read(name, at_most, structure, cost)
    depths, configs = structure.sample(PROBES, rng)
    wanted = cost(depths, configs)
    error = np.abs(_costs(resource, structure, depths, configs) - wanted) / np.maximum(np.abs(wanted), 1e-300)
    if not error.max() <= tolerance:
        raise NotAdditive(
            f"{name}: is no sum over choices, off by up to {error.max():.2g} of itself on {PROBES} random networks; "
            "use fitted_resource with solve_checked, which keeps the budget by the model itself, stage_front where "
            "stages are separable, or evolution, which asks the model"
        )
    return resource


def _read(name: str, at_most: float, structure: Structure, cost: Cost) -> Resource:
    """Terms by differences to a network of least depths and first configurations, whose own go into the fixed part."""
    least = np.array([stage.depths[0] for stage in structure.stages])
    first = np.zeros(len(structure.blocks), np.intp)
    rows: list[tuple[Indices, Indices]] = [(least, first)]
    for s, stage in enumerate(structure.stages):
        for depth in stage.depths[1:]:
            rows.append((np.where(np.arange(len(least)) == s, depth, least), first))
    for at, (s, b) in enumerate(structure.blocks):
        depth = structure.stages[s].needed_depth(b) or least[s]
        deep = np.where(np.arange(len(least)) == s, depth, least)
        for config in range(1, structure.stages[s].configs[b]):
            rows.append((deep, np.where(np.arange(len(first)) == at, config, first)))
    found = cost(np.array([row[0] for row in rows]), np.array([row[1] for row in rows]))
    depths, configs = np.zeros(structure.beta_starts[-1]), np.zeros(structure.alpha_starts[-1])
    place, at_depth = 1, {(s, stage.depths[0]): found[0] for s, stage in enumerate(structure.stages)}
    for s, stage in enumerate(structure.stages):
        for i, depth in enumerate(stage.depths[1:], 1):
            depths[structure.beta_starts[s] + i] = found[place] - found[0]
            at_depth[s, depth] = found[place]
            place += 1
    for at, (s, b) in enumerate(structure.blocks):
        base = at_depth[s, structure.stages[s].needed_depth(b) or structure.stages[s].depths[0]]
        for config in range(1, structure.stages[s].configs[b]):
            configs[structure.alpha_starts[at] + config] = found[place] - base
            place += 1
    return Resource(name, at_most, float(found[0]), depths, configs)


def fitted_resource(
    name: str, at_most: float, structure: Structure, cost: Cost, *, rng: np.random.Generator, networks: int = 1_500
) -> FittedResource:
    """The best additive fit to a cost, by least squares on relative errors of random networks.

    Args:
        name: of the resource.
        at_most: its budget.
        structure: the stages.
        cost: of networks.
        rng: draws the networks.
        networks: of the sample; a quarter of them judges the fit.
    """
    depths, configs = structure.sample(networks, rng)
    wanted = cost(depths, configs)
    alpha, beta = structure.one_hot(depths, configs)
    design = np.hstack([np.ones((networks, 1)), beta, alpha])
    fitted = int(FITTED_SHARE * networks)
    scale = 1 / np.maximum(np.abs(wanted[:fitted]), 1e-300)
    terms: Floats = np.linalg.lstsq(design[:fitted] * scale[:, None], np.ones(fitted), rcond=1e-10)[0].astype(
        np.float64
    )
    cut = 1 + beta.shape[1]
    resource = Resource(name, at_most, float(terms[0]), terms[1:cut], terms[cut:])
    error = design[fitted:] @ terms - wanted[fitted:]
    return FittedResource(
        resource,
        float(np.abs(error).mean() / np.abs(wanted[fitted:]).mean()),
        max(0.0, float(error.max())),
        max(0.0, float(-error.min())),
        len(error),
    )


def _costs(resource: Resource, structure: Structure, depths: Indices, configs: Indices) -> Floats:
    alpha, beta = structure.one_hot(depths, configs)
    found: Floats = resource.fixed + beta @ resource.depths + alpha @ resource.configs
    return found
