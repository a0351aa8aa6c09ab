"""How well the closed form ranks networks as Monte Carlo does, beside the plain counts that it must beat.

Random members of several spaces (ReLU residual blocks, depthwise ones, SiLU with gates), analytic Zen-Score against
Monte Carlo (default batch, one repeat). Rank correlations with 95 % bootstrap intervals; the time of both in the same
run.
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
from search_spaces import SPACES

SHAPE, CLASSES = (3, 32, 32), 10
MAX_PARAMS, MAX_MACS = 2_000_000, 200_000_000  # keeps the Monte Carlo at some 100 ms a network
RESAMPLES = 1000
DEFAULT_SPACES = ("zen", "genet-small", "zen-idw-small", "tinynas-k1dwk1", "tinynas-k1dwsek1")


def correlations(a: np.ndarray, b: np.ndarray) -> list[float]:
    """Spearman's coefficient of the sample and of bootstrap resamples of it."""
    rng = np.random.default_rng(0)
    picks = [np.arange(len(a)), *rng.integers(0, len(a), (RESAMPLES, len(a)))]
    return [float(spearmanr(a[pick], b[pick]).statistic) for pick in picks]


def compare(name: str, wanted: int) -> None:
    """Score random members of a space both ways and print how well they agree."""
    rng = np.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)
    rows, seconds = [], np.zeros(2)
    while len(rows) < wanted:
        arch = SPACES[name].sample(rng)
        counts = count(arch, SHAPE, CLASSES)
        if counts.params > MAX_PARAMS or counts.macs > MAX_MACS:
            continue
        times = [time.process_time()]
        analytic = zen_score(arch, SHAPE)
        times.append(time.process_time())
        sampled = zen_score_monte_carlo(arch, SHAPE, generator=generator).mean
        times.append(time.process_time())
        seconds += np.diff(times)
        rows.append((sampled, analytic, counts.convs, counts.depth, counts.params, counts.macs))
    table = np.array(rows)
    for at, quantity in enumerate(("analytic", "convolutions", "depth", "params", "macs"), start=1):
        found, *resampled = correlations(table[:, 0], table[:, at])
        low, high = np.percentile(resampled, (2.5, 97.5))
        kendall = float(kendalltau(table[:, 0], table[:, at]).statistic)
        facts = {"bootstrap_95": [round(low, 5), round(high, 5)], "kendall": round(kendall, 4)}
        emit(f"spearman_with_monte_carlo.{name}.{quantity}", [found], "rank correlation", networks=wanted, **facts)
    errors = table[:, 1] / table[:, 0] - 1
    emit(f"analytic_error.{name}", list(100 * errors), "%", worst=round(float(100 * np.abs(errors).max()), 2))
    emit(f"analytic_speed_over_monte_carlo.{name}", [seconds[1] / seconds[0]], "ratio of CPU time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=300)
    parser.add_argument("--spaces", nargs="+", default=DEFAULT_SPACES, choices=sorted(SPACES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.spaces:
        compare(name, given.networks)


if __name__ == "__main__":
    main()
