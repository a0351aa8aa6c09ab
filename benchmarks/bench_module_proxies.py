"""How well each proxy of modules ranks NAS-Bench-201 cells by their trained accuracy, and what it costs.

A random sample of the cells for which the NAS-Bench-Suite-Zero set gives published values of the proxies, so that
ours and theirs stand on the same cells. Needs the folder that NETWRIGHT_DATA names (or ../shared/data); without it
the figures are skipped. One torch thread.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from json_line import REPOSITORY, emit, skip
from scipy.stats import kendalltau, spearmanr
from torch import Tensor, nn

from hardware.counts import count
from predictors.proxies import ProxyFailed
from predictors.proxies.module_proxies import MODULE_PROXIES
from predictors.proxies.zen_monte_carlo import zen_score_monte_carlo
from search_spaces.build import build
from search_spaces.nas_bench_201 import NAS_BENCH_201

RESAMPLES = 1000
SHAPE, CLASSES = (3, 32, 32), 10
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
ZEN = "zen-mc"
NAMES = (*MODULE_PROXIES, ZEN)
BATCHES = {"ntk": 8, ZEN: 6}  # images; the others take those of --batch
PUBLISHED = {  # our name: column of NAS-Bench-Suite-Zero
    "grad_norm": "grad_norm",
    "snip": "snip",
    "grasp": "grasp",
    "fisher": "fisher",
    "synflow": "synflow",
    "naswot": "nwot",
    "jacob_cov": "jacov",
}


def network(cell: str) -> nn.Module:
    """The benchmark's network of a cell with PyTorch's own initial weights, as the published values have them."""
    module = build(NAS_BENCH_201.of_cell(cell), num_classes=CLASSES)
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.reset_parameters()
    return module


def data_folder() -> Path | None:
    folder = Path(os.environ.get("NETWRIGHT_DATA") or REPOSITORY.parent / "shared" / "data")
    wanted = ("nasbench201/nb201_cifar10.csv.gz", "nb_suite_zero/nb201_cifar10_zc.csv.gz", "cifar10_lossless")
    return folder if all((folder / name).exists() for name in wanted) else None


def cells(folder: Path, wanted: int, seed: int) -> pd.DataFrame:
    """A random sample: structure, accuracy after 200 epochs, counts, published proxies."""
    accuracies = pd.read_csv(folder / "nasbench201" / "nb201_cifar10.csv.gz")
    published = pd.read_csv(folder / "nb_suite_zero" / "nb201_cifar10_zc.csv.gz").drop(columns=["arch", "params"])
    return accuracies.merge(published, on="idx").sample(wanted, random_state=seed, ignore_index=True)


def images(folder: Path, batch: int) -> tuple[Tensor, Tensor]:
    """The first training images of CIFAR-10, normalised."""
    data = np.load(folder / "cifar10_lossless" / "cifar10_lossless.npz")
    pixels = torch.from_numpy(data["X_train"][:batch]).float().permute(0, 3, 1, 2) / 255
    normalised = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    return normalised.contiguous(), torch.from_numpy(data["y_train"][:batch]).long()


def interval(ours: np.ndarray, accuracy: np.ndarray) -> list[float]:
    """95 % bootstrap interval of Spearman's coefficient."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(ours), (RESAMPLES, len(ours)))
    found = [spearmanr(ours[pick], accuracy[pick]).statistic for pick in picks]
    return [round(float(value), 3) for value in np.percentile(found, (2.5, 97.5))]


