"""The exact solver against brute force: optimum, order, budgets, messages."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from thinning import thinned

from nas.exact.bilinear_program import relaxed_prices, solve, solve_checked, with_budgets
from nas.exact.infeasible import least_cost
from nas.exact.one_budget import solve_one_budget
from nas.exact.program import BilinearProgram, InvalidProgram, NothingFeasible, Resource
from predictors.models.bilinear_structure import Stage, Structure

STRUCTURE = Structure((Stage((1, 2), (3, 2)), Stage((2, 3), (2, 2, 3))))


def networks(structure: Structure) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Every network once: configurations of absent blocks are 0."""
    found = []
    for depths in product(*(stage.depths for stage in structure.stages)):
        ranges = [range(structure.stages[s].configs[b]) if depths[s] > b else range(1) for s, b in structure.blocks]
        found += [(depths, configs) for configs in product(*ranges)]
    return found


def program(seed: int, resources: int = 1, share: float = 0.4, structure: Structure = STRUCTURE) -> BilinearProgram:
    rng = np.random.default_rng(seed)
    sizes = structure.beta_starts[-1], structure.alpha_starts[-1]
    rows = [
        Resource(f"cost{i}", np.inf, rng.random(), rng.random(sizes[0]), 0.1 + rng.random(sizes[1]))
        for i in range(resources)
    ]
    free = BilinearProgram(structure, 1.0, rng.normal(size=sizes[0]), rng.normal(size=sizes[1]), tuple(rows))
    costs = [free.costs(*network) for network in networks(structure)]
    return with_budgets(free, **{r.name: float(np.quantile([c[r.name] for c in costs], share)) for r in rows})


def by_brute_force(problem: BilinearProgram) -> list[tuple[float, tuple[int, ...], tuple[int, ...]]]:
    kept = [network for network in networks(problem.structure) if problem.keeps(*network)]
    return sorted(((problem.value(*network), *network) for network in kept), reverse=True)


@pytest.mark.parametrize("seed", thinned(range(8), 3))
@pytest.mark.parametrize("resources", [0, 1, 3])
def test_the_best_networks_in_order(seed: int, resources: int) -> None:
    problem = program(seed, resources, share=0.5)
    expected = by_brute_force(problem)[:12]
    found = solve(problem, count=12)
    np.testing.assert_allclose([s.value for s in found], [value for value, *_ in expected], atol=1e-8)
    assert len({(s.depths, s.configs) for s in found}) == len(found)
    for solution in found:
        assert solution.proven
        assert solution.gap <= 1e-8
        assert problem.keeps(solution.depths, solution.configs)
        assert solution.value == pytest.approx(problem.value(solution.depths, solution.configs))


def test_solutions_differ_in_as_many_choices_as_asked() -> None:
    problem = program(3)
    found = solve(problem, count=4, distance=3)
    assert len(found) == 4
    for i, later in enumerate(found):
        for earlier in found[:i]:
            alpha, beta = STRUCTURE.one_hot([earlier.depths, later.depths], [earlier.configs, later.configs])
            chosen = np.concatenate([beta, alpha], axis=1)
            assert chosen[0].sum() - (chosen[0] * chosen[1]).sum() >= 3


def test_known_networks_are_avoided_and_the_end_is_told() -> None:
    problem = program(1, share=0.01)
    everything = by_brute_force(problem)
    found = solve(problem, count=10_000)
    assert len(found) == len(everything)
    with pytest.raises(NothingFeasible, match="no further network"):
        solve(problem, avoid=[(s.depths, s.configs) for s in found])


def test_budgets_are_never_rounded_over() -> None:
    """Budgets that lie exactly on, and by less than the solver's tolerance below, the cost of the free optimum."""
    for seed in range(20):
        free = with_budgets(program(seed), cost0=np.inf)
        best = solve(free)[0]
        for factor in (1.0, 1 - 1e-12, 1 - 1e-9):
            problem = with_budgets(free, cost0=best.costs["cost0"] * factor)
            expected = by_brute_force(problem)
            if not expected:
                with pytest.raises(NothingFeasible, match="the least is"):
                    solve(problem)
                continue
            solution = solve(problem)[0]
            assert solution.costs["cost0"] <= problem.resources[0].at_most
            assert (solution.depths, solution.configs) == expected[0][1:]


def test_a_check_of_its_own_cuts_off_what_it_refuses() -> None:
    problem = program(5)
    expected = [row for row in by_brute_force(problem) if sum(row[2]) % 2 == 0]
    found = solve_checked(problem, lambda depths, configs: sum(configs) % 2 == 0, count=3)
    np.testing.assert_allclose([s.value for s in found], [value for value, *_ in expected[:3]], atol=1e-8)
    with pytest.raises(NothingFeasible, match="break a budget of the true ones"):
        solve_checked(problem, lambda depths, configs: False, tries=3)


