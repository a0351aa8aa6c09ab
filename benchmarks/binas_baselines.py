"""BINAS's own solvers, as baselines: block-coordinate Frank-Wolfe with rounding, and evolution by rejection.

BCFW: from the smallest network, each step draws alpha (configurations) or beta (depths), solves the linear program
over that block (a product of simplices and one latency row) on a gradient with momentum 0.9, and moves by 0.002 or by
4 / (k + 4) (the released schedule has a further factor gamma_max, taken as 1 here); then up to 100 alternating linear
programs towards the current point, then the largest entries. As the paper and its released code describe it; written
anew.
Evolution: population 100, 490 generations and ten populations at first (50,000 evaluations), mutation 0.1, parents 25
%, half mutation and half crossover.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy.optimize import linprog

from nas.exact.program import BilinearProgram
from predictors.models.bilinear_form import existence
from predictors.models.bilinear_structure import Floats

FIRST = 10  # populations that evolution draws at first, to find enough within the budget
Network = tuple[tuple[int, ...], tuple[int, ...]]


def frank_wolfe(program: BilinearProgram, *, steps: int = 1_000, decaying: bool = False, seed: int = 0) -> Network:
    """The network after rounding; it may break the budget, as nothing is repaired."""
    relaxed = _Relaxed(program)
    rng = np.random.default_rng(seed)
    alpha, beta = relaxed.smallest()
    momenta = [np.zeros_like(alpha), np.zeros_like(beta)]
    for k in range(steps):
        step = min(1.0, 4 / (k + 4)) if decaying else 0.002
        block = int(rng.integers(2))
        gradient = relaxed.of_alpha(beta)[0] if block == 0 else relaxed.of_beta(alpha)[0]
        momenta[block] = 0.9 * momenta[block] + gradient
        if block == 0:
            alpha = alpha + step * (relaxed.best_alpha(momenta[0], beta) - alpha)
        else:
            beta = beta + step * (relaxed.best_beta(momenta[1], alpha) - beta)
    for _ in range(100):
        before = alpha, beta
        alpha = relaxed.best_alpha(alpha, beta)
        beta = relaxed.best_beta(beta, alpha)
        if np.array_equal(before[0], alpha) and np.array_equal(before[1], beta):
            break
    return relaxed.rounded(alpha, beta)


class _Relaxed:
    """Objective and latency as bilinear functions of alpha and beta, and their linear programs."""

    def __init__(self, program: BilinearProgram) -> None:
        self.program, self.structure = program, program.structure
        self.has = existence(self.structure)
        self.resource = program.resources[0]
        self.room = self.resource.at_most - self.resource.fixed
        self.alphas, self.betas = self.structure.alpha_starts, self.structure.beta_starts

    def of_alpha(self, beta: Floats) -> tuple[Floats, Floats]:
        """Gain and time of each configuration under these depths."""
        there = self.has @ beta
        return self.program.configs * there, self.resource.configs * there

    def of_beta(self, alpha: Floats) -> tuple[Floats, Floats]:
        """Gain and time of each depth under these configurations."""
        return (
            self.program.depths + (alpha * self.program.configs) @ self.has,
            self.resource.depths + (alpha * self.resource.configs) @ self.has,
        )

    def best_alpha(self, weights: Floats, beta: Floats) -> Floats:
        return _vertex(weights, self.of_alpha(beta)[1], self.room - self.resource.depths @ beta, self.alphas)

    def best_beta(self, weights: Floats, alpha: Floats) -> Floats:
        return _vertex(weights, self.of_beta(alpha)[1], self.room, self.betas)

    def smallest(self) -> tuple[Floats, Floats]:
        alpha, beta = np.zeros(self.alphas[-1]), np.zeros(self.betas[-1])
        for a, b in pairwise(self.alphas):
            alpha[a + int(self.resource.configs[a:b].argmin())] = 1
        beta[list(self.betas[:-1])] = 1
        return alpha, beta

    def rounded(self, alpha: Floats, beta: Floats) -> Network:
        stages = enumerate(self.structure.stages)
        depths = tuple(stage.depths[int(beta[self.betas[s] : self.betas[s + 1]].argmax())] for s, stage in stages)
        configs = []
        for at, (s, b) in enumerate(self.structure.blocks):
            part = alpha[self.alphas[at] : self.alphas[at + 1]]
            configs.append(int(part.argmax()) if depths[s] > b else 0)
        return depths, tuple(configs)


def _vertex(weights: Floats, times: Floats, room: float, starts: tuple[int, ...]) -> Floats:
    """Maximise over a product of simplices and one row."""
    groups = np.zeros((len(starts) - 1, starts[-1]))
    for at, (a, b) in enumerate(pairwise(starts)):
        groups[at, a:b] = 1
    found = linprog(-weights, times[None], [room], groups, np.ones(len(groups)), (0, 1), method="highs-ds")
    if found.x is None:  # the other block leaves no room: the fastest
        found = linprog(times, None, None, groups, np.ones(len(groups)), (0, 1), method="highs-ds")
    return np.asarray(found.x)


def evolve(
    program: BilinearProgram, *, population: int = 100, generations: int = 490, seed: int = 0
) -> tuple[Network, int]:
    """The best network within the budget, and the evaluations spent."""
    structure, rng = program.structure, np.random.default_rng(seed)
    evaluate = _vectorised(program)
    depths, configs = structure.sample(FIRST * population, rng)
    least = np.array([stage.depths[0] for stage in structure.stages])
    depths[0], configs[0] = least, [int(program.resources[0].configs[a:b].argmin()) for a, b in _pairs(program)]
    values, kept = evaluate(depths, configs)
    order = np.argsort(-np.where(kept, values, -np.inf), kind="stable")[:population]
    depths, configs, values = depths[order], configs[order], np.where(kept, values, -np.inf)[order]
    parents, spent = population // 4, FIRST * population
    sizes = np.array([structure.stages[s].configs[b] for s, b in structure.blocks])
    for _ in range(generations):
        first, second = rng.integers(parents, size=(2, population))
        crossed = rng.random(population) < 0.5
        take = rng.random(depths.shape) < 0.5
        new_depths = np.where(crossed[:, None] & take, depths[second], depths[first])
        take = rng.random(configs.shape) < 0.5
        new_configs = np.where(crossed[:, None] & take, configs[second], configs[first])
        changed = ~crossed[:, None] & (rng.random(configs.shape) < 0.1)
        new_configs = np.where(changed, rng.integers(sizes, size=configs.shape), new_configs)
        changed = ~crossed[:, None] & (rng.random(depths.shape) < 0.1)
        drawn, _ = structure.sample(population, rng)
        new_depths = np.where(changed, drawn, new_depths)
        found, kept = evaluate(new_depths, new_configs)
        spent += population
        depths = np.concatenate([depths, new_depths])
        configs = np.concatenate([configs, new_configs])
        values = np.concatenate([values, np.where(kept, found, -np.inf)])
        _, alone = np.unique(_canonical(program, depths, configs), axis=0, return_index=True)  # copies would take over
        order = alone[np.argsort(-values[alone], kind="stable")][:population]
        depths, configs, values = depths[order], configs[order], values[order]
        parents = max(1, min(parents, len(order)))
    exists = [depths[0][s] > b for s, b in structure.blocks]
    best = tuple(int(c) if e else 0 for c, e in zip(configs[0], exists, strict=True))
    return (tuple(map(int, depths[0])), best), spent


def _canonical(program: BilinearProgram, depths: np.ndarray, configs: np.ndarray) -> np.ndarray:
    """Equal rows for equal networks: configurations of absent blocks are 0."""
    stages = [s for s, _ in program.structure.blocks]
    exists = depths[:, stages] > np.array([b for _, b in program.structure.blocks])
    return np.hstack([depths, np.where(exists, configs, 0)])


def _vectorised(program: BilinearProgram) -> Callable[[np.ndarray, np.ndarray], tuple[Floats, np.ndarray]]:
    resource = program.resources[0]

    def evaluate(depths: np.ndarray, configs: np.ndarray) -> tuple[Floats, np.ndarray]:
        places, alphas, exists = program.structure.places(depths, configs)
        values = program.base + program.depths[places].sum(axis=1) + (program.configs[alphas] * exists).sum(axis=1)
        costs = resource.fixed + resource.depths[places].sum(axis=1) + (resource.configs[alphas] * exists).sum(axis=1)
        return values, costs <= resource.at_most

    return evaluate


def _pairs(program: BilinearProgram) -> list[tuple[int, int]]:
    starts = program.structure.alpha_starts
    return list(pairwise(starts))
