"""The exact program beside evolution and BINAS's Frank-Wolfe: objective, broken budgets, seconds, in one run.

    python benchmarks/bench_exact.py [--seeds 5]

Instances of the published size (5 stages of depths 2 to 4, 12 configurations: 240 + 15 binaries) with a latency table
like that of MobileNetV3: "realistic" effects grow with expansion, kernel and depth; "uncorrelated" ones are random;
"correlated" ones are time plus a constant, the hardest kind of knapsack. Budgets at 15, 35 and 60 % of the range.
Then: 10,000 random small instances, solved and checked by brute force; a dense bilinear form of 240 x 15; the whole
front of Once-for-all networks (folder ofa_mbv3_accuracy of NETWRIGHT_DATA or ../shared/data).
"""

from __future__ import annotations

import argparse
import os
import time
from itertools import product
from pathlib import Path

import numpy as np
from bench_bilinear import joint, networks
from binas_baselines import evolve, frank_wolfe
from json_line import REPOSITORY, emit, skip

from hardware.counts import count
from nas.exact.additive import additive_resource
from nas.exact.bilinear_program import solve, with_budgets
from nas.exact.dense import solve_dense
from nas.exact.infeasible import least_cost
from nas.exact.program import BilinearProgram, NothingFeasible, Resource
from nas.exact.stage_front import StageOptions, pareto_front, stage_configurations
from nas.one_shot.structure import ElasticStructure
from predictors.models.bilinear_form import BilinearForm
from predictors.models.bilinear_structure import Stage, Structure
from predictors.models.kernel_ridge import QuadraticKernelRidge
from search_spaces import SPACES
from search_spaces.mobilenet import MobileNetSpace

PUBLISHED = Structure.even(5, 12, (2, 3, 4))
KINDS, SHARES = ("realistic", "uncorrelated", "correlated"), (0.15, 0.35, 0.6)
EXPANSION, KERNEL, GATE = np.tile([3.0, 4.0, 6.0], 4), np.repeat([3, 5], 6), np.tile(np.repeat([0, 1], 3), 2)
DATA = Path(os.environ.get("NETWRIGHT_DATA") or REPOSITORY.parent / "shared" / "data")


def instance(kind: str, seed: int) -> tuple[BilinearProgram, float, float]:
    """A program without a budget, the least latency and the greatest."""
    rng = np.random.default_rng(seed)
    times = np.concatenate(
        [
            (0.6 + 0.3 * rng.random()) * (1 + 0.15 * s) * EXPANSION / 4 * (1 + 0.25 * (KERNEL == 5)) * (1 + 0.12 * GATE)
            for s, _ in PUBLISHED.blocks
        ]
    )
    depths = np.zeros(15)
    if kind == "realistic":
        gains = np.log(EXPANSION / 3) + 0.3 * (KERNEL == 5) + 0.3 * GATE
        effects = np.concatenate(
            [0.15 * (0.5 + rng.random()) * gains + 0.03 * rng.normal(size=12) for _ in PUBLISHED.blocks]
        )
        depths = np.concatenate([np.array([0, 0.25, 0.4]) * (0.5 + rng.random()) for _ in range(5)])
    else:
        effects = rng.random(240) if kind == "uncorrelated" else times + 0.3
    resource = Resource("latency_ms", np.inf, 5.0, np.zeros(15), times)
    program = BilinearProgram(PUBLISHED, 70.0, depths, effects, (resource,))
    greatest = 5.0 + sum(times[a : a + 12].max() for a in range(0, 240, 12))
    return program, least_cost(program, resource), greatest


def compare(kind: str, seeds: int) -> None:
    """All solvers on all instances of a kind."""
    rows: dict[str, list[tuple[float, float, float]]] = {}  # solver: (shortfall, overshoot, seconds)
    proven = gaps = 0.0
    for seed in range(seeds):
        free, least, greatest = instance(kind, seed)
        for share in SHARES:
            program = with_budgets(free, latency_ms=least + share * (greatest - least))
            started = time.perf_counter()
            best = solve(program)[0]
            spent, room = time.perf_counter() - started, program.resources[0].at_most
            over = program.costs(best.depths, best.configs)["latency_ms"] - room  # measured, as for the others
            rows.setdefault("exact", []).append((0.0, over, spent))  # others are held against its objective
            proven, gaps = proven + best.proven, max(gaps, best.gap)
            others = {
                "evolution, 50,000 evaluations": lambda p=program, s=seed: evolve(p, seed=s)[0],
                "BCFW, step 0.002": lambda p=program, s=seed: frank_wolfe(p, seed=s),
                "BCFW, step 4/(k+4)": lambda p=program, s=seed: frank_wolfe(p, decaying=True, seed=s),
            }
            for name, run in others.items():
                started = time.perf_counter()
                network = run()
                seconds = time.perf_counter() - started
                over = program.costs(*network)["latency_ms"] - room
                short = (best.value - program.value(*network)) / (best.value - free.base)
                rows.setdefault(name, []).append((short, over, seconds))
    for name, found in rows.items():
        short, over, seconds = (np.array(column) for column in zip(*found, strict=True))
        broken = over > (0.0 if name == "exact" else 1e-9)
        facts: dict[str, object] = {
            "budgets_broken": int(broken.sum()),
            "worst_overshoot_ms": round(float(over.max()), 3),
        }
        if (~broken).any():
            facts["shortfall_percent_median"] = round(100 * float(np.median(short[~broken])), 3)
            facts["shortfall_percent_worst"] = round(100 * float(short[~broken].max()), 3)
        if name == "exact":
            facts = {key: facts[key] for key in ("budgets_broken", "worst_overshoot_ms")}
            facts = {"proven": int(proven), "largest_gap": float(f"{gaps:.2g}"), **facts}
        emit(f"exact.{kind}.{name}", seconds.tolist(), "s", seconds_worst=round(float(seconds.max()), 3), **facts)


