"""The bilinear program in its exact linear form, solved to proven optimality.

One budget is solved by ``nas.exact.one_budget`` where that gives a proof, everything else by HiGHS.

Variables: beta, one-hot depths of each stage; y, one-hot configurations of existing blocks. For every stage the betas
sum to 1; for every block the ys sum to the betas of the depths that have it (at most 1, by that). Budgets are rows.
Budgets are strict: costs of the integer solution are summed anew, and one that the solver's tolerance let through is
cut off. Further solutions come by no-good cuts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix, vstack

from nas.exact.infeasible import explain_infeasible
from nas.exact.one_budget import solve_one_budget
from nas.exact.program import RELATIVE_GAP, BilinearProgram, NothingFeasible, Solution
from predictors.models.bilinear_structure import Floats

Network = tuple[Sequence[int], Sequence[int]]  # (stages,) depths and (blocks,) configurations
ROUNDING = 1e-9  # of an objective, relative
WITHIN_TOLERANCE = 40  # networks that break a budget by less than the solver sees
CUT_OFF = 20  # of them, one by one; then rows are tightened


class SolverFailed(RuntimeError):
    """The time ran out before any network was found, or HiGHS failed; the message has its words."""


def solve(
    program: BilinearProgram,
    *,
    count: int = 1,
    distance: int = 1,
    avoid: Sequence[Network] = (),
    seconds: float = 60.0,
) -> list[Solution]:
    """The best networks, best first.

    Args:
        program: effects, costs and budgets.
        count: how many.
        distance: choices in which each differs from every one before it: depths of stages, configurations of blocks
            that the earlier one has.
        avoid: networks that must not come.
        seconds: for each; a solution that is not proven by then says so and has its bound.
    Returns: fewer where there are no more.
    Raises: NothingFeasible: not even one; SolverFailed.
    """
    return solve_checked(program, count=count, distance=distance, avoid=avoid, seconds=seconds)


def solve_checked(  # noqa: PLR0913 - what is wanted, all named
    program: BilinearProgram,
    keeps: Callable[[Sequence[int], Sequence[int]], bool] | None = None,
    *,
    count: int = 1,
    distance: int = 1,
    avoid: Sequence[Network] = (),
    seconds: float = 60.0,
    tries: int = 200,
) -> list[Solution]:
    """``solve``, with every network held against a check of its own: what fails is cut off, and the next best comes.

    So budgets of costs that are no sum over choices are kept exactly, as long as the program's rows let every network
    pass that the check lets pass; the bound and the proof then hold for them too.

    Args:
        program: with rows that are no tighter than the check.
        keeps: of (depths, configs); None checks nothing further.
        count: as for ``solve``.
        distance: likewise.
        avoid: likewise.
        seconds: likewise.
        tries: networks that may fail in all.
    Returns: fewer where there are no more, or where the tries are over.
    Raises: NothingFeasible; SolverFailed.
    """
    model = _Model(program)
    for depths, configs in avoid:
        model.cut(depths, configs, 1)
    found: list[Solution] = []
    failed = 0
    while len(found) < count and failed < tries:
        solution = model.solve(seconds)
        if solution is None:
            break
        if keeps is None or keeps(solution.depths, solution.configs):
            found.append(solution)
            model.cut(solution.depths, solution.configs, distance)
        else:
            failed += 1
            model.cut(solution.depths, solution.configs, 1)
    if not found:
        raise NothingFeasible(_why(program, failed, bool(avoid)))
    return found


def _why(program: BilinearProgram, failed: int, avoided: bool) -> str:
    if failed:
        return (
            f"exact search: the {failed} best networks of the additive costs break a budget of the true ones; "
            "loosen the budget, or take a search that asks the true costs, such as --score predictor"
        )
    return explain_infeasible(program) or (
        "exact search: no further network keeps the budgets"
        if avoided
        else "exact search: no network keeps the budgets"
    )


def relaxed_prices(program: BilinearProgram) -> dict[str, float]:
    """Shadow prices: gain of the objective for one unit more of each budget, at the optimum of the linear relaxation.

    0 where a budget does not bind. Raises NothingFeasible.
    """
    from scipy.optimize import linprog

    model = _Model(program)
    rows = [i for i, r in enumerate(program.resources) if np.isfinite(r.at_most)]
    result = linprog(
        -model.objective,
        A_ub=model.costs[rows] if rows else None,
        b_ub=model.room[rows] if rows else None,
        A_eq=model.equalities,
        b_eq=model.sums,
        bounds=(0, 1),
        method="highs",
    )
    if result.x is None:
        raise NothingFeasible(_why(program, 0, False))
    prices = dict.fromkeys((resource.name for resource in program.resources), 0.0)
    for row, i in enumerate(rows):
        prices[program.resources[i].name] = float(-result.ineqlin.marginals[row])
    return prices


class _Model:
    """Matrices of a program, and the cuts so far."""

    def __init__(self, program: BilinearProgram) -> None:
        self.program = program
        structure = program.structure
        self.betas = structure.beta_starts[-1]
        self.size = self.betas + structure.alpha_starts[-1]
        self.objective = np.concatenate([program.depths, program.configs])
        self.costs: Floats = np.array([np.concatenate([r.depths, r.configs]) for r in program.resources]).reshape(
            len(program.resources), self.size
        )
        self.room = np.array([r.at_most - r.fixed for r in program.resources])
        self.equalities, self.sums = _equalities(program)
        self._cuts: list[tuple[Floats, float]] = []

    def cut(self, depths: Sequence[int], configs: Sequence[int], distance: int) -> None:
        """Every later network differs from this one in so many of its choices."""
        row = self._indicator(depths, configs)
        self._cuts.append((row, row.sum() - distance))

    def solve(self, seconds: float) -> Solution | None:
        """The best network that is left, None when there is none."""
        started = time.perf_counter()
        if not self._cuts and (direct := solve_one_budget(self.program, seconds=seconds)) is not None:
            return direct
        room, bound = self.room, np.inf
        for attempt in range(WITHIN_TOLERANCE):
            result = self._run(room, seconds)
            if result.x is None:
                if result.status == 2 and (attempt <= CUT_OFF or explain_infeasible(self.program)):
                    return None
                raise SolverFailed(_failure(result, seconds))
            solution = self._solution(result, time.perf_counter() - started)
            if attempt <= CUT_OFF:
                bound = solution.bound
            over = np.array([solution.costs[r.name] - r.at_most for r in self.program.resources])
            if not (over > 0).any():
                return solution if attempt <= CUT_OFF else _under(solution, bound, self.program.base)
            self.cut(solution.depths, solution.configs, 1)
            if attempt >= CUT_OFF:
                room = np.where(over > 0, room - 2 * over, room)
        raise SolverFailed("exact search: too many networks within HiGHS's tolerance of a budget; change it a little")

    def _run(self, room: Floats, seconds: float) -> Any:
        constraints = [LinearConstraint(self.equalities, self.sums, self.sums)]
        limited = np.isfinite(room)
        if limited.any():  # rows scaled to a budget of about 1, as tolerances are absolute
            scale = np.maximum(np.abs(self.costs[limited]).max(axis=1), 1e-300)
            constraints.append(LinearConstraint(self.costs[limited] / scale[:, None], -np.inf, room[limited] / scale))
        if self._cuts:
            rows, most = zip(*self._cuts, strict=True)
            constraints.append(LinearConstraint(csr_matrix(np.array(rows)), -np.inf, np.array(most)))
        spread = max(float(np.abs(self.objective).max()), 1e-300)
        return milp(
            -self.objective / spread,
            integrality=np.ones(self.size),
            bounds=Bounds(0, 1),
            constraints=constraints,
            options={"time_limit": seconds, "mip_rel_gap": RELATIVE_GAP},
        )

    def _solution(self, result: Any, seconds: float) -> Solution:
        depths, configs = self._network(result.x)
        value = self.program.value(depths, configs)
        spread = max(float(np.abs(self.objective).max()), 1e-300)
        dual = getattr(result, "mip_dual_bound", None)
        bound = self.program.base - spread * float(dual) if dual is not None else value
        proven = result.status == 0
        if bound - value <= ROUNDING * max(1.0, abs(value), spread):
            bound = value  # what is left is rounding
        bound = max(bound, value)
        return Solution(depths, configs, value, bound, self.program.costs(depths, configs), proven, seconds)

    def _network(self, x: Floats) -> tuple[tuple[int, ...], tuple[int, ...]]:
        structure = self.program.structure
        depths = tuple(
            stage.depths[int(np.argmax(x[structure.beta_starts[s] : structure.beta_starts[s + 1]]))]
            for s, stage in enumerate(structure.stages)
        )
        configs = []
        for at, (s, b) in enumerate(structure.blocks):
            part = x[self.betas + structure.alpha_starts[at] : self.betas + structure.alpha_starts[at + 1]]
            configs.append(int(np.argmax(part)) if depths[s] > b else 0)
        return depths, tuple(configs)

    def _indicator(self, depths: Sequence[int], configs: Sequence[int]) -> Floats:
        alpha, beta = self.program.structure.one_hot(np.array([depths]), np.array([configs]))
        return np.concatenate([beta[0], alpha[0]])


def _failure(result: Any, seconds: float) -> str:
    if result.status == 1:
        return f"exact search: no network found in {seconds:g} s; allow more time"
    if result.status == 2:
        return "exact search: too many networks within HiGHS's tolerance of a budget; change it a little"
    return f"exact search: HiGHS: {result.message}"


def _under(solution: Solution, bound: float, base: float) -> Solution:
    """A solution under tightened rows, with the bound of the program as it was."""
    bound = max(bound, solution.value)
    near = bound - solution.value <= RELATIVE_GAP * abs(solution.value - base)
    return replace(solution, bound=bound, proven=solution.proven and near)


def _equalities(program: BilinearProgram) -> tuple[csr_matrix, Floats]:
    """One depth a stage; of each block one configuration where it exists."""
    structure = program.structure
    betas, size = structure.beta_starts[-1], structure.beta_starts[-1] + structure.alpha_starts[-1]
    rows, sums = [], []
    for s in range(len(structure.stages)):
        row = np.zeros(size)
        row[structure.beta_starts[s] : structure.beta_starts[s + 1]] = 1
        rows.append(row)
        sums.append(1.0)
    for at, (s, b) in enumerate(structure.blocks):
        row = np.zeros(size)
        row[betas + structure.alpha_starts[at] : betas + structure.alpha_starts[at + 1]] = 1
        for place, depth in enumerate(structure.stages[s].depths):
            row[structure.beta_starts[s] + place] -= float(depth > b)
        rows.append(row)
        sums.append(0.0)
    return vstack([csr_matrix(row) for row in rows]).tocsr(), np.array(sums)


def with_budgets(program: BilinearProgram, **at_most: float) -> BilinearProgram:
    """The same program under other budgets, by resource name."""
    return replace(program, resources=tuple(r.within(at_most.get(r.name, r.at_most)) for r in program.resources))
