import math
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from predictors.proxies import ProxyFailed
from predictors.proxies.deepmad import deepmad_score, depth_unevenness, effectiveness, super_block_depths
from predictors.proxies.entropy import (
    MULTI_SCALE,
    chain_convolutions,
    mad_score,
    mad_score_of_layers,
    stages_of_layers,
)
from predictors.proxies.entropy_forward import NoiseSampling, mad_score_measured, mad_score_measured_of_layers
from predictors.proxies.quantization_entropy import Bits, quantization_entropy, quantized_rms
from search_spaces.arch import Architecture, Block
from search_spaces.expand import expand
from search_spaces.layers import CONV, INPUT, LINEAR, RELU, Layer, main_path

SHAPE = (3, 32, 32)
PLAIN = Architecture((Block("conv", 16), Block("conv", 32, stride=2), Block("conv", 64, 1)))
MIXED = Architecture(
    (
        Block("conv", 16, 5, stride=2),
        Block("genet_bl", 32, 3, 2, 2, inner=24),
        Block("genet_dw", 24, 5, 2, 2, inner=96),
        Block("zen_idw", 24, 3, 1, 1, inner=16, expansion=2, se=True),
        Block("conv", 64, 1),
    )
)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _layer(name, op, at, shape=(4, 8, 8), **facts):
    return Layer(name, op, (at,), shape, shape, **facts)


@pytest.mark.parametrize("module", ["entropy", "deepmad", "quantization_entropy"])
def test_closed_forms_do_not_load_torch(module):
    code = f"import sys, predictors.proxies.{module}; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([_layer("a", CONV, INPUT), _layer("cat", "concat", 0)], r"^cat: concat, expected conv or one of"),
        ([_layer("void", CONV, INPUT, (0, 8, 8))], r"^void: maps \(0, 8, 8\)"),
        ([_layer("flat", CONV, INPUT, (4, 0, 8))], r"^flat: maps \(4, 0, 8\)"),
        ([_layer("fc", LINEAR, INPUT, (4, 1, 1))], "no convolution before the classifier"),
        ([_layer("r", RELU, INPUT)], "no convolution before the classifier"),
        ([], "no convolution before the classifier"),
    ],
)
def test_what_is_no_chain_is_refused(layers, message):
    with pytest.raises(ProxyFailed, match=message):
        mad_score_of_layers(layers)
    with pytest.raises(ProxyFailed, match=message):
        mad_score_measured_of_layers(layers, generator=_generator())


@pytest.mark.parametrize(
    ("arch", "shape", "message"),
    [
        (Architecture(()), SHAPE, "no convolution"),
        (PLAIN, (3, 8, 0), r"^blocks\.0: u0\.conv: maps \(3, 8, 0\)"),
        (PLAIN, (0, 8, 8), r"^blocks\.0: u0\.conv: maps \(0, 8, 8\)"),
    ],
)
def test_an_architecture_without_maps_is_refused(arch, shape, message):
    for score in (mad_score, deepmad_score, effectiveness):
        with pytest.raises(ProxyFailed, match=message):
            score(arch, shape)


def test_convolutions_that_name_no_block_stand_for_one_each():
    layers = [layer._replace(block=-1) for layer in expand(PLAIN, SHAPE, 10)]
    assert stages_of_layers(layers) == stages_of_layers(expand(PLAIN, SHAPE, 10))


def test_too_few_stages_for_the_weights():
    with pytest.raises(ProxyFailed, match=r"MAD: the network has 2 stages .* expected at least 3 .*fewer weights"):
        mad_score(PLAIN, SHAPE, weights=MULTI_SCALE)
    with pytest.raises(ProxyFailed, match="DeepMAD: the network has 2 stages"):
        deepmad_score(PLAIN, SHAPE, weights=(1, 1, 8))
    with pytest.raises(ProxyFailed, match="MAD: the network has 2 stages"):
        mad_score_measured(PLAIN, SHAPE, weights=MULTI_SCALE, generator=_generator())


@pytest.mark.parametrize("weights", [(), (math.nan,), (1.0, math.inf)])
def test_weights_that_weigh_nothing_sensible(weights):
    with pytest.raises(ProxyFailed, match="expected at least one finite number"):
        mad_score(PLAIN, SHAPE, weights=weights)


def test_depths_that_ought_to_be_even():
    full = Architecture(tuple(Block("genet_bl", 8, depth=depth, inner=8) for depth in (1, 6, 9, 10, 12)))
    wrapped = Architecture((Block("conv", 8, depth=5), *full.blocks, Block("conv", 64, 1)))
    assert super_block_depths(full, SHAPE) == super_block_depths(wrapped, (8, 32, 32)) == (9, 10, 12)
    depthwise = Architecture(tuple(Block("genet_dw", 8, depth=depth, inner=8) for depth in (2, 4, 6)))
    assert super_block_depths(depthwise, SHAPE) == (2, 4, 6)
    assert super_block_depths(PLAIN, SHAPE) == ()


