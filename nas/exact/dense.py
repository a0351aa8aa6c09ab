"""A learned bilinear form with products between any depths and configurations, by the one-hot RLT relaxation.

Variables: alpha, a configuration of every block; beta, a depth of every stage; z, their products where Q is not zero.
For each configuration the products with the depths of one stage sum to it, and for each depth those with the
configurations of one block sum to it. That is far tighter than McCormick's bounds of single products, which must not be
used here.
Source: Sherali and Adams 1986, reformulation-linearisation, for one-hot groups.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

from nas.exact.bilinear_program import WITHIN_TOLERANCE, SolverFailed
from nas.exact.program import RELATIVE_GAP, NothingFeasible, Resource, Solution
from predictors.models.bilinear_form import BilinearForm
from predictors.models.bilinear_structure import Floats, Structure


def solve_dense(form: BilinearForm, resources: tuple[Resource, ...] = (), *, seconds: float = 60.0) -> Solution:
    """The best network of a form base + q'beta + alpha'Q beta + p'alpha with any Q.

    Args:
        form: alpha has a configuration of every block, those that a network does not have included.
        resources: budgets; their configurations cost where the block exists.
        seconds: after which the best known network comes with the bound reached by then, not proven.
    Raises: NothingFeasible; SolverFailed: the time ran out before any network was found.
    """
    started = time.perf_counter()
    structure = form.structure
    model = _Model(structure)
    limited = [resource for resource in resources if np.isfinite(resource.at_most)]
    constraints = [LinearConstraint(model.equalities, model.sums, model.sums)]
    for resource in limited:
        row = model.row(resource.depths, _costs(resource, structure), np.zeros(structure.alpha_starts[-1]))
        scale = max(float(np.abs(row).max()), 1e-300)
        constraints.append(LinearConstraint(row[None] / scale, -np.inf, (resource.at_most - resource.fixed) / scale))
    objective = model.row(form.depths, form.products, form.configs)
    for _ in range(WITHIN_TOLERANCE):
        result = _maximise(model, objective, constraints, seconds - (time.perf_counter() - started))
        if result.x is None:
            if result.status == 2:
                raise NothingFeasible("exact search: no network keeps the budgets")
            raise SolverFailed(f"exact search: no network found in {seconds:g} s; allow more time")
        depths, configs = model.network(result.x)
        costs = {r.name: _cost(r, structure, depths, configs) for r in resources}
        if all(costs[resource.name] <= resource.at_most for resource in limited):
            break
        constraints.append(model.cut(depths, configs))
    else:
        raise SolverFailed("exact search: too many networks within HiGHS's tolerance of a budget; change it a little")
    alpha = np.zeros((1, model.alphas))
    alpha[0, np.array(structure.alpha_starts[:-1]) + np.array(configs)] = 1
    _, beta = structure.one_hot([depths], [configs])
    value = float(form.value(alpha, beta)[0])
    spread = max(float(np.abs(objective).max()), 1e-300)
    bound = max(value, form.base - spread * float(result.mip_dual_bound))
    return Solution(depths, configs, value, bound, costs, result.status == 0, time.perf_counter() - started)


def _maximise(model: _Model, objective: Floats, constraints: list[LinearConstraint], seconds: float) -> Any:
    integral = np.zeros(len(objective))
    integral[: model.betas + model.alphas] = 1
    return milp(
        -objective / max(float(np.abs(objective).max()), 1e-300),
        integrality=integral,
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"time_limit": max(seconds, 0.01), "mip_rel_gap": RELATIVE_GAP},
    )


class _Model:
    """Places of beta, alpha and the products z, and the equalities between them."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.betas, self.alphas = structure.beta_starts[-1], structure.alpha_starts[-1]
        self.size = self.betas + self.alphas + self.alphas * self.betas
        rows: list[tuple[list[int], list[float], float]] = []
        for s in range(len(structure.stages)):
            rows.append((self._depths(s), [1.0] * len(self._depths(s)), 1.0))
        for at in range(len(structure.blocks)):
            rows.append((self._configs(at), [1.0] * len(self._configs(at)), 1.0))
        for s in range(len(structure.stages)):
            for i in range(self.alphas):
                places = [self._product(i, j) for j in self._depths(s)]
                rows.append(([*places, self.betas + i], [1.0] * len(places) + [-1.0], 0.0))
        for at in range(len(structure.blocks)):
            for j in range(self.betas):
                places = [self._product(i - self.betas, j) for i in self._configs(at)]
                rows.append(([*places, j], [1.0] * len(places) + [-1.0], 0.0))
        indices = np.concatenate([np.full(len(places), at) for at, (places, _, _) in enumerate(rows)])
        columns = np.concatenate([places for places, _, _ in rows])
        entries = np.concatenate([weights for _, weights, _ in rows])
        self.equalities = coo_matrix((entries, (indices, columns)), shape=(len(rows), self.size)).tocsr()
        self.sums = np.array([total for _, _, total in rows])

    def row(self, depths: Floats, products: Floats, configs: Floats) -> Floats:
        """Coefficients of all variables."""
        return np.concatenate([depths, configs, products.ravel()])

    def network(self, x: Floats) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Depths and configurations of a solution."""
        stages = enumerate(self.structure.stages)
        depths = tuple(stage.depths[int(np.argmax(x[self._depths(s)]))] for s, stage in stages)
        configs = tuple(int(np.argmax(x[self._configs(at)])) for at in range(len(self.structure.blocks)))
        return depths, configs

    def cut(self, depths: tuple[int, ...], configs: tuple[int, ...]) -> LinearConstraint:
        """Any other network than this one, whatever the configurations of its absent blocks."""
        alpha, beta = self.structure.one_hot([depths], [configs])
        row = np.concatenate([beta[0], alpha[0], np.zeros(self.size - self.betas - self.alphas)])
        return LinearConstraint(row[None], -np.inf, row.sum() - 1)

    def _depths(self, s: int) -> list[int]:
        return list(range(self.structure.beta_starts[s], self.structure.beta_starts[s + 1]))

    def _configs(self, at: int) -> list[int]:
        starts = self.structure.alpha_starts
        return list(range(self.betas + starts[at], self.betas + starts[at + 1]))

    def _product(self, i: int, j: int) -> int:
        return self.betas + self.alphas + i * self.betas + j


def _costs(resource: Resource, structure: Structure) -> Floats:
    """(alpha, beta) cost of a configuration where the depth has its block."""
    from predictors.models.bilinear_form import existence

    found: Floats = resource.configs[:, None] * existence(structure)
    return found


def _cost(resource: Resource, structure: Structure, depths: tuple[int, ...], configs: tuple[int, ...]) -> float:
    alpha, beta = structure.one_hot([depths], [configs])
    return float(resource.fixed + beta[0] @ resource.depths + alpha[0] @ resource.configs)
