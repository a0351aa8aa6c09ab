"""Moments of activations against sampling, and the closed-form Zen-Score of networks without ReLU."""

import math

import numpy as np
import pytest
import torch

from predictors.proxies import ProxyFailed, zen_score
from predictors.proxies.dual_activation import KNOWN, LINEAR, response
from predictors.proxies.zen_monte_carlo import ZenSampling, zen_score_monte_carlo
from search_spaces.arch import Architecture, Block
from search_spaces.layers import ACTIVATIONS, Layer
from search_spaces.operations import compute

every_activation = pytest.mark.parametrize("name", sorted(KNOWN))
SAMPLES = 200_000


def _apply(name, x):
    return x if name == LINEAR else compute(Layer("f", name, (-1,), (1, 1, 1), (1, 1, 1)), [x])


def _pairs(name, q):
    generator = torch.Generator().manual_seed(3)
    u, z = torch.randn(2, SAMPLES, generator=generator, dtype=torch.float64)
    other = (1 - q) * u + math.sqrt(1 - (1 - q) ** 2) * z
    return _apply(name, u), _apply(name, other)


def test_every_activation_that_networks_may_have_is_known():
    assert {*ACTIVATIONS, LINEAR} == KNOWN


@every_activation
def test_mean_and_square_are_those_of_samples(name):
    f, _ = _pairs(name, 1.0)
    got = response(name)
    assert got.mean == pytest.approx(f.mean().item(), abs=5 * f.std().item() / SAMPLES**0.5)
    assert got.square == pytest.approx(f.square().mean().item(), rel=0.01)


@every_activation
@pytest.mark.parametrize("q", [1e-8, 1e-4, 0.03, 0.4, 1.0])
def test_loss_and_distance_are_those_of_samples(name, q):
    f, other = _pairs(name, q)
    got = response(name)
    assert got.loss(q) == pytest.approx((f - other).square().mean().item() / 2, rel=0.02)
    assert got.log_distance(q) == pytest.approx(math.log((f - other).abs().mean().item()), abs=0.02)


@every_activation
def test_the_loss_of_no_correlation_is_the_variance(name):
    got = response(name)
    assert got.loss(1.0) == pytest.approx(got.square - got.mean**2, rel=1e-3)
    losses = [got.loss(q) for q in np.geomspace(1e-9, 1, 50)]
    assert losses == sorted(losses)


@pytest.mark.parametrize(
    "blocks",
    [
        *(tuple(Block("conv", 32, act=act) for _ in range(4)) for act in ("hard_swish", "silu", "gelu", "relu6")),
        (Block("conv", 16), Block("tinynas_k1dwsek1", 32, 3, 2, 2, inner=64)),
    ],
    ids=["hard_swish", "silu", "gelu", "relu6", "k1dwsek1"],
)
def test_the_closed_form_is_what_random_weights_give(blocks):
    arch, shape = Architecture(blocks), (3, 8, 8)
    sampling = ZenSampling(batch=8, repeat=6)
    measured = zen_score_monte_carlo(arch, shape, sampling, generator=torch.Generator().manual_seed(1))
    assert zen_score(arch, shape) == pytest.approx(measured.mean, rel=0.04)


def test_the_forward_of_any_network_agrees_with_the_fast_one():
    relu = Architecture(tuple(Block("conv", 32) for _ in range(4)))
    nearly = Architecture((*relu.blocks[:-1], Block("conv", 32, act="relu6")))  # what random maps hardly tell apart
    sampling = ZenSampling(batch=16, repeat=12)
    fast, slow = (
        zen_score_monte_carlo(arch, (3, 16, 16), sampling, generator=torch.Generator().manual_seed(5))
        for arch in (relu, nearly)
    )
    spread = 4 * math.hypot(fast.standard_error, slow.standard_error)
    assert slow.mean == pytest.approx(fast.mean, abs=spread + 0.005)


def test_a_chain_that_is_none_names_the_layer_and_the_way_out():
    layers = [Layer("a", "conv", (-1,), (3, 8, 8), (4, 8, 8), 3), Layer("b", "relu", (0,), (4, 8, 8), (4, 8, 8))]
    from predictors.proxies import zen_score_of_layers

    with pytest.raises(ProxyFailed, match=r"b: relu, expected norm; .*zen-mc"):
        zen_score_of_layers(layers)
