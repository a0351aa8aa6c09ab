"""Bits for each layer under a budget of bytes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from nas.compress.errors import BudgetUnreachable, CannotCompress
from nas.compress.quantise import QuantiseSettings, quantise_network
from nas.compress.quantise.mixed import _least_error, bits_within


def network() -> nn.Module:
    """Three layers of different sizes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 16, 4))
        ).eval()


def images() -> torch.Tensor:
    return torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_the_knapsack_is_exact():
    rng = np.random.default_rng(0)
    errors = np.sort(rng.random((5, 4)), axis=1)[:, ::-1]
    sizes = np.sort(rng.integers(1, 60, (5, 4)), axis=1)
    for budget in (80, 120, 160):
        if sizes.min(axis=1).sum() > budget:
            continue
        best = min(
            sum(errors[range(5), pick]) for pick in product(range(4), repeat=5) if sum(sizes[range(5), pick]) <= budget
        )
        picked = _least_error(errors, sizes, budget)
        assert sizes[range(5), picked].sum() <= budget
        assert errors[range(5), picked].sum() == pytest.approx(best)


def test_bits_keep_the_budget_and_beat_equal_bits_of_the_same_size():
    model, weights = network(), 3 * 8 * 9 + 8 * 16 * 9 + 256 * 4
    budget = weights * 9 // 16
    found = bits_within(model, images(), weight_bytes=budget)
    assert found.weight_bytes <= budget
    assert found.predicted <= sum(row[4] for row in found.sensitivity.values())
    assert all(row[8] < row[2] for row in found.sensitivity.values())
    assert set(found.layer_bits) == {"0.weight", "2.weight", "5.weight"}
    assert len(set(found.layer_bits.values())) > 1
    settings = QuantiseSettings(method="nearest", layer_bits=found.layer_bits)
    quantised = quantise_network(model, images(), settings=settings)
    assert [codes.bits for codes in quantised.weights.values()] == list(found.layer_bits.values())


def test_a_budget_out_of_reach_says_what_is_needed():
    with pytest.raises(BudgetUnreachable, match="need 598"):
        bits_within(network(), images(), weight_bytes=100)
    with pytest.raises(CannotCompress, match="choices"):
        bits_within(network(), images(), weight_bytes=1000, choices=(1, 4))
