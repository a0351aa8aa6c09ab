"""Monte-Carlo Zen-Score against the authors' code: CPU seconds a network, interleaved in one run, one thread.

Set NETWRIGHT_ZENNAS to a folder with the released ZenNAS code; without it this prints one line and ends.
Ours in three settings against the authors' batch 16, one repeat, momentum 0.1; both from the string:

- strict: batch 16, both passes;
- one_pass: batch 16, the second pass left out, since the closed form says that it tells nothing here;
- default: batch 6, likewise; as precise, see the standard deviations.
"""

from __future__ import annotations

import collections.abc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import torch
from json_line import REPOSITORY, emit, skip

from predictors.proxies.zen_monte_carlo import COMPAT, DEFAULT, ZenSampling, zen_score_monte_carlo
from search_spaces.plainnet import read_structure

FOLDER_VARIABLE = "NETWRIGHT_ZENNAS"
ROUNDS, RESOLUTION, BATCH, GAMMA = 12, 32, 16, 0.01
NETWORKS = ("zennet_cifar_05M", "zennet_cifar_1M", "zennet_cifar_2M")
OURS = {
    "strict": COMPAT,
    "one_pass": replace(COMPAT, always_perturb=False),
    "default": replace(DEFAULT, momentum=0.1),
}


def authors_scorer(folder: Path) -> Callable[[str], float]:
    """Their build-and-score on a current PyTorch; unused parts that no longer import are left out."""
    sys.modules["ModelLoader"] = ModuleType("ModelLoader")
    torch_six = ModuleType("torch._six")
    torch_six.__dict__.update(container_abcs=collections.abc, string_classes=(str,))
    sys.modules["torch._six"] = torch_six
    directories = ModuleType("distutils.dir_util")
    sys.modules["distutils"] = ModuleType("distutils")
    sys.modules["distutils"].__dict__["dir_util"] = sys.modules["distutils.dir_util"] = directories
    sys.path.insert(0, str(folder))
    from Masternet import MasterNet
    from ZeroShotProxy.compute_zen_score import compute_nas_score

    def score(structure: str) -> float:
        network = MasterNet(num_classes=10, plainnet_struct=structure, no_create=False, no_reslink=True)
        return float(compute_nas_score(None, network, GAMMA, RESOLUTION, BATCH, 1)["avg_nas_score"])

    return score


def our_scorer(sampling: ZenSampling) -> Callable[[str], float]:
    generator = torch.Generator().manual_seed(0)

    def score(structure: str) -> float:
        arch, channels = read_structure(structure)
        shape = (channels, RESOLUTION, RESOLUTION)
        return zen_score_monte_carlo(arch, shape, sampling, generator=generator).mean

    return score


def cpu_seconds(score: Callable[[str], float], structure: str) -> tuple[float, float]:
    start = time.process_time()
    value = score(structure)
    return time.process_time() - start, value


def compare(name: str, structure: str, scorers: dict[str, Callable[[str], float]]) -> None:
    for score in scorers.values():
        score(structure)
    rounds = [{who: cpu_seconds(score, structure) for who, score in scorers.items()} for _ in range(ROUNDS)]
    scores = {who: [taken[who][1] for taken in rounds] for who in scorers}
    spread = {who: (round(statistics.fmean(v), 2), round(statistics.stdev(v), 2)) for who, v in scores.items()}
    for who in OURS:
        ratios = [taken["authors"][0] / taken[who][0] for taken in rounds]
        emit(
            f"zen_monte_carlo_over_authors.{name}.{who}",
            ratios,
            "ratio of CPU time",
            ours_ms=round(1e3 * statistics.median(taken[who][0] for taken in rounds), 1),
            authors_ms=round(1e3 * statistics.median(taken["authors"][0] for taken in rounds), 1),
            ours_mean_std=spread[who],
            authors_mean_std=spread["authors"],
        )


def main() -> None:
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder or not (Path(folder) / "Masternet.py").is_file():
        skip("zen_monte_carlo_over_authors", f"set {FOLDER_VARIABLE} to a folder with the released ZenNAS code")
        return
    torch.set_num_threads(1)
    torch.manual_seed(0)
    golden = json.loads((REPOSITORY / "tests/golden/published_networks.json").read_text())["networks"]
    structures = {network["name"]: network["structure"] for network in golden}
    scorers = {"authors": authors_scorer(Path(folder))} | {who: our_scorer(s) for who, s in OURS.items()}
    for name in NETWORKS:
        compare(name, structures[name], scorers)


if __name__ == "__main__":
    main()
