"""Every published structure against the authors' numbers: counts, scores, relative error, pass or fail.

One JSON line a figure. What is deterministic must agree to rounding (counts to the unit, scores to 1e-9); the closed
form of Zen-Score must agree with the authors' random forwards within the bias that docs/zen_score.md states.
The last line says how many figures failed; the exit code is 1 if any did.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from hardware.compat_counts import compat_counts
from hardware.counts import count
from hardware.tinynas_counts import tinynas_counts
from predictors.proxies import zen_score
from predictors.proxies.deepmad import deepmad_score, effectiveness
from predictors.proxies.entropy import MULTI_SCALE, MULTI_SCALE_DAMO_YOLO, SINGLE_SCALE, mad_score
from predictors.proxies.quantization_entropy import Bits, quantization_entropy
from search_spaces.expand import expand
from search_spaces.formats import read_published

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))
from tinynas_structures import architecture, input_shape  # noqa: E402

GOLDEN = TESTS / "golden"
EXACT = 1e-9
ZEN_BIAS = 0.035  # of the closed form: the widest seen over random networks
WEIGHTS = {"single": SINGLE_SCALE, "multi": MULTI_SCALE, "damoyolo": MULTI_SCALE_DAMO_YOLO}


class Figure(NamedTuple):
    network: str
    quantity: str
    published: float
    ours: float
    tolerance: float = EXACT

    @property
    def error(self) -> float:
        return abs(self.ours - self.published) / max(abs(self.published), 1e-12)


def read(name: str) -> dict:
    return json.loads((GOLDEN / name).read_text())


def zennets() -> Iterator[Figure]:
    for network in read("published_networks.json")["networks"]:
        shape, classes = (3, network["resolution"], network["resolution"]), network["num_classes"]
        for variant in ("linked", "plain", "squeeze_excite"):
            expected = network.get(variant)
            if expected is None:
                continue
            arch, _ = read_published(network["structure"])
            if variant == "squeeze_excite":
                from search_spaces.plainnet import read_structure

                arch, _ = read_structure(network["structure"], se=True)
            compat = compat_counts(expand(arch, shape, classes), plain=variant == "plain")
            yield Figure(network["name"], f"{variant} compat params", expected["compat_params"], compat.params, 0)
            yield Figure(network["name"], f"{variant} compat FLOPs", expected["compat_flops"], compat.flops, 0)
            if variant != "plain" and "params" in expected:
                counts = count(arch, shape, classes)
                yield Figure(network["name"], f"{variant} params", expected["params"], counts.params, 0)
                yield Figure(network["name"], f"{variant} MACs", expected["macs"], counts.macs, 0)


def genets() -> Iterator[Figure]:
    for network in read("genets.json")["networks"]:
        arch, _ = read_published(network["structure"])
        counts = count(arch, (3, network["resolution"], network["resolution"]), network["num_classes"])
        yield Figure(network["name"], "params", network["params"], counts.params, 0)
        yield Figure(network["name"], "MACs", network["macs"], counts.macs, 0)


def zen_scores() -> Iterator[Figure]:
    structures = {network["name"]: network for network in read("published_networks.json")["networks"]}
    golden = read("zen_scores.json")
    for row in golden["scores"]:
        if row["name"] not in structures:
            continue
        arch, _ = read_published(structures[row["name"]]["structure"])
        side = golden["resolution"]
        ours = zen_score(arch, (3, side, side), momentum=0.1)
        yield Figure(row["name"], "zen, closed form", row["analytic"], ours, 1e-4)
        if row.get("authors"):
            yield Figure(row["name"], "zen, authors' mean", fmean(row["authors"]), ours, ZEN_BIAS)


def tinynas() -> Iterator[Figure]:
    for network in read("tinynas_networks.json")["networks"]:
        arch = architecture(network["structure"], network.get("bits", ()))
        counts = tinynas_counts(arch, input_shape(network))
        yield Figure(network["name"], "compat size", network["model_size"], counts.size, 0)
        yield Figure(network["name"], "compat FLOPs", network["flops"], counts.flops, 0)


def entropies() -> Iterator[Figure]:
    golden = read("entropy_scores.json")
    for network in golden["networks"]:
        arch, shape = architecture(network["structure"]), input_shape(network)
        for name, weights in WEIGHTS.items():
            ours = mad_score(arch, shape, weights=weights)
            yield Figure(network["name"], f"mad {name}", network[f"mad_{name}"], ours)
        if "rho" in network:
            yield Figure(network["name"], "rho", network["rho"], effectiveness(arch, shape))
        if "deepmad" in network:
            yield Figure(network["name"], "deepmad", network["deepmad"], deepmad_score(arch, shape, compat=True))
    for network in golden["quantised"]:
        arch, shape = architecture(network["structure"]), input_shape(network)
        bits = [Bits(*pair) for pair in network["bits"]]
        for name, weights in WEIGHTS.items():
            ours = quantization_entropy(arch, shape, bits, weights=weights)
            yield Figure(network["name"], f"qe {name}", network[f"qe_{name}"], ours)


def main() -> None:
    figures = [figure for family in (zennets, genets, zen_scores, tinynas, entropies) for figure in family()]
    failed = 0
    for figure in figures:
        passed = figure.error <= figure.tolerance
        failed += not passed
        line = {"name": "golden", **figure._asdict(), "error": float(f"{figure.error:.3g}"), "passed": passed}
        print(json.dumps(line))
    print(json.dumps({"name": "golden_table", "figures": len(figures), "failed": failed}))
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
