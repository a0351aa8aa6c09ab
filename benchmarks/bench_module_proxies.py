"""How well each proxy of modules ranks NAS-Bench-201 cells by their trained accuracy, and what it costs.

A random sample of the cells for which the NAS-Bench-Suite-Zero set gives published values of the proxies, so that
ours and theirs stand on the same cells. Needs the folder that NETWRIGHT_DATA names (or ../shared/data); without it
the figures are skipped. One torch thread.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from json_line import REPOSITORY, emit, skip
from scipy.stats import kendalltau, spearmanr
from torch import Tensor, nn

from predictors.proxies import ProxyFailed
from predictors.proxies.module_proxies import MODULE_PROXIES

RESAMPLES = 1000
CHANNELS, CELLS = 16, 5
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
PUBLISHED = {  # our name: column of NAS-Bench-Suite-Zero
    "grad_norm": "grad_norm",
    "snip": "snip",
    "grasp": "grasp",
    "fisher": "fisher",
    "synflow": "synflow",
    "naswot": "nwot",
    "jacob_cov": "jacov",
}


class Edges(nn.Module):
    """One cell: node k is the sum over earlier nodes j of an operation on j."""

    def __init__(self, arch: str, channels: int) -> None:
        super().__init__()
        nodes = [[edge.split("~") for edge in node.strip("|").split("|")] for node in arch.split("+")]
        self.sources = [[int(source) for _, source in node] for node in nodes]
        self.operations = nn.ModuleList(nn.ModuleList(operation(op, channels) for op, _ in node) for node in nodes)

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for sources, operations in zip(self.sources, self.operations, strict=True):
            values.append(sum(op(values[at]) for op, at in zip(operations, sources, strict=True)))
        return values[-1]


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0.0


class Halving(nn.Module):
    """Residual block between the stages."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(*rectified(channels, 2 * channels, 3, 2), *rectified(2 * channels, 2 * channels, 3))
        self.short = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(channels, 2 * channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.short(x) + self.main(x)


def rectified(inputs: int, outputs: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.ReLU(), conv, nn.BatchNorm2d(outputs)


def operation(name: str, channels: int) -> nn.Module:
    if name.startswith("nor_conv"):
        return nn.Sequential(*rectified(channels, channels, int(name[-1])))
    return {
        "none": Nothing(),
        "skip_connect": nn.Identity(),
        "avg_pool_3x3": nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    }[name]


def network(arch: str, classes: int = 10) -> nn.Module:
    parts: list[nn.Module] = [nn.Conv2d(3, CHANNELS, 3, padding=1, bias=False), nn.BatchNorm2d(CHANNELS)]
    for stage in range(3):
        channels = CHANNELS << stage
        parts += [Edges(arch, channels) for _ in range(CELLS)]
        parts += [Halving(channels)] if stage < 2 else [nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS << 2, classes))


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
    table: pd.DataFrame, names: Iterable[str], batch: int, folder: Path, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(scores, CPU seconds), one row a cell, one column a proxy; NaN where the proxy failed."""
    pixels, labels = images(folder, batch)
    scores, seconds = [], []
    for arch in table["arch"]:
        torch.manual_seed(seed)
        module = network(arch)
        row, times = {}, {}
        for name in names:
            proxy = MODULE_PROXIES[name]
            take = min(batch, proxy.batch) if name == "ntk" else batch
            started = time.process_time()
            try:
                row[name] = proxy.sign * proxy.load()(module, pixels[:take], labels[:take])
            except ProxyFailed:
                row[name] = float("nan")
            times[name] = time.process_time() - started
        scores.append(row)
        seconds.append(times)
    return pd.DataFrame(scores), pd.DataFrame(seconds)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--proxies", nargs="*", choices=MODULE_PROXIES, default=list(MODULE_PROXIES))
    parser.add_argument("--again", type=int, default=50, help="cells scored again with other initial weights")
    parser.add_argument("--values", type=Path, help="also write the scores of each cell to this CSV file")
    args = parser.parse_args()
    folder = data_folder()
    if folder is None:
        skip(
            "nasbench201_cifar10", "set NETWRIGHT_DATA to the folder with nasbench201, nb_suite_zero, cifar10_lossless"
        )
        return
    torch.set_num_threads(1)
    table = cells(folder, args.cells, args.seed)
    scores, seconds = score_all(table, args.proxies, args.batch, folder)
    if args.values:
        pd.concat([table, scores.add_prefix("ours_")], axis=1).to_csv(args.values, index=False)
    again, _ = score_all(table.head(args.again), args.proxies, args.batch, folder, seed=1)
    for name in args.proxies:
        both = np.stack([scores[name].to_numpy()[: len(again)], again[name].to_numpy()])
        both = both[:, np.isfinite(both).all(0)]
        same = float(spearmanr(*both).statistic)
        emit(f"two_initialisations.{name}", [same], "Spearman of both", cells=both.shape[1])
        report(name, scores[name].to_numpy(), table, batch=args.batch if name != "ntk" else MODULE_PROXIES[name].batch)
        emit(f"seconds_per_network.{name}", seconds[name].tolist(), "CPU seconds")
    report("params", table["c10_params_mb"].to_numpy(), table)
    report("macs", table["flops"].to_numpy(), table)


if __name__ == "__main__":
    main()