def small_instances(count: int) -> None:
    """Random small instances against brute force: optimum found, no budget broken."""
    structure = Structure((Stage((1, 2), (3, 2)), Stage((2, 3), (2, 2, 3))))
    networks = []
    for depths in product(*(stage.depths for stage in structure.stages)):
        ranges = [range(structure.stages[s].configs[b]) if depths[s] > b else range(1) for s, b in structure.blocks]
        networks += [(depths, configs) for configs in product(*ranges)]
    alpha, beta = structure.one_hot([n[0] for n in networks], [n[1] for n in networks])
    rng = np.random.default_rng(0)
    broken = wrong = infeasible = 0
    seconds = []
    for _ in range(count):
        rows = []
        for name in ("latency_ms", "params")[: int(rng.integers(1, 3))]:
            costs = rng.random(beta.shape[1]), rng.random(alpha.shape[1])
            all_costs = beta @ costs[0] + alpha @ costs[1]
            rows.append(Resource(name, float(np.quantile(all_costs, rng.random() * 0.6)), 0.0, *costs))
        program = BilinearProgram(
            structure, 0.0, rng.normal(size=beta.shape[1]), rng.normal(size=alpha.shape[1]), tuple(rows)
        )
        values = beta @ program.depths + alpha @ program.configs
        kept = np.all([beta @ r.depths + alpha @ r.configs <= r.at_most for r in rows], axis=0)
        started = time.perf_counter()
        try:
            best = solve(program)[0]
        except NothingFeasible:
            infeasible += 1
            wrong += bool(kept.any())
            continue
        finally:
            seconds.append(time.perf_counter() - started)
        broken += not program.keeps(best.depths, best.configs)
        wrong += bool(abs(best.value - values[kept].max()) > 1e-6)
    emit(
        "exact.small instances", seconds, "s", instances=count, checked_by_brute_force=count, budgets_broken=broken,
        wrong_optima=wrong, infeasible=infeasible,
    )  # fmt: skip


def dense() -> None:
    """A learned form with all 3,600 products."""
    seconds, gaps, proofs = [], [], 0
    for seed in range(3):
        free, least, greatest = instance("realistic", seed)
        form = BilinearForm.of_effects(PUBLISHED, free.base, free.depths, free.configs)
        noise = np.random.default_rng(seed).normal(0, 0.05 * free.configs.std(), form.products.shape)
        noisy = BilinearForm(PUBLISHED, form.base, form.depths, form.products + noise, form.configs)
        budget = free.resources[0].within(least + 0.35 * (greatest - least))
        found = solve_dense(noisy, (budget,), seconds=60.0)
        seconds.append(found.seconds)
        gaps.append(found.gap)
        proofs += found.proven
    emit("exact.dense 240 x 15", seconds, "s", proven=proofs, largest_gap=float(f"{max(gaps):.2g}"))


def ofa_front() -> None:
    """The whole front of Once-for-all networks by a stage-separable quadratic model of accuracy and exact MACs."""
    folder = DATA / "ofa_mbv3_accuracy"
    if not folder.exists():
        skip("exact.ofa front", "set NETWRIGHT_DATA to the folder with ofa_mbv3_accuracy")
        return
    rows, labels = networks(folder)
    one_hot = joint(rows)
    stages = np.concatenate([np.repeat(np.arange(5), 3), np.repeat(np.arange(5), 36)])
    model = QuadraticKernelRidge(stages=stages).fit(one_hot[:1500], labels[:1500])
    space = SPACES["mobilenetv3-ofa"]
    assert isinstance(space, MobileNetSpace)
    view = ElasticStructure(space)

    def macs(depths: np.ndarray, configs: np.ndarray) -> np.ndarray:
        return np.array([float(count(arch, (3, 224, 224), 1000).macs) for arch in view.architectures(depths, configs)])

    cost = additive_resource("macs", np.inf, view.structure, macs, rng=np.random.default_rng(0))
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        depths, configs = stage_configurations(Stage((2, 3, 4), (9, 9, 9, 9)))
        chosen = one_stage(depths, configs)
        whole = np.zeros((len(depths), one_hot.shape[1]))  # the same option in every stage: values of all at once
        for s in range(5):
            whole[:, np.flatnonzero(stages == s)] = chosen
        values = model.stage_values(whole)
        terms = [np.concatenate([cost.depths[3 * s : 3 * s + 3], cost.configs[36 * s : 36 * s + 36]]) for s in range(5)]
        options = [StageOptions(values[:, s], (chosen @ terms[s])[:, None]) for s in range(5)]
        front = pareto_front(options, costs=[cost.fixed])
        seconds.append(time.perf_counter() - started)
    emit(
        "exact.ofa front", seconds, "s", points=len(front.values), configurations_a_stage=len(depths),
        least_macs=float(front.costs.min()), most_macs=float(front.costs.max()),
    )  # fmt: skip


def one_stage(depths: np.ndarray, configs: np.ndarray) -> np.ndarray:
    """(n, 39) 0/1: three depths, and nine configurations of each block that exists."""
    found = np.zeros((len(depths), 3 + 36))
    found[np.arange(len(depths)), depths - 2] = 1
    for block in range(4):
        there = depths > block
        found[np.flatnonzero(there), 3 + 9 * block + configs[there, block]] = 1
    return found


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--small", type=int, default=10_000)
    asked = parser.parse_args()
    for kind in KINDS:
        compare(kind, asked.seeds)
    small_instances(asked.small)
    dense()
    ofa_front()


if __name__ == "__main__":
    main()
