"""Why no network keeps the budgets, and the nearest ones that can be kept."""

from __future__ import annotations

import numpy as np

from nas.exact.program import BilinearProgram, Resource
from predictors.models.bilinear_structure import Floats


def least_cost(program: BilinearProgram, resource: Resource) -> float:
    """The least that a resource alone can be brought down to: stage by stage, depth by depth."""
    structure, total = program.structure, resource.fixed
    for s, stage in enumerate(structure.stages):
        blocks = [at for at, (stage_of, _) in enumerate(structure.blocks) if stage_of == s]
        cheapest = [_block(resource, structure.alpha_starts[at], structure.alpha_starts[at + 1]) for at in blocks]
        start = structure.beta_starts[s]
        total += min(
            float(resource.depths[start + place]) + sum(cheapest[:depth]) for place, depth in enumerate(stage.depths)
        )
    return float(total)


def _block(resource: Resource, start: int, end: int) -> float:
    return float(resource.configs[start:end].min())


def explain_infeasible(program: BilinearProgram) -> str | None:
    """One line: budgets that cannot be kept alone, or the smallest common loosening of all; None when all is well."""
    limited = [r for r in program.resources if np.isfinite(r.at_most)]
    alone = [(r, least) for r in limited if (least := least_cost(program, r)) > r.at_most]
    if alone:
        told = ", ".join(f"{r.name} of at most {r.at_most:.6g} (the least is {_upward(least)})" for r, least in alone)
        return f"exact search: no network keeps {told}; allow at least that"
    factor = _common_loosening(program, limited)
    if factor is None or factor <= 1.0:
        return None
    clash = _clash(program, limited)
    factor = _common_loosening(program, clash) or factor
    names = ", ".join(r.name for r in clash)
    nearest = ", ".join(f"{r.name} {_upward(factor * r.at_most)}" for r in clash)
    return (
        f"exact search: each budget can be kept alone, all together cannot ({names}); "
        f"the nearest that can: all times {_upward(factor)}, that is {nearest}"
    )


def _clash(program: BilinearProgram, limited: list[Resource]) -> list[Resource]:
    """Budgets that cannot be kept together, of which any one less can."""
    left = list(limited)
    for resource in limited:
        fewer = [other for other in left if other is not resource]
        if (_common_loosening(program, fewer) or 1.0) > 1.0:
            left = fewer
    return left


def _upward(value: float) -> str:
    """Six digits, rounded up: a budget typed as it is printed can be kept."""
    if value == 0 or not np.isfinite(value):
        return f"{value:.6g}"
    unit = 10.0 ** (np.floor(np.log10(abs(value))) - 5)
    return f"{float(np.ceil(value / unit * (1 - 1e-15))) * unit:.6g}"


def _common_loosening(program: BilinearProgram, limited: list[Resource]) -> float | None:
    """The smallest factor on all budgets together that some network keeps; by a small program of its own."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    from nas.exact.bilinear_program import _equalities

    if not limited or any(r.at_most <= 0 for r in limited):
        return None
    equalities, sums = _equalities(program)
    size = equalities.shape[1]
    rows: Floats = np.array([np.concatenate([r.depths, r.configs, [-r.at_most]]) / r.at_most for r in limited])
    most = np.array([-r.fixed / r.at_most for r in limited])
    padded = np.hstack([equalities.toarray(), np.zeros((equalities.shape[0], 1))])
    result = milp(
        np.append(np.zeros(size), 1.0),
        integrality=np.append(np.ones(size), 0.0),
        bounds=Bounds(0, np.append(np.ones(size), np.inf)),
        constraints=[LinearConstraint(padded, sums, sums), LinearConstraint(rows, -np.inf, most)],
        options={"time_limit": 10.0},
    )
    if result.x is None:
        return None
    chosen = np.round(result.x[:-1])  # costs are summed anew, as the solver has a tolerance
    return max(float(r.fixed + np.concatenate([r.depths, r.configs]) @ chosen) / r.at_most for r in limited)
