"""The best networks under any budgets, from what a supernet says of every choice: an exact program, then the gates.

Costs that are sums over blocks (parameters, MACs, depth) are exact rows of the program. A latency model rarely is such
a sum, peak memory never: their row is the best additive fit. Every solution is held against the gates, that is the
models themselves; those over a budget are cut off, and the row is tightened when they are many. A second program,
whose row is loosened by the largest error of the fit on networks that it was not fitted to, bounds what any network
within the budgets can reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.exact.additive import FittedResource, NotAdditive, additive_resource, fitted_resource
from nas.exact.bilinear_program import Network, solve, solve_checked
from nas.exact.infeasible import explain_infeasible
from nas.exact.program import BilinearProgram, NothingFeasible, Resource, Solution
from nas.gates import Gates, held_by
from nas.one_shot.structure import SpaceView
from nas.records import Metrics
from predictors.models.bilinear_effects import BilinearEstimator
from predictors.models.bilinear_structure import Floats, Indices
from search_spaces.arch import Architecture

SAMPLE = 1_000  # networks of a fit
TRIES = 12  # networks over a budget that are cut off before a fitted row is tightened
LOOSENED, LEVELS = 1.0, (0.0, -0.5, -1.0)  # by how many largest errors the budget of a fitted row is moved


@dataclass(frozen=True, slots=True)
class Design:
    """A network that the program proposes.

    Attributes:
        arch: the design.
        expected: label that the estimator expects; higher is better.
        objective: of the program: the expected label less ``kappa`` standard errors of its effects.
        bound: no network within the budgets, but for those avoided, has a higher objective.
        proven: whether no other network can be better: the first one's objective is the bound.
        metrics: of the gates.
    """

    arch: Architecture
    expected: float
    objective: float
    bound: float
    proven: bool
    metrics: Metrics


class Designer:
    """Binds a space and its budgets; the costs are read once, estimators may change.

    Attributes:
        resources: rows of the program, one for each budget.
        fits: of the rows that are fitted, by metric: how well.
    """

    def __init__(self, view: SpaceView, gates: Gates, *, seed: int) -> None:
        """Read the costs.

        Args:
            view: the space as stages.
            gates: budgets and the models that they are held by.
            seed: of the networks on which costs are checked or fitted.
        """
        self.view, self.gates, self._seed = view, gates, seed
        self._known: dict[bytes, Metrics] = {}
        self.fits: dict[str, FittedResource] = {}
        self.resources: tuple[Resource, ...] = tuple(
            self._resource(held_by(c.metric), c.at_most) for c in gates.constraints
        )

    def best(
        self,
        estimator: BilinearEstimator,
        *,
        count: int = 1,
        distance: int = 1,
        kappa: float = 0.0,
        avoid: Sequence[Architecture] = (),
    ) -> list[Design]:
        """The best networks within all budgets, best first.

        Args:
            estimator: effects of choices on the label.
            count: networks wanted.
            distance: choices in which each differs from those before it.
            kappa: standard errors that effects are lowered by.
            avoid: networks that are known already.
        Returns: fewer where the space has no more.
        Raises: NothingFeasible: naming the budget that binds and the nearest one that can be kept.
        """
        depths, configs = self.view.arrays(list(avoid))
        known = [(tuple(map(int, d)), tuple(map(int, c))) for d, c in zip(depths, configs, strict=True)]
        loosened = BilinearProgram.of_estimator(estimator, self._rows(LOOSENED), kappa=kappa)
        try:
            bound = solve(loosened, avoid=known)[0].bound
        except NothingFeasible:
            plain = BilinearProgram.of_estimator(estimator, self.resources)
            raise NothingFeasible(explain_infeasible(plain) or self._refusal()) from None
        found: list[Solution] = []
        for level in LEVELS if self.fits else LEVELS[:1]:
            program = BilinearProgram.of_estimator(estimator, self._rows(level), kappa=kappa)
            wanted = count - len(found)
            taken = [*known, *((s.depths, s.configs) for s in found)]
            found += self._solve(program, wanted, distance, taken)
            if len(found) >= count:
                break
        if not found:
            raise NothingFeasible(self._refusal())
        found.sort(key=lambda solution: -solution.value)
        return [self._design(estimator, solution, bound) for solution in found]

    def _solve(self, program: BilinearProgram, count: int, distance: int, taken: Sequence[Network]) -> list[Solution]:
        try:
            return solve_checked(program, self._keeps, count=count, distance=distance, avoid=taken, tries=TRIES + count)
        except NothingFeasible:
            return []

    def _rows(self, level: float) -> tuple[Resource, ...]:
        """The resources, fitted ones with their budget moved by so many of their largest errors."""
        return tuple(
            resource if resource.name not in self.fits else self.fits[resource.name].moved(level)
            for resource in self.resources
        )

    def _refusal(self) -> str:
        told = ", ".join(f"{c.metric} of at most {c.at_most:.6g}" for c in self.gates.constraints)
        return f"exact search: no network was found that keeps {told} together; loosen one"

    def _design(self, estimator: BilinearEstimator, solution: Solution, bound: float) -> Design:
        depths, configs = np.array([solution.depths]), np.array([solution.configs])
        arch = self.view.architectures(depths, configs)[0]
        expected = float(estimator.predict(depths, configs)[0])
        metrics = self._metrics(depths[0], configs[0])
        proven = solution.proven and solution.value >= bound - 1e-7 * max(1.0, abs(bound))
        return Design(arch, expected, solution.value, max(bound, solution.value), proven, metrics)

    def _resource(self, metric: str, at_most: float) -> Resource:
        """An exact row where the cost is a sum, else a fitted one."""
        structure = self.view.structure
        rng = np.random.default_rng((self._seed, 0xADD))

        def cost(depths: Indices, configs: Indices) -> Floats:
            return np.array([self._metrics(d, c)[metric] for d, c in zip(depths, configs, strict=True)], np.float64)

        if not metric.startswith("latency"):
            try:
                return additive_resource(metric, at_most, structure, cost, rng=rng)
            except NotAdditive:
                pass
        fit = self.fits[metric] = fitted_resource(metric, at_most, structure, cost, rng=rng, networks=SAMPLE)
        return fit.resource

    def _keeps(self, depths: Sequence[int], configs: Sequence[int]) -> bool:
        return not self.gates.violations(self._metrics(np.asarray(depths), np.asarray(configs)))

    def _metrics(self, depths: Indices, configs: Indices) -> Metrics:
        key = depths.astype(np.int16).tobytes() + configs.astype(np.int16).tobytes()
        if key not in self._known:
            self._known[key] = self.gates(self.view.architectures(depths[None], configs[None])[0])
        return self._known[key]
