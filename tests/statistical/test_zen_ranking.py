"""The closed form ranks networks as Monte Carlo does; the claim as an inequality over a bootstrap interval."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from hardware.counts import count
from predictors.proxies import zen_score
from predictors.proxies.zen_monte_carlo import ZenSampling, zen_score_monte_carlo
from search_spaces.zen import ZEN_TINY

SHAPE = (3, 16, 16)
MAX_MACS = 30_000_000


def _members(rng):
    while True:
        arch = ZEN_TINY.sample(rng)
        if count(arch, SHAPE, 10).macs < MAX_MACS:
            yield arch


def _pairs(networks):
    rng = np.random.default_rng(1)
    generator = torch.Generator().manual_seed(1)
    sampling = ZenSampling(batch=4)
    members = _members(rng)
    rows = []
    for _ in range(networks):
        arch = next(members)
        sampled = zen_score_monte_carlo(arch, SHAPE, sampling, generator=generator).mean
        rows.append((zen_score(arch, SHAPE), sampled))
    return np.array(rows)


def test_the_closed_form_ranks_forty_networks():
    analytic, sampled = _pairs(40).T
    assert spearmanr(analytic, sampled).statistic > 0.98


@pytest.mark.slow
def test_the_closed_form_ranks_two_hundred_networks_with_certainty():
    pairs = _pairs(200)
    rng = np.random.default_rng(0)
    resampled = [spearmanr(*pairs[rng.integers(0, 200, 200)].T).statistic for _ in range(500)]
    assert np.percentile(resampled, 2.5) > 0.99
