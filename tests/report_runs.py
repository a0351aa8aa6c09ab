"""Run files for the report's tests: the real search, and events of the real shape with fixed figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hardware.calibration import UNCALIBRATED, HeldOut
from hardware.conditions import Conditions
from hardware.device import Device
from hardware.kriging import Kriging
from hardware.lookup import LatencyTable
from hardware.measure import Measurement
from hardware.roofline import DEMANDS, FEATURES
from hardware.sub_layer_model import SubLayerModel
from nas.algorithms.evolution import Evolution
from nas.config import Config
from nas.gates import Gates
from nas.loop import SearchLoop
from nas.objective import Objective
from nas.records import Budget, Candidate, Failure, Success
from nas.runners.serial import SerialRunner
from nas.store import FILE_NAME, RunStore
from nas.verdict import judge, sentence
from search_spaces import SPACES
from search_spaces.arch import Architecture, Block

SHAPE, CLASSES = (1, 8, 8), 10
CONDITIONS = Conditions(
    device="onnxruntime:name=cpu,threads=1,batch=1",
    input_shape=SHAPE,
    cpu_model="Example CPU",
    cpu_flags="0123456789ab",
    logical_cores=2,
    runtime_version="1.31.1",
    torch_version="2.13.0",
    onnxruntime_version="1.31.1",
    python_version="3.11.7",
    load=0.4,
    steal=0.0,
    date="2026-01-02T03:04:05+00:00",
)
GUARD_ROWS = (
    ("searched", 1.0, (0.984, 0.981)),
    ("random feasible", 0.97, (0.962, 0.970)),
    ("scaled ResNet", 1.02, (0.975, 0.971)),
)


def settings(**changes: Any) -> Config:
    """A small configuration with a latency budget."""
    data = {
        "space": "zen-tiny",
        "constraints": {"latency": "0.2ms", "params": "300k"},
        "search": {"evaluations": 600, "population": 64},
        "engine": {"kind": "serial"},
    }
    return Config.from_dict({**data, **changes})


def latency_table() -> LatencyTable:
    """A table whose costs are set by hand: bytes, multiply-adds and calls at fixed prices."""
    width = len(FEATURES)
    prices = {"macs": 0.02, "map": 0.3, "weights": 0.2, "calls": 0.002}
    costs = np.array([prices[name.partition(".")[2]] for name in DEMANDS])
    flat = Kriging(np.zeros(width), np.ones(width), np.zeros((1, width)), np.zeros(1), 0.0)
    held_out = HeldOut(13, 0.041, 0.92, 0.985)
    calibration = replace(UNCALIBRATED, overhead_ms=0.01, upper_factor=1.08, confidence=0.9, held_out=held_out)
    pairs = ((0.1, 0.102), (0.15, 0.149))
    model = SubLayerModel(costs, flat)
    return LatencyTable("zen-tiny", Device(), SHAPE, CLASSES, model, calibration, CONDITIONS, pairs)


def measurement(latency_ms: float, name: str = "model.onnx") -> Measurement:
    """A calm measurement of nine bursts."""
    bursts = tuple(latency_ms * (1 + 0.004 * (i * i % 7)) for i in range(9))
    low, high, p50, p95 = (factor * latency_ms for factor in (0.98, 1.03, 1.01, 1.3))
    return Measurement(name, latency_ms, low, high, p50, p95, 1800, bursts, "fifo", "ok", "", 1e-6, CONDITIONS)


def searched(directory: Path, config: Config, table: LatencyTable | None) -> RunStore:
    """A run after its search, open for writing."""
    facts = {
        "config": config.to_dict(),
        "task": {"input_shape": list(SHAPE), "num_classes": CLASSES},
        "latency_table": None if table is None else table.to_json(),
    }
    store = RunStore.create(directory / FILE_NAME, facts)
    space = SPACES["zen-tiny"]
    gates = Gates(SHAPE, CLASSES, config.constraints.constraints(), table)
    runner = SerialRunner(Objective("zen", SHAPE, config.seed))
    search = Evolution(space, seed=config.seed, population=config.search.population)
    SearchLoop(search, runner, store, gates, Budget(config.search.evaluations)).run()
    runner.close()
    return store


def record_finalists(store: RunStore, budget_ms: float, *, measured: int = 6, raced: int = 4) -> int:
    """Measure and race the best candidates; returns the winner's id."""
    best = sorted(store.table(), key=lambda row: (-row["score"], row["id"]))[:measured]
    for i, row in enumerate(best):
        found = measurement(row["latency_ms"] * (1.04 - 0.02 * i), f"candidate {row['id']}")
        event = {
            "id": row["id"],
            "predicted_ms": row["latency_ms"],
            "within": found.high_ms <= budget_ms,
            "measurement": found.to_dict(),
        }
        store.record("measured", event)
    for i, row in enumerate(best[:raced]):
        length = 6 if i in (1, 2) else 2
        curve = [epoch(n, 0.93 - 0.02 * i - 0.5 * 0.4**n) for n in range(1, length + 1)]
        event = {"id": row["id"], "curve": curve, "top1": curve[-1]["validation_top1"], "epochs": length}
        store.record("finalist", {**event, "stopped_early": length < 6, "failure": None})
    winner = best[1]["id"]
    arch = store.result(winner).candidate.arch
    store.record("winner", {"id": winner, "arch": arch.to_dict(), "score": best[1]["score"]})
    return int(winner)


