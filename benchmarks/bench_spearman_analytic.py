"""How well the closed form ranks networks as Monte Carlo does, beside the plain counts that it must beat.

Random members of the ZenNAS space, analytic Zen-Score against Monte Carlo (default batch, one repeat). Rank
correlations with 95 % bootstrap intervals; the time of both in the same run.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from json_line import emit
from scipy.stats import kendalltau, spearmanr

from hardware.counts import count
from predictors.proxies import zen_score
from predictors.proxies.zen_monte_carlo import zen_score_monte_carlo
from search_spaces.expand import expand
from search_spaces.layers import CONV, main_path
from search_spaces.zen import ZEN

SHAPE, CLASSES = (3, 32, 32), 10
MAX_PARAMS, MAX_MACS = 2_000_000, 200_000_000  # keeps the Monte Carlo at some 100 ms a network
RESAMPLES = 1000


def correlations(a: np.ndarray, b: np.ndarray) -> list[float]:
    """Spearman's coefficient of the sample and of bootstrap resamples of it."""
    rng = np.random.default_rng(0)
    picks = [np.arange(len(a)), *rng.integers(0, len(a), (RESAMPLES, len(a)))]
    return [float(spearmanr(a[pick], b[pick]).statistic) for pick in picks]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=200)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)
    rows, seconds = [], np.zeros(2)
    wanted = parser.parse_args().networks
    while len(rows) < wanted:
        arch = ZEN.sample(rng)
        counts = count(arch, SHAPE, CLASSES)
        if counts.params > MAX_PARAMS or counts.macs > MAX_MACS:
            continue
        times = [time.process_time()]
        analytic = zen_score(arch, SHAPE)
        times.append(time.process_time())
        sampled = zen_score_monte_carlo(arch, SHAPE, generator=generator).mean
        times.append(time.process_time())
        seconds += np.diff(times)
        convs = sum(layer.op == CONV for layer in main_path(expand(arch, SHAPE)))
        rows.append((sampled, analytic, convs, counts.depth, counts.params, counts.macs))
    table = np.array(rows)
    for at, name in enumerate(("analytic", "convolutions", "depth", "params", "macs"), start=1):
        found, *resampled = correlations(table[:, 0], table[:, at])
        low, high = np.percentile(resampled, (2.5, 97.5))
        kendall = float(kendalltau(table[:, 0], table[:, at]).statistic)
        facts = {"bootstrap_95": [round(low, 5), round(high, 5)], "kendall": round(kendall, 4)}
        emit(f"spearman_with_monte_carlo.{name}", [found], "rank correlation", networks=wanted, **facts)
    errors = table[:, 1] / table[:, 0] - 1
    emit("analytic_error", list(100 * errors), "%", worst=round(float(100 * np.abs(errors).max()), 2))
    emit("analytic_speed_over_monte_carlo", [seconds[1] / seconds[0]], "ratio of CPU time")


if __name__ == "__main__":
    main()
