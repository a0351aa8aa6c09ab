"""Stage-separable fronts, dense bilinear forms and additive readings against brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from nas.exact.additive import NotAdditive, additive_resource, fitted_resource
from nas.exact.bilinear_program import solve, solve_checked
from nas.exact.dense import solve_dense
from nas.exact.program import BilinearProgram, NothingFeasible, Resource
from nas.exact.stage_front import StageOptions, pareto_front, stage_configurations, stage_options
from predictors.models.bilinear_form import BilinearForm
from predictors.models.bilinear_structure import Stage, Structure

STRUCTURE = Structure((Stage((1, 2), (3, 2)), Stage((1, 3), (2, 2, 2))))


def every() -> tuple[np.ndarray, np.ndarray]:
    """All depths and configurations, those of absent blocks included."""
    depths, configs = [], []
    for chosen in product(*(stage.depths for stage in STRUCTURE.stages)):
        for config in product(*(range(STRUCTURE.stages[s].configs[b]) for s, b in STRUCTURE.blocks)):
            depths.append(chosen)
            configs.append(config)
    return np.array(depths), np.array(configs)


def nondominated(values: np.ndarray, costs: np.ndarray) -> set[tuple[float, ...]]:
    points = {(round(v, 9), *np.round(c, 9)) for v, c in zip(values, costs, strict=True)}
    return {
        p
        for p in points
        if not any(q != p and q[0] >= p[0] and all(a <= b for a, b in zip(q[1:], p[1:], strict=True)) for q in points)
    }


@pytest.mark.parametrize("resources", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_the_front_is_that_of_all_combinations(seed: int, resources: int) -> None:
    rng = np.random.default_rng(seed)
    stages = [StageOptions(rng.random(n), rng.integers(1, 9, (n, resources)) / 4) for n in (12, 7, 9)]
    front = pareto_front(stages, value=1.0, costs=[0.5] * resources)
    picks = np.array(list(product(range(12), range(7), range(9))))
    values = 1.0 + sum(stage.values[picks[:, i]] for i, stage in enumerate(stages))
    costs = 0.5 + sum(stage.costs[picks[:, i]] for i, stage in enumerate(stages))
    assert {(round(v, 9), *np.round(c, 9)) for v, c in zip(front.values, front.costs, strict=True)} == nondominated(
        values, costs
    )
    again = 1.0 + sum(stage.values[front.options[:, i]] for i, stage in enumerate(stages))
    np.testing.assert_allclose(again, front.values)
    budget = np.median(costs, axis=0)
    kept = (costs <= budget).all(axis=1)
    assert front.values[front.best_within(budget)] == pytest.approx(values[kept].max())
    with pytest.raises(NothingFeasible, match="the least of each cost is"):
        front.best_within([0.1] * resources)


def test_a_front_of_additive_effects_holds_the_programs_optima() -> None:
    rng = np.random.default_rng(0)
    effects, times = rng.random(STRUCTURE.alpha_starts[-1]), 0.1 + rng.random(STRUCTURE.alpha_starts[-1])
    betas = rng.random(STRUCTURE.beta_starts[-1])
    stages = []
    for s, stage in enumerate(STRUCTURE.stages):
        first = next(at for at, (of, _) in enumerate(STRUCTURE.blocks) if of == s)

        def value(depths, configs, s=s, stage=stage, first=first, terms=effects, base=betas):
            found = base[STRUCTURE.beta_starts[s] + np.searchsorted(stage.depths, depths)]
            for b in range(configs.shape[1]):
                found = found + np.where(depths > b, terms[STRUCTURE.alpha_starts[first + b] + configs[:, b]], 0)
            return found

        def cost(depths, configs, value=value):
            return value(depths, configs, terms=times, base=np.zeros(len(betas)))

        stages.append(stage_options(stage, value, [cost]))
    assert len(stage_configurations(STRUCTURE.stages[0])[0]) == 3 + 6
    front = pareto_front(stages)
    resource = Resource("time", np.inf, 0.0, np.zeros(len(betas)), times)
    for at in (0, len(front.values) // 2, -1):
        budget = float(front.costs[at, 0]) + 1e-9
        problem = BilinearProgram(STRUCTURE, 0.0, betas, effects, (resource.within(budget),))
        assert solve(problem)[0].value == pytest.approx(front.values[at], abs=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_dense_forms_against_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    alphas, betas = STRUCTURE.alpha_starts[-1], STRUCTURE.beta_starts[-1]
    form = BilinearForm(
        STRUCTURE, 2.0, rng.normal(size=betas), rng.normal(size=(alphas, betas)), rng.normal(size=alphas)
    )
    times = 0.1 + rng.random(alphas)
    depths, configs = every()
    alpha = np.zeros((len(depths), alphas))
    np.put_along_axis(alpha, configs + np.array(STRUCTURE.alpha_starts[:-1]), 1.0, axis=1)
    masked, beta = STRUCTURE.one_hot(depths, configs)
    costs, values = masked @ times, form.value(alpha, beta)
    budget = float(np.quantile(costs, 0.4))
    found = solve_dense(form, (Resource("time", budget, 0.0, np.zeros(betas), times),))
    assert found.value == pytest.approx(values[costs <= budget].max(), abs=1e-7)
    assert found.proven
    assert found.costs["time"] <= budget
    for factor in (1.0, 1 - 1e-12, 1 - 1e-9):  # on its own cost, and below it by less than HiGHS sees
        tight = found.costs["time"] * factor
        again = solve_dense(form, (Resource("time", tight, 0.0, np.zeros(betas), times),))
        assert again.costs["time"] <= tight
        assert again.value == pytest.approx(values[costs <= tight + 1e-14].max(), abs=1e-7)
    with pytest.raises(NothingFeasible):
        solve_dense(form, (Resource("time", 0.0, 0.0, np.zeros(betas), times),))


def test_additive_costs_are_read_exactly_and_others_refused() -> None:
    rng = np.random.default_rng(0)
    alphas, betas = rng.random(STRUCTURE.alpha_starts[-1]), rng.random(STRUCTURE.beta_starts[-1])

    def cost(depths, configs):
        alpha, beta = STRUCTURE.one_hot(depths, configs)
        return 3.0 + alpha @ alphas + beta @ betas

    resource = additive_resource("macs", 4.0, STRUCTURE, cost, rng=rng)
    depths, configs = STRUCTURE.sample(50, rng)
    alpha, beta = STRUCTURE.one_hot(depths, configs)
    np.testing.assert_allclose(
        resource.fixed + alpha @ resource.configs + beta @ resource.depths, cost(depths, configs)
    )
    with pytest.raises(NotAdditive, match="stage_front"):
        additive_resource("ms", 4.0, STRUCTURE, lambda d, c: cost(d, c) ** 2, rng=rng)


def test_nearly_additive_costs_are_fitted_and_kept_by_the_model_itself() -> None:
    rng = np.random.default_rng(1)
    alphas, effects = 0.5 + rng.random(STRUCTURE.alpha_starts[-1]), rng.random(STRUCTURE.alpha_starts[-1])

    def cost(depths, configs):
        alpha, _ = STRUCTURE.one_hot(depths, configs)
        return (1.0 + alpha @ alphas) ** 1.1

    fit = fitted_resource("ms", 3.0, STRUCTURE, cost, rng=rng, networks=400)
    assert 0 < fit.relative_error < 0.05
    assert fit.largest_over > 0
    problem = BilinearProgram(STRUCTURE, 0.0, np.zeros(STRUCTURE.beta_starts[-1]), effects, (fit.moved(1.0),))
    found = solve_checked(
        problem, lambda depths, configs: cost(np.array([depths]), np.array([configs]))[0] <= 3.0, count=2
    )
    depths, configs = every()
    masked, _ = STRUCTURE.one_hot(depths, configs)
    best = np.unique((masked @ effects)[cost(depths, configs) <= 3.0])
    assert found[0].value == pytest.approx(best[-1])
    assert all(cost(np.array([s.depths]), np.array([s.configs]))[0] <= 3.0 for s in found)
