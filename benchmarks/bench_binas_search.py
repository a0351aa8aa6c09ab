"""Is the network that BINAS finds better than a zero-shot one and a uniformly scaled one of equal measured latency?

    python benchmarks/bench_binas_search.py RUN [--seeds 3] [--epochs 20]

RUN is a finished ``netwright search --score binas``; its winner sets the latency, measured here. "zero-shot" is the
member of the same space with the best Zen-Score within that latency as predicted by the run's table, "scaled" the
best-matching network of equal blocks and depths (same kernel, expansion, gate everywhere), "random" the first random
member within 90 to 100 % of the latency. All are measured side by side and trained from scratch with one recipe and
the same seeds; "BINAS, fine-tuned" starts from the supernet and is trained for as many epochs, with its largest
network as teacher. Test accuracy.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from json_line import emit

from hardware.device import Device
from hardware.lookup import LatencyTable
from hardware.measure import LayerModel, MeasureProtocol, measure
from nas.run import Run
from nas.train.data import load_dataset
from nas.train.distill import Distillation
from nas.train.entrant import build_network
from nas.train.evaluate import evaluate_test
from nas.train.fit import fit
from nas.train.recipe import Recipe
from nas.train.supernet.file import load_supernet
from nas.train.supernet.subnet import extract_subnet
from predictors.proxies.zen import zen_score
from search_spaces import load_space
from search_spaces.arch import Architecture
from search_spaces.extremes import largest
from search_spaces.mobilenet import MobileNetSpace

SAMPLES = 4_000


def scaled(space: MobileNetSpace) -> list[Architecture]:
    """Members of which every stage has the same depth and every block the same choices."""
    found = []
    gates = sorted({gate for stage in space.stages for gate in stage.gates})
    for depth, kernel, expansion, gate in product(space.free.depths, space.free.kernels, space.free.expansions, gates):
        ends = {"depth": depth, "kernel": kernel, "expansion": expansion, "se": gate}
        found.append(space.decode({knob.name: ends[knob.name.rpartition(".")[2]] for knob in space.knobs}))
    return found


def competitors(
    space: MobileNetSpace, table: LatencyTable, winner: Architecture, images: tuple[int, int, int]
) -> dict[str, list[Architecture]]:
    """By name the candidates whose measured latency is compared with the winner's; the best match is taken."""
    rng = np.random.default_rng(0)
    most = table.estimate(winner).mean_ms
    members = [space.sample(rng) for _ in range(SAMPLES)]
    times = np.array([table.estimate(arch).mean_ms for arch in members])
    within = [arch for arch, ms in zip(members, times, strict=True) if ms <= most]
    zen = sorted(within, key=lambda arch: -zen_score(arch, images))[:4]
    alike = sorted(scaled(space), key=lambda arch: abs(np.log(table.estimate(arch).mean_ms / most)))[:4]
    random = [arch for arch, ms in zip(members, times, strict=True) if 0.9 * most <= ms <= most][:4]
    return {"zero-shot (Zen-Score)": zen, "scaled uniformly": alike, "random": random}


def main() -> None:
    """Choose, measure, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with Run.open(asked.run) as run:
        config, text = run.config, run.store.fact("latency_table")
        winner = Architecture.from_dict(run.events("winner")[0]["arch"])
        folder = Path(run.events("supernet")[-1]["path"])
    space, dataset = load_space(config.space), load_dataset(config.data)
    assert isinstance(space, MobileNetSpace)
    table = LatencyTable.from_json(text)
    fields = competitors(space, table, winner, dataset.input_shape)
    flat = [winner, *(arch for archs in fields.values() for arch in archs)]
    models = [LayerModel.of(arch, dataset.input_shape, dataset.num_classes, arch.digest[:8]) for arch in flat]
    found = measure(models, Device.parse(config.device), MeasureProtocol().capped(45.0))
    ms = {arch.digest: measurement.latency_ms for arch, measurement in zip(flat, found, strict=True)}
    target = ms[winner.digest]
    chosen = {"BINAS": winner}
    for name, archs in fields.items():
        chosen[name] = min(archs, key=lambda arch: (ms[arch.digest] > 1.05 * target, abs(ms[arch.digest] - target)))
    recipe = Recipe(epochs=asked.epochs)
    for name, arch in chosen.items():
        tops = []
        for seed in range(asked.seeds):
            network = build_network(arch, dataset, seed=seed)
            fit(network, dataset, recipe, seed=seed)
            tops.append(100 * evaluate_test(network, dataset).top1)
        _tell(name, tops, ms[arch.digest], asked.epochs)
    supernet, _ = load_supernet(folder)
    teacher, _ = extract_subnet(supernet, largest(space), dataset)
    tops = []
    for seed in range(asked.seeds):
        network, _ = extract_subnet(supernet, winner, dataset)
        gentle = replace(recipe, learning_rate=0.1 * recipe.learning_rate)
        fit(network, dataset, gentle, seed=seed, distillation=Distillation(teacher, 0.5))
        tops.append(100 * evaluate_test(network, dataset).top1)
    _tell("BINAS, fine-tuned from the supernet", tops, target, asked.epochs)


def _tell(name: str, tops: list[float], latency_ms: float, epochs: int) -> None:
    mean, sd = round(float(np.mean(tops)), 2), round(float(np.std(tops, ddof=1)), 2)
    facts = {"mean": mean, "sd": sd, "latency_ms": round(latency_ms, 4), "epochs": epochs}
    emit(f"binas.search.{name}", tops, "test top-1, %", **facts)


if __name__ == "__main__":
    main()