def test_an_impossible_budget_is_named_with_the_least_that_can_be_reached() -> None:
    problem = program(0, resources=2)
    least = min(problem.costs(*network)["cost1"] for network in networks(STRUCTURE))
    with pytest.raises(NothingFeasible, match=r"cost1 of at most 0.001 \(the least is") as caught:
        solve(with_budgets(problem, cost1=0.001))
    told = float(re.findall(r"least is ([\d.]+)", str(caught.value))[0])
    assert told == pytest.approx(least, rel=1e-5)
    assert solve(with_budgets(problem, cost0=np.inf, cost1=told))  # as printed it can be kept


def test_budgets_that_fail_only_together_give_the_nearest_ones() -> None:
    rng = np.random.default_rng(0)
    sizes = STRUCTURE.beta_starts[-1], STRUCTURE.alpha_starts[-1]
    first = rng.random(sizes[1])
    rows = (
        Resource("small", 0.0, 0.0, np.zeros(sizes[0]), first),
        Resource("large", 0.0, 0.0, np.zeros(sizes[0]), 1.0 - first),
    )
    problem = BilinearProgram(STRUCTURE, 0.0, np.zeros(sizes[0]), np.zeros(sizes[1]), rows)
    costs = [problem.costs(*network) for network in networks(STRUCTURE)]
    budgets = {name: 1.05 * min(cost[name] for cost in costs) for name in ("small", "large")}
    factor = min(max(cost[name] / budgets[name] for name in budgets) for cost in costs)
    assert factor > 1
    with pytest.raises(NothingFeasible, match=r"all together cannot \(small, large\)") as caught:
        solve(with_budgets(problem, **budgets))
    told = float(re.findall(r"all times ([\d.]+)", str(caught.value))[0])
    assert factor <= told <= factor * (1 + 1e-5)
    third = replace(rows[0], name="third", at_most=100.0)  # one that is easily kept is not named
    wider = with_budgets(replace(problem, resources=(*rows, third)), **budgets)
    with pytest.raises(NothingFeasible, match=r"all together cannot \(small, large\)"):
        solve(wider)
    assert solve(with_budgets(problem, **{name: factor * (1 + 1e-9) * value for name, value in budgets.items()}))


def test_prices_tell_what_more_budget_is_worth() -> None:
    problem = program(2)
    tight = relaxed_prices(problem)["cost0"]
    assert tight > 0
    assert relaxed_prices(with_budgets(problem, cost0=1e6))["cost0"] == 0


def test_programs_that_do_not_fit_are_refused() -> None:
    problem = program(0)
    with pytest.raises(InvalidProgram, match="expected"):
        BilinearProgram(STRUCTURE, 0.0, problem.depths[1:], problem.configs)
    with pytest.raises(InvalidProgram, match="finite"):
        BilinearProgram(STRUCTURE, 0.0, problem.depths * np.nan, problem.configs)


@pytest.mark.parametrize("seed", range(30))
def test_one_budget_by_merging_lists_is_the_same_optimum(seed: int) -> None:
    for share in (0.05, 0.3, 0.8):
        problem = program(seed, 1, share)
        solution = solve_one_budget(problem)
        assert solution is not None
        assert solution.proven
        assert solution.value == pytest.approx(by_brute_force(problem)[0][0], abs=1e-9)
        assert problem.keeps(solution.depths, solution.configs)
    assert solve_one_budget(program(seed, 2)) is None


@pytest.mark.parametrize("share", [0.15, 0.6])
def test_one_budget_is_proven_where_time_and_effect_are_alike(share: float) -> None:
    """Effect = time + a constant: the hardest kind of knapsack, here of the published size."""
    structure = Structure.even(5, 12, (2, 3, 4))
    times = 0.1 + np.random.default_rng(0).random(240)
    cost = Resource("latency_ms", np.inf, 0.0, np.zeros(15), times)
    problem = BilinearProgram(structure, 0.0, np.zeros(15), times + 0.1, (cost,))
    least, most = least_cost(problem, cost), times.reshape(20, 12).max(axis=1).sum()
    solution = solve_one_budget(with_budgets(problem, latency_ms=least + share * (most - least)))
    assert solution is not None
    assert solution.relative_gap <= 1e-6


def test_budgets_below_what_the_solver_sees_end_in_one_line() -> None:
    """Depths cost a million times what configurations do, so that HiGHS cannot tell the latter apart."""
    rng = np.random.default_rng(0)
    costs = Resource("macs", np.inf, 0.0, 1e8 * np.array([1.0, 2.0, 1.0, 2.0]), rng.random(12))
    other = Resource("params", 1e9, 0.0, np.zeros(len(costs.depths)), costs.configs)
    problem = BilinearProgram(STRUCTURE, 0.0, np.zeros(len(costs.depths)), rng.random(12), (costs, other))
    least = least_cost(problem, costs)
    with pytest.raises(NothingFeasible, match="macs of at most"):
        solve(with_budgets(problem, macs=least - 1e-3))
    for room in (1e-3, 0.5, 1.0):
        within = with_budgets(problem, macs=least + room)
        assert solve(within)[0].value == pytest.approx(by_brute_force(within)[0][0], abs=1e-9)