def test_the_depth_penalty():
    assert depth_unevenness((9, 10, 12)) == pytest.approx(math.exp(1.2472191289246473))
    assert depth_unevenness(()) == 1
    without = deepmad_score(MIXED, SHAPE, penalty=0)
    assert deepmad_score(MIXED, SHAPE) == pytest.approx(without - 10 * depth_unevenness((1,)))
    with pytest.raises(ProxyFailed, match=r"block depths \(1, 9000\).*penalty=0"):
        depth_unevenness((1, 9000))
    with pytest.raises(ProxyFailed, match="penalty=-1"):
        deepmad_score(MIXED, SHAPE, penalty=-1)


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ([Bits(8, 8)] * 2, r"2 bit pairs, expected one for each of 3 convolutions; none for blocks\.2\."),
        ([Bits(8, 8)] * 4, r"4 bit pairs.* 3 convolutions; the last is blocks\.2\."),
        (
            [Bits(8, 8), Bits(1, 8), Bits(8, 8)],
            r"^blocks\.1\..*bits Bits\(activation=1, weight=8\), expected a tuple .* 2 to 16",
        ),
        ([Bits(8, 8), Bits(8, 8), Bits(8, 17)], r"^blocks\.2\..*bits Bits\(activation=8, weight=17\)"),
        ([Bits(8, 8), Bits(8, 4.5), Bits(8, 8)], r"^blocks\.1\..*weight=4\.5\)"),
        ([Bits(8, 8), [8, 8], Bits(8, 8)], r"^blocks\.1\..*bits \[8, 8\], expected a tuple"),
        ([Bits(8, 8), (8,), Bits(8, 8)], r"^blocks\.1\..*bits \(8,\)"),
    ],
)
def test_bits_that_do_not_fit_name_the_convolution(bits, message):
    with pytest.raises(ProxyFailed, match=message):
        quantization_entropy(PLAIN, SHAPE, bits, weights=(1.0,))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activation_std": 0.0}, "activation_std=0.0"),
        ({"weight_std": math.nan}, "weight_std=nan"),
        ({"weight_std": 0.001}, "weight_std=0.001 round to nothing"),
    ],
)
def test_quantiser_steps_out_of_range(settings, message):
    with pytest.raises(ProxyFailed, match=message):
        quantization_entropy(PLAIN, SHAPE, [Bits(8, 8)] * 3, weights=(1.0,), **settings)


@pytest.mark.parametrize(("std", "bits"), [(5.0, 3), (4.0, 4), (1.0, 2), (0.4, 8)])
def test_what_bits_keep_is_that_of_drawn_numbers(std, bits):
    drawn = torch.randn(1_000_000, generator=_generator(), dtype=torch.float64) * std
    limit = 2 ** (bits - 1)
    assert quantized_rms(std, bits) == pytest.approx(drawn.round().clamp(-limit, limit).std().item(), rel=5e-3)


def test_the_qe_factor_is_that_of_a_quantised_convolution():
    generator = _generator()
    x = (torch.randn(8, 64, 34, 34, generator=generator) * 5).round().clamp(-4, 4)
    weight = (torch.randn(64, 64, 3, 3, generator=generator) * 4).round().clamp(-8, 8)
    arch = Architecture((Block("conv", 64),))
    expected = math.log(64) + math.log(F.conv2d(x, weight).std().item() / 5)
    assert quantization_entropy(arch, (64, 34, 34), [Bits(3, 4)], weights=(1.0,)) == pytest.approx(expected, abs=0.01)


def _plain_definition(arch, shape, sampling, seed):
    """Draw, convolve, divide the map by its deviation: nothing folded into weights."""
    generator = _generator(seed)
    x, total = torch.randn(sampling.batch, *shape, generator=generator, dtype=sampling.dtype), 0.0
    for conv in chain_convolutions(main_path(expand(arch, shape))):
        size = (conv.channels, conv.in_channels // conv.groups, conv.kernel, conv.kernel)
        weight = torch.randn(size, generator=generator, dtype=sampling.dtype)
        x = F.conv2d(x, weight, None, conv.stride, conv.padding, 1, conv.groups)
        total += x.std().log().item()
        x = x / x.std()
    return total + math.log(x.shape[1])


def test_the_measured_entropy_is_the_plain_definition():
    sampling = NoiseSampling(batch=4, repeat=1, dtype=torch.float64)
    measured = mad_score_measured(MIXED, SHAPE, sampling, generator=_generator(3))
    assert measured.mean == pytest.approx(_plain_definition(MIXED, SHAPE, sampling, 3), rel=1e-12)
    assert measured.standard_error is None


def test_the_closed_form_is_the_expected_value_but_for_borders_and_fluctuation():
    # pointwise: no padding; 256 channels: hardly any fluctuation
    arch = Architecture((Block("conv", 256, 1, depth=4), Block("conv", 256, 1, stride=2, depth=2)))
    sampling = NoiseSampling(batch=4, repeat=8)
    for weights in ((1.0,), (1.0, 6.0)):
        measured = mad_score_measured(arch, (16, 16, 16), sampling, weights=weights, generator=_generator())
        assert measured.mean == pytest.approx(mad_score(arch, (16, 16, 16), weights=weights), abs=0.05 * sum(weights))


def test_the_generator_decides_everything():
    sampling = NoiseSampling(batch=2, repeat=2)
    first = mad_score_measured(MIXED, SHAPE, sampling, generator=_generator(3))
    torch.manual_seed(99)
    assert mad_score_measured(MIXED, SHAPE, sampling, generator=_generator(3)) == first
    assert mad_score_measured(MIXED, SHAPE, sampling, generator=_generator(4)) != first
    assert first.standard_error > 0


@pytest.mark.parametrize("settings", [{"batch": 0}, {"repeat": 0}])
def test_sampling_out_of_range(settings):
    name, value = next(iter(settings.items()))
    with pytest.raises(ProxyFailed, match=f"{name}={value}"):
        mad_score_measured(PLAIN, SHAPE, NoiseSampling(**settings), generator=_generator())


def test_a_map_of_one_element_is_named():
    arch = Architecture((Block("conv", 1),))
    with pytest.raises(ProxyFailed, match=r"^blocks\.0\..*standard deviation 0.0 of 1 elements"):
        mad_score_measured(arch, (1, 1, 1), NoiseSampling(batch=1), generator=_generator())