def score_all(
    table: pd.DataFrame, names: Sequence[str], batch: int, folder: Path, seed: int = 0, keep: Path | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(scores, CPU seconds), one row a cell, one column a proxy; NaN where the proxy failed.

    ``keep`` is a CSV file of finished rows: those of an interrupted run with the same settings are not computed again.
    """
    pixels, labels = images(folder, batch)
    rows = pd.read_csv(keep).to_dict("records") if keep is not None and keep.exists() else []
    for cell in table["arch"][len(rows) :]:
        torch.manual_seed(seed)
        rows.append(score_cell(cell, names, (pixels, labels), seed))
        if keep is not None:
            pd.DataFrame(rows[-1:]).to_csv(keep, mode="a", header=len(rows) == 1, index=False)
    found = pd.DataFrame(rows)
    return found[list(names)], found[[f"{name}_seconds" for name in names]].set_axis(list(names), axis=1)


def score_cell(cell: str, names: Iterable[str], batch: tuple[Tensor, Tensor], seed: int) -> dict[str, float]:
    """Score and CPU seconds of every proxy, on the same fresh weights; the Zen-Score draws its own."""
    module = network(cell)
    row = {}
    for name in names:
        started = time.process_time()
        try:
            row[name] = zen(cell, seed) if name == ZEN else score_module(name, module, *batch)
        except ProxyFailed:
            row[name] = float("nan")
        row[f"{name}_seconds"] = time.process_time() - started
    return row


def zen(cell: str, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    return zen_score_monte_carlo(NAS_BENCH_201.of_cell(cell), SHAPE, generator=generator).mean


def score_module(name: str, module: nn.Module, pixels: Tensor, labels: Tensor) -> float:
    """Higher is better."""
    proxy = MODULE_PROXIES[name]
    take = BATCHES.get(name, len(pixels))
    return proxy.sign * proxy.load()(module, pixels[:take], labels[:take])


def report(name: str, ours: np.ndarray, table: pd.DataFrame, **facts: object) -> None:
    """One line; correlations are over the cells that the proxy could score."""
    accuracy = table["c10_test200_mean"].to_numpy()
    alive = np.isfinite(ours)
    found = float(spearmanr(ours[alive], accuracy[alive]).statistic)
    last = float(spearmanr(np.where(alive, ours, -np.inf), accuracy).statistic)
    good = alive & (accuracy > np.median(accuracy))
    column = PUBLISHED.get(name)
    if column is not None:
        theirs = table[column].to_numpy()
        known = alive & np.isfinite(theirs)
        facts["published_cells"] = int(np.isfinite(theirs).sum())
        facts["published_rho_same_cells"] = round(float(spearmanr(theirs[known], accuracy[known]).statistic), 3)
        facts["rho_with_published_values"] = round(float(spearmanr(theirs[known], ours[known]).statistic), 3)
    emit(
        f"nasbench201_cifar10.{name}",
        [found],
        "Spearman with accuracy",
        bootstrap_95=interval(ours[alive], accuracy[alive]),
        kendall=round(float(kendalltau(ours[alive], accuracy[alive]).statistic), 3),
        spearman_best_half=round(float(spearmanr(ours[good], accuracy[good]).statistic), 3),
        spearman_failed_last=round(last, 3),
        cells=len(ours),
        failed=int((~alive).sum()),
        **facts,
    )


def report_counts(folder: Path) -> None:
    """Parameters, MACs and depth (convolutions on the longest way) of all 15,625 cells."""
    table = pd.read_csv(folder / "nasbench201" / "nb201_cifar10.csv.gz")
    counted = [count(NAS_BENCH_201.of_cell(cell), SHAPE, CLASSES) for cell in table["arch"]]
    for name, ours in (
        ("params", [c.params for c in counted]),
        ("macs", [c.macs for c in counted]),
        ("depth", [c.convs for c in counted]),
    ):
        report(name, np.array(ours, dtype=float), table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--proxies", nargs="*", choices=NAMES, default=list(NAMES))
    parser.add_argument("--again", type=int, default=50, help="cells scored again with other initial weights")
    parser.add_argument("--keep", type=Path, help="CSV file of scores, with which an interrupted run goes on")
    parser.add_argument("--counts", action=argparse.BooleanOptionalAction, default=True, help="of all 15,625 cells")
    args = parser.parse_args()
    folder = data_folder()
    if folder is None:
        skip(
            "nasbench201_cifar10", "set NETWRIGHT_DATA to the folder with nasbench201, nb_suite_zero, cifar10_lossless"
        )
        return
    torch.set_num_threads(1)
    table = cells(folder, args.cells, args.seed)
    scores, seconds = score_all(table, args.proxies, args.batch, folder, keep=args.keep)
    again, _ = score_all(table.head(args.again), args.proxies, args.batch, folder, seed=1)
    for name in args.proxies:
        both = np.stack([scores[name].to_numpy()[: len(again)], again[name].to_numpy()])
        both = both[:, np.isfinite(both).all(0)]
        same = float(spearmanr(*both).statistic)
        emit(f"two_initialisations.{name}", [same], "Spearman of both", cells=both.shape[1])
        report(name, scores[name].to_numpy(), table, batch=BATCHES.get(name, args.batch))
        emit(f"seconds_per_network.{name}", seconds[name].tolist(), "CPU seconds")
    if args.counts:
        report_counts(folder)


if __name__ == "__main__":
    main()
