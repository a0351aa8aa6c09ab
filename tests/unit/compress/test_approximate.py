"""Convolutions as two: exact at full rank, optimal below it, under a budget, refitted, in any module."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from compress_modules import Mixture, Residual, random_norms
from torch import nn

from nas.compress.approximate import ApproximateSettings, approximate
from nas.compress.approximate.decompose import cost_ratio, group_pair, low_rank_pair, sizes
from nas.compress.errors import BudgetUnreachable, CannotCompress
from nas.compress.groups import Coupling
from nas.compress.sliced_cost import SlicedCost
from search_spaces import load_space
from search_spaces.build import Network, build


def test_all_components_are_exact() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(12, 20, 3, 2, 1), torch.randn(2, 12, 9, 9)
    for size in (1, 3, 12):
        pair = group_pair(conv.weight, size, rank=9 * size)
        middle = nn.functional.conv2d(x, pair.first, None, 2, 1, groups=pair.groups)
        found = nn.functional.conv2d(middle, pair.second, conv.bias)
        torch.testing.assert_close(found, conv(x), rtol=0, atol=1e-5)
        assert pair.energy == pytest.approx(1)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_error_is_what_the_discarded_singular_values_say(size: int) -> None:
    weight = torch.randn(10, 8, 3, 3, generator=torch.Generator().manual_seed(1))
    pair = group_pair(weight, size)
    blocks = weight.double().reshape(10, 8 // size, -1)
    rebuilt = torch.zeros_like(weight)
    for at in range(8):
        group = at // size
        rows = pair.first[group * size : (group + 1) * size, at % size]
        rebuilt[:, at] = torch.einsum("om,mhw->ohw", pair.second[:, group * size : (group + 1) * size, 0, 0], rows)
    error = float((rebuilt - weight).double().square().sum())
    discarded = sum(float(torch.linalg.svdvals(blocks[:, group])[size:].square().sum()) for group in range(8 // size))
    assert error == pytest.approx(discarded, rel=1e-5)
    assert 1 - pair.energy == pytest.approx(discarded / float(weight.double().square().sum()), rel=1e-6)


def test_cost_of_groups_and_ranks() -> None:
    weight = torch.randn(32, 16, 3, 3)
    assert cost_ratio(weight, "groups", 4) == pytest.approx(4 / 32 + 1 / 9)
    pair = group_pair(weight, 4)
    assert (pair.first.numel() + pair.second.numel()) / weight.numel() == pytest.approx(4 / 32 + 1 / 9)
    pair = low_rank_pair(weight, 8)
    assert (pair.first.numel() + pair.second.numel()) / weight.numel() == pytest.approx(
        cost_ratio(weight, "low-rank", 8)
    )
    assert sizes(weight, "groups") == [1, 2, 4, 8, 16]
    assert [group_pair(weight, g).energy for g in (1, 2, 4, 8, 16)] == sorted(
        group_pair(weight, g).energy for g in (1, 2, 4, 8, 16)
    )


@pytest.mark.parametrize("method", ["groups", "low-rank"])
def test_budget_is_kept_and_the_network_given_is_not_changed(method: str) -> None:
    torch.manual_seed(0)
    model = random_norms(Residual())
    before = copy.deepcopy(model.state_dict())
    images = torch.randn(64, 3, 8, 8)
    result = approximate(model, (3, 8, 8), settings=ApproximateSettings(macs=0.7, method=method), images=images)
    assert result.macs_after <= 0.7 * result.macs_before
    assert result.macs_after == SlicedCost(result.network, Coupling({}, {}, (3, 8, 8))).macs({})
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert result.choices
    assert not result.network.training


def test_refit_is_closer_on_the_images_it_saw() -> None:
    torch.manual_seed(0)
    model = random_norms(Residual())
    images = torch.randn(128, 3, 8, 8)
    settings = ApproximateSettings(macs=0.6)
    plain = approximate(model, (3, 8, 8), settings=settings)
    fitted = approximate(model, (3, 8, 8), settings=settings, images=images)
    assert plain.choices == fitted.choices
    with torch.no_grad():
        wanted = model(images)
        errors = [float((each.network(images) - wanted).square().mean()) for each in (plain, fitted)]
    assert errors[1] < errors[0]


def test_a_convolution_that_is_used_twice_counts_twice_and_stays_one_module() -> None:
    model = random_norms(Mixture())
    result = approximate(model, (3, 8, 8), settings=ApproximateSettings(macs=0.9), images=torch.randn(16, 3, 8, 8))
    assert isinstance(result.network.get_submodule(next(iter(result.choices))), nn.Sequential)
    assert result.macs_after <= 0.9 * result.macs_before


@pytest.mark.slow
def test_our_networks_stay_networks() -> None:
    network = random_norms(build(load_space("resnet-small").sample(np.random.default_rng(3)), num_classes=5))
    result = approximate(
        network, (3, 16, 16), settings=ApproximateSettings(macs=0.8), images=torch.randn(16, 3, 16, 16)
    )
    small = result.network
    assert isinstance(small, Network)
    assert sum(layer.weight_count for layer in small.layers) == sum(value.numel() for value in small.parameters())
    assert sum(layer.macs for layer in small.layers_at((3, 16, 16))) == result.macs_after
    again = Network(small.layers, small.arch, 5, 3)
    again.load_state_dict(small.state_dict())
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(images), small(images))


def test_what_cannot_be_done_is_said() -> None:
    model = random_norms(Residual())
    with pytest.raises(BudgetUnreachable, match=r"a share of 0.01 .* cannot be reached, the least is 0\.\d+"):
        approximate(model, (3, 8, 8), settings=ApproximateSettings(macs=0.01))
    with pytest.raises(CannotCompress, match=r"images of shape \(4, 3, 9, 9\) .* expected float32 \(N, 3, 8, 8\)"):
        approximate(model, (3, 8, 8), images=torch.randn(4, 3, 9, 9))
    with pytest.raises(CannotCompress, match="NaN"):
        approximate(model, (3, 8, 8), images=torch.full((4, 3, 8, 8), torch.nan))
    with pytest.raises(CannotCompress, match="macs=2, expected a share"):
        ApproximateSettings(macs=2)


def test_a_convolution_with_little_work_stays_whole() -> None:
    model = random_norms(Residual())
    total = SlicedCost(model, Coupling({}, {}, (3, 8, 8))).macs({})
    share = model.stem.weight.numel() * 64 / total
    settings = ApproximateSettings(macs=0.7, method="low-rank", least_work=0.0)
    assert "stem" in approximate(model, (3, 8, 8), settings=settings).choices
    settings = ApproximateSettings(macs=0.7, method="low-rank", least_work=1.01 * share)
    assert "stem" not in approximate(model, (3, 8, 8), settings=settings).choices
