from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from predictors.proxies import ProxyFailed
from predictors.proxies.zen import perturbation_left, plain_convolutions
from predictors.proxies.zen_forward import NORM_EPS, draw_weights, forward
from predictors.proxies.zen_monte_carlo import (
    COMPAT,
    DEFAULT,
    ZenSampling,
    zen_score_monte_carlo,
    zen_score_monte_carlo_of_layers,
)
from search_spaces.arch import Architecture, Block
from search_spaces.execute import execute, plain_network
from search_spaces.expand import expand
from search_spaces.layers import main_path

SHAPE = (3, 32, 32)
SMALL = Architecture((Block("conv", 8), Block("zen_xx", 16, stride=2, inner=8), Block("conv", 16, 1)))
EVERYTHING = Architecture(
    (
        Block("conv", 16, stride=2),
        Block("zen_bl", 120, 5, 1, 2, inner=16),  # widens: the tiled path, more than one tile
        Block("zen_idw", 24, 3, 2, 1, inner=16, expansion=2),
        Block("genet_dw", 24, 3, 2, 2, inner=72),
        Block("zen_xx", 16, 3, 1, 1, inner=40),
        Block("conv", 32, 1, depth=2),
    )
)
DEEP = Architecture((Block("conv", 16), Block("zen_bl", 64, 3, 2, 9, inner=16), Block("conv", 32, 1)))


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _plain_definition(convs, weights, image):
    """Convolution, unbiased variance, norm, ReLU: nothing absorbed, nothing tiled."""
    x, variances = image, []
    for conv, drawn in zip(convs, weights, strict=True):
        weight = drawn.t()[:, :, None, None] if drawn.dim() == 2 else drawn
        x = F.conv2d(x, weight, None, conv.stride, conv.padding, 1, conv.groups)
        variances.append(x.var((0, 2, 3)).mean())
        x = F.relu(F.batch_norm(x, None, None, training=True, eps=NORM_EPS))
    return x, torch.stack(variances)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_fast_forward_is_the_plain_definition(dtype):
    layers = expand(EVERYTHING, (3, 64, 48))
    convs = [conv for conv, _ in plain_convolutions(main_path(layers))]
    weights = draw_weights(convs, _generator(), dtype, "cpu")
    images = torch.randn(2, 3, 3, 64, 48, generator=_generator(1), dtype=dtype)
    rows = images.permute(0, 1, 3, 4, 2).reshape(2, -1, 3)
    outputs, variances = forward(convs, weights, rows)
    tolerance = 1e-9 if dtype == torch.float64 else 3e-3
    seen = []
    for image, output in zip(images, outputs, strict=True):
        expected, expected_variances = _plain_definition(convs, weights, image)
        got = output.view(3, *expected.shape[2:], -1).permute(0, 3, 1, 2)
        torch.testing.assert_close(got, expected, atol=tolerance, rtol=tolerance)
        seen.append(expected_variances)
    torch.testing.assert_close(variances, (seen[0] + seen[1]) / 2, atol=0, rtol=tolerance)


def test_the_plain_definition_is_the_functional_forward():
    layers = expand(EVERYTHING, SHAPE)
    convs = [conv for conv, _ in plain_convolutions(main_path(layers))]
    weights = draw_weights(convs, _generator(), torch.float64, "cpu")
    image = torch.randn(4, *SHAPE, generator=_generator(1), dtype=torch.float64)
    expected, _ = _plain_definition(convs, weights, image)
    tensors = {
        f"{conv.name}.weight": weight.t()[:, :, None, None] if weight.dim() == 2 else weight
        for conv, weight in zip(convs, weights, strict=True)
    }
    got = execute(plain_network(layers), tensors, image, norm="batch", eps=NORM_EPS)
    torch.testing.assert_close(got, expected)


def test_the_generator_decides_everything():
    first = zen_score_monte_carlo(EVERYTHING, SHAPE, generator=_generator(3))
    torch.manual_seed(99)
    assert zen_score_monte_carlo(EVERYTHING, SHAPE, generator=_generator(3)) == first
    assert zen_score_monte_carlo(EVERYTHING, SHAPE, generator=_generator(4)).mean != first.mean


def test_repeats_and_their_standard_error():
    sampling = ZenSampling(batch=4, repeat=5)
    estimate = zen_score_monte_carlo(SMALL, SHAPE, sampling, generator=_generator())
    assert len(set(estimate.values)) == 5
    assert estimate.mean == pytest.approx(sum(estimate.values) / 5)
    assert estimate.standard_error == pytest.approx(torch.tensor(estimate.values).double().std().item() / 5**0.5)
    single = zen_score_monte_carlo(SMALL, SHAPE, generator=_generator())
    assert single.standard_error is None


def test_an_architecture_scores_as_its_layers():
    by_layers = zen_score_monte_carlo_of_layers(expand(SMALL, SHAPE, 10), generator=_generator())
    assert zen_score_monte_carlo(SMALL, SHAPE, generator=_generator()) == by_layers


def test_momentum_holds_the_variances_back():
    true = zen_score_monte_carlo(SMALL, SHAPE, DEFAULT, generator=_generator()).mean
    held = zen_score_monte_carlo(SMALL, SHAPE, replace(DEFAULT, momentum=0.1), generator=_generator()).mean
    assert held < true - 2


def test_one_pass_where_two_tell_nothing_more():
    layers = expand(DEEP, SHAPE)
    assert perturbation_left(layers) < 1e-3 < perturbation_left(expand(SMALL, SHAPE))
    one = ZenSampling(batch=8, repeat=12)
    a = zen_score_monte_carlo(DEEP, SHAPE, one, generator=_generator())
    b = zen_score_monte_carlo(DEEP, SHAPE, replace(one, always_perturb=True), generator=_generator(1))
    assert abs(a.mean - b.mean) < 4 * (a.standard_error**2 + b.standard_error**2) ** 0.5
    assert a.standard_error < 0.5


def test_one_image_still_has_a_score():
    sampling = ZenSampling(batch=1)
    assert zen_score_monte_carlo(DEEP, SHAPE, sampling, generator=_generator()).mean > 0


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"batch": 0}, "batch=0"),
        ({"gamma": 0.0}, "gamma=0.0"),
        ({"momentum": 0.0}, "momentum=0.0"),
        ({"repeat": 0}, "repeat=0"),
    ],
)
def test_settings_out_of_range(settings, named):
    with pytest.raises(ProxyFailed, match=named):
        zen_score_monte_carlo(SMALL, SHAPE, replace(DEFAULT, **settings), generator=_generator())


def test_a_dead_map_is_named():
    # one image of one pixel: every map has a single position, so no variance
    with pytest.raises(ProxyFailed, match=r"^blocks\.0\..*batch variance "):
        zen_score_monte_carlo(SMALL, (3, 1, 1), ZenSampling(batch=1), generator=_generator())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda():
    sampling = replace(COMPAT, device="cuda", repeat=4)
    on_cuda = zen_score_monte_carlo(EVERYTHING, SHAPE, sampling, generator=torch.Generator("cuda").manual_seed(0))
    on_cpu = zen_score_monte_carlo(EVERYTHING, SHAPE, replace(COMPAT, repeat=4), generator=_generator())
    assert on_cuda.values[0] == pytest.approx(on_cpu.values[0], abs=3)