def epoch(number: int, top1: float) -> dict[str, Any]:
    """One epoch's report."""
    return {
        "epoch": number,
        "learning_rate": 0.2 * (1 - number / 40),
        "train_loss": 0.6 + 1.6 * 0.8**number,
        "validation_loss": 0.1 + 2 * 0.7**number,
        "validation_top1": top1,
        "seconds": 1.5,
    }


def record_delivery(store: RunStore, latency_ms: float, budget_ms: float | None) -> None:
    """Train, test and verify the winner."""
    for number in range(1, 31):
        store.record("epoch", epoch(number, 0.985 - 0.6 * 0.8**number))
    store.record("test", {"top1": 0.9805, "loss": 0.08, "n": 359, "standard_error": 0.0076})
    found = measurement(latency_ms)
    verdict = judge(found, budget_ms)
    store.record(
        "verified",
        {
            "verdict": verdict,
            "budget_ms": budget_ms,
            "sentence": sentence(found, budget_ms, subject="the exported file"),
            "measurement": found.to_dict(),
            "parity": {"max_abs_error": 2e-6, "max_rel_error": 1e-7, "agree_top1": 1.0, "n": 8},
            "files": {"model.onnx": 216_000, "model.safetensors": 238_000},
        },
    )


def record_guard(store: RunStore, latency_ms: float, verdict: str = "the search helped: +1.00 points") -> None:
    """The baselines, two seeds each."""
    size = {"params": 5e4, "macs": 3e5}
    rows = [
        {"name": name, "latency_ms": latency_ms * factor, **size, "top1": list(tops)}
        for name, factor, tops in GUARD_ROWS
    ]
    store.record("guard", {"result": {"latency_ms": latency_ms, "rows": rows, "verdict": verdict}})


def finished_run(directory: Path, *, latency_ms: float = 0.18, config: Config | None = None) -> Path:
    """A run with everything in it, closed."""
    config = config or settings()
    with searched(directory, config, latency_table()) as store:
        budget = config.constraints.latency or 1.0
        record_finalists(store, budget)
        record_delivery(store, latency_ms, budget)
        record_guard(store, latency_ms)
        store.record("finished", {"summary": {"best": {"id": 0}, "verdict": "kept"}})
    return directory


def large_run(directory: Path, candidates: int) -> Path:
    """A run of many candidates written straight into the store: scores and costs spread over decades."""
    rng = np.random.default_rng(0)
    arch = Architecture((Block("conv", 16),))
    cost = np.exp(rng.normal(0, 1, candidates))
    score = 20 + 8 * np.log(cost) + rng.normal(0, 3, candidates)
    config = settings(search={"evaluations": candidates})
    facts = {"config": config.to_dict(), "task": {"input_shape": list(SHAPE), "num_classes": CLASSES}}
    with RunStore.create(directory / FILE_NAME, facts) as store:
        for start in range(0, candidates, 5_000):
            store.append(_rows(arch, range(start, min(start + 5_000, candidates)), cost, score))
            store.commit()
    return directory


def _rows(arch: Architecture, ids: Sequence[int], cost: Any, score: Any) -> list[Success | Failure]:
    rows: list[Success | Failure] = []
    for i in ids:
        metrics = {
            "latency_ms": float(cost[i]),
            "latency_upper_ms": 1.1 * float(cost[i]),
            "macs": 1e6 * float(cost[i]),
        }
        candidate = Candidate(i, arch, metrics={**metrics, "params": 5e4, "depth": 4, "peak_memory_bytes": 4e3})
        if i % 3:
            rows.append(Success(candidate, {**candidate.metrics, "score": float(score[i])}))
        else:
            rows.append(Failure(candidate, "rejected", "latency_ms is 12 % over 0.2, params is 3 % over 3e+05", 0.1))
    return rows
