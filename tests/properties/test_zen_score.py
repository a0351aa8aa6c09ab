import math
from dataclasses import replace

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from strategies import RELU_CHAINS

from predictors.proxies import ProxyFailed, zen_score, zen_score_of_layers
from predictors.proxies.zen import perturbation_left
from search_spaces.arch import Architecture, Block
from search_spaces.execute import plain_network
from search_spaces.expand import expand
from search_spaces.layers import CONV, INPUT, LINEAR, NORM, RELU, SIGMOID, Layer

architectures = strategies.architectures(RELU_CHAINS, act=False, widths=st.integers(1, 64), max_blocks=7)
shapes = st.tuples(st.integers(1, 6), st.integers(1, 48), st.integers(1, 48))
momenta = st.sampled_from((1.0, 0.1))


@given(arch=architectures, shape=shapes, momentum=momenta, repeat=st.integers(1, 3))
def test_architecture_and_layers_score_alike(arch, shape, momentum, repeat):
    whole = zen_score_of_layers(expand(arch, shape, 10), momentum=momentum, repeat=repeat)
    assert zen_score(arch, shape, momentum=momentum, repeat=repeat) == pytest.approx(whole, rel=1e-9, abs=1e-9)
    assert math.isfinite(whole)


@pytest.mark.parametrize("kind", strategies.POOLED)
@given(arch=architectures, shape=shapes)
def test_a_pooled_head_does_not_count(arch, shape, kind):
    with_head = Architecture((*arch.blocks, Block(kind, 64, 1)))
    assert zen_score(with_head, shape) == zen_score(arch, shape)
    assert zen_score_of_layers(expand(with_head, shape, 10)) == zen_score_of_layers(expand(arch, shape, 10))


@given(arch=architectures, shape=shapes)
def test_shortcuts_gates_and_classifier_do_not_count(arch, shape):
    bare = Architecture(tuple(replace(block, se=False) for block in arch.blocks))
    layers = expand(arch, shape, 10)
    assert zen_score(bare, shape) == zen_score(arch, shape)
    assert zen_score_of_layers(plain_network(layers)) == zen_score_of_layers(layers)
    assert zen_score_of_layers(expand(arch, shape)) == zen_score_of_layers(layers)


@given(arch=architectures, at=st.integers(0, 6), size=st.integers(8, 48))
def test_a_deeper_block_scores_higher_under_true_variances(arch, at, size):
    arch = Architecture(tuple(replace(b, channels=b.channels + 8, inner=b.inner and b.inner + 8) for b in arch.blocks))
    at %= len(arch.blocks)
    block = arch.blocks[at]
    if block.kernel == 1 or "dw" in block.kind:  # fan-ins below about 3 shrink the score: nothing to promise
        return
    deeper = Architecture((*arch.blocks[:at], replace(block, depth=block.depth + 1), *arch.blocks[at + 1 :]))
    assert zen_score(deeper, (3, size, size)) > zen_score(arch, (3, size, size))


@given(arch=architectures, shape=shapes, small=st.floats(1e-4, 0.1), factor=st.floats(1.01, 10))
def test_a_larger_perturbation_moves_the_output_further(arch, shape, small, factor):
    assert zen_score(arch, shape, gamma=small) < zen_score(arch, shape, gamma=small * factor) + 1e-12


@given(arch=architectures, shape=shapes)
def test_less_of_the_perturbation_is_left_in_a_longer_network(arch, shape):
    longer = Architecture((*arch.blocks, Block("conv", 16, 3)))
    left = perturbation_left(expand(arch, shape))
    assert 0 <= perturbation_left(expand(longer, shape)) <= left + 1e-12


def test_the_saturated_score_is_the_sum_of_half_log_fan_ins():
    # 90 pointwise convolutions of 64 channels: no borders, so every norm adds ln(64 (1/2 - 1/(2 pi))) / 2
    arch = Architecture((Block("conv", 64, 1, depth=90),))
    first = 0.5 * math.log(3 * (1 + 0.01**2 / 2))
    others = 89 * 0.5 * math.log(64 * (0.5 - 0.5 / math.pi))
    delta = math.log(64 * 8 * 8 / math.sqrt(math.pi))
    assert zen_score(arch, (3, 8, 8)) == pytest.approx(first + others + delta, abs=1e-3)


def _layer(name, op, at, shape=(4, 8, 8)):
    return Layer(name, op, (at,), shape, shape)


CHAIN = [_layer("a", CONV, INPUT), _layer("b", NORM, 0), _layer("c", RELU, 1)]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([CHAIN[0], _layer("x", RELU, 0)], r"^x: relu, expected norm"),
        ([*CHAIN, _layer("gate", SIGMOID, 2)], r"^gate: sigmoid, expected conv"),
        (CHAIN[:1], r"end where norm was expected"),
        ([*CHAIN, _layer("again", NORM, 2)], r"^again: norm, expected conv"),
        ([_layer("x", LINEAR, INPUT, (4, 1, 1))], r"end where conv was expected"),
        (
            [_layer("void", CONV, INPUT, (0, 8, 8)), _layer("n", NORM, 0), _layer("r", RELU, 1)],
            r"^void: .*\(0, 8, 8\)",
        ),
        (
            [_layer("flat", CONV, INPUT, (4, 0, 8)), _layer("n", NORM, 0), _layer("r", RELU, 1)],
            r"^flat: .*\(4, 0, 8\)",
        ),
        ([], r"end where conv was expected"),
    ],
)
def test_what_is_no_plain_network_is_refused(layers, message):
    with pytest.raises(ProxyFailed, match=message):
        zen_score_of_layers(layers)


@pytest.mark.parametrize(
    ("arch", "shape", "message"),
    [
        (Architecture(()), (3, 8, 8), "no blocks"),
        (Architecture((Block("conv", 8),)), (0, 8, 8), r"conv: maps \(0, 8, 8\)"),
        (Architecture((Block("conv", 8),)), (3, 8, 0), r"conv: maps \(3, 8, 0\)"),
    ],
)
def test_an_architecture_without_maps_is_refused(arch, shape, message):
    with pytest.raises(ProxyFailed, match=message):
        zen_score(arch, shape)


@pytest.mark.parametrize(
    "settings",
    [
        {"gamma": 0.0},
        {"gamma": -1.0},
        {"gamma": math.nan},
        {"momentum": 0.0},
        {"momentum": 1.1},
        {"repeat": 0},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    arch = Architecture((Block("conv", 8),))
    name, value = next(iter(settings.items()))
    with pytest.raises(ProxyFailed, match=f"{name}={value}"):
        zen_score(arch, (3, 8, 8), **settings)
