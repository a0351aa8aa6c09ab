"""Trains random networks of a space alone, as the truth that rankings by a supernet are held against.

    python benchmarks/train_standalone.py resnet20-channels 48 labels.jsonl --seeds 0 1

A line for each training: network, seed, accuracy and loss on the 10,000 test images. Called again, it goes on. The
labels in ``benchmarks/labels`` were made so; the networks are ``random_networks(space, count)``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from small_fashion import load

from nas.train.entrant import build_network
from nas.train.evaluate import evaluate_test
from nas.train.fit import fit
from nas.train.recipe import Recipe
from search_spaces import load_space
from search_spaces.arch import Architecture

RECIPE = Recipe(epochs=8, batch_size=128, learning_rate=0.2)


def random_networks(space: str, count: int) -> list[Architecture]:
    """The first ``count`` uniform random members."""
    rng = np.random.default_rng(20261125)
    return [load_space(space).sample(rng) for _ in range(count)]


def spread_networks(space: str, count: int) -> list[Architecture]:
    """Members from narrow to wide: each has a level, and every knob a choice near it."""
    members, rng = load_space(space), np.random.default_rng(20261126)
    found = []
    for level in (np.arange(count) + 0.5) / count:
        places = np.clip(rng.normal(level, 0.3, len(members.knobs)), 0, 1)
        chosen = {
            knob.name: knob.choices[round(float(at) * (len(knob.choices) - 1))]
            for knob, at in zip(members.knobs, places, strict=True)
        }
        found.append(members.decode(chosen))
    return found


def main() -> None:
    """Train what the file does not hold yet, all networks with the first seed before any with the second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("space")
    parser.add_argument("count", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--spread", action="store_true", help="networks from narrow to wide, in place of uniform ones")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    done = set()
    if asked.out.exists():
        rows = map(json.loads, asked.out.read_text().splitlines())
        done = {(row["digest"], row["seed"]) for row in rows}
    dataset = load()
    networks = (spread_networks if asked.spread else random_networks)(asked.space, asked.count)
    for seed in asked.seeds:
        for i, arch in enumerate(networks):
            if (arch.digest, seed) in done:
                continue
            model = build_network(arch, dataset, seed=1_000 * seed + i)
            fit(model, dataset, RECIPE, seed=1_000 * seed + i)
            found = evaluate_test(model, dataset)
            row = {"network": i, "digest": arch.digest, "seed": seed, "top1": found.top1, "loss": round(found.loss, 5)}
            with asked.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)


if __name__ == "__main__":
    main()
