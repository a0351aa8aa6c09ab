import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import CHAINS, POOLED, architectures

from predictors.proxies import ProxyFailed
from predictors.proxies.deepmad import (
    deepmad_entropy,
    deepmad_entropy_of_layers,
    deepmad_score,
    depth_unevenness,
    effectiveness,
    effectiveness_of_layers,
)
from predictors.proxies.entropy import mad_score, mad_score_of_layers, stages, stages_of_layers
from predictors.proxies.quantization_entropy import (
    MAX_BITS,
    MIN_BITS,
    Bits,
    quantization_entropy,
    quantization_entropy_of_layers,
    quantized_rms,
)
from search_spaces.arch import Architecture, Block
from search_spaces.execute import plain_network
from search_spaces.expand import expand
from search_spaces.layers import CONV, main_path

chains = architectures(CHAINS)
shapes = st.tuples(st.integers(1, 6), st.integers(1, 48), st.integers(1, 48))
precisions = st.integers(MIN_BITS, MAX_BITS)


def _close(value):
    return pytest.approx(value, rel=1e-9, abs=1e-9)


@given(arch=chains, shape=shapes)
def test_architecture_and_layers_score_alike(arch, shape):
    layers = expand(arch, shape, 10)
    assert mad_score(arch, shape) == _close(mad_score_of_layers(layers))
    assert deepmad_entropy(arch, shape) == _close(deepmad_entropy_of_layers(layers))
    assert deepmad_entropy(arch, shape, compat=True) == _close(deepmad_entropy_of_layers(layers, compat=True))
    assert effectiveness(arch, shape) == _close(effectiveness_of_layers(layers))
    for found, expected in zip(stages(arch, shape), stages_of_layers(layers), strict=True):
        assert found == expected._replace(log_std=_close(expected.log_std))


@given(arch=chains, shape=shapes)
def test_shortcuts_gates_and_classifier_do_not_count(arch, shape):
    bare = Architecture(tuple(replace(block, se=False) for block in arch.blocks))
    layers = expand(arch, shape, 10)
    assert mad_score(bare, shape) == mad_score(arch, shape)
    assert deepmad_score(bare, shape) == deepmad_score(arch, shape)
    assert mad_score_of_layers(plain_network(layers)) == mad_score_of_layers(layers)
    assert mad_score_of_layers(expand(arch, shape)) == mad_score_of_layers(layers)


@given(arch=chains, kind=st.sampled_from(POOLED), shape=shapes)
def test_a_pooled_head_does_not_count(arch, kind, shape):
    with_head = Architecture((*arch.blocks, Block(kind, 64, 1)))
    assert stages(with_head, shape) == stages(arch, shape)
    assert stages_of_layers(expand(with_head, shape, 10)) == stages_of_layers(expand(arch, shape, 10))
    assert deepmad_score(with_head, shape) == deepmad_score(arch, shape)


@given(arch=chains, shape=shapes)
def test_the_last_stage_sums_all_convolutions(arch, shape):
    convs = [layer for layer in main_path(expand(arch, shape)) if layer.op == CONV]
    whole = sum(math.log(conv.weight_count / conv.channels) / 2 for conv in convs)
    assert mad_score(arch, shape) == _close(whole + math.log(convs[-1].channels))
    assert stages(arch, shape)[-1].convs == len(convs)


@given(arch=chains, shape=shapes)
def test_each_stage_ends_before_a_block_with_a_stride(arch, shape):
    found = stages(arch, shape)
    assert len(found) == 1 + sum(block.stride == 2 for block in arch.blocks[1:])
    assert all(a.convs < b.convs and a.log_std <= b.log_std for a, b in pairwise(found))


@given(arch=chains, shape=shapes, weights=st.lists(st.floats(-20, 20), min_size=1, max_size=5))
def test_weights_are_of_the_last_stages(arch, shape, weights):
    each = [math.log(stage.shape[0]) + stage.log_std for stage in stages(arch, shape)]
    if len(weights) > len(each):
        with pytest.raises(ProxyFailed, match=f"has {len(each)} stages"):
            mad_score(arch, shape, weights=weights)
        return
    expected = sum(w * h for w, h in zip(weights[::-1], each[::-1], strict=False))
    assert mad_score(arch, shape, weights=weights) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(arch=chains, at=st.integers(0, 5), shape=shapes)
def test_a_deeper_block_never_scores_lower(arch, at, shape):
    at %= len(arch.blocks)
    block = arch.blocks[at]
    deeper = Architecture((*arch.blocks[:at], replace(block, depth=block.depth + 1), *arch.blocks[at + 1 :]))
    assert mad_score(deeper, shape) >= mad_score(arch, shape) - 1e-9
    assert deepmad_entropy(deeper, shape) >= deepmad_entropy(arch, shape) - 1e-9


@given(arch=chains, shape=shapes)
def test_rho_is_depth_over_the_mean_width(arch, shape):
    convs = [layer for layer in main_path(expand(arch, shape)) if layer.op == CONV]
    widths = [conv.weight_count / conv.channels for conv in convs]
    ratios = [n / math.exp(sum(map(math.log, widths[:n])) / n) for n in (s.convs for s in stages(arch, shape))]
    assert effectiveness(arch, shape) == _close(max(ratios))


@given(depths=st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_unevenness_is_1_for_equal_depths_alone(depths):
    assert depth_unevenness([depths[0]] * len(depths)) == 1
    assert (depth_unevenness(depths) > 1) == (len(set(depths)) > 1)


@given(arch=chains, shape=shapes, data=st.data())
def test_more_bits_never_score_lower_and_cost_a_known_amount(arch, shape, data):
    count = stages(arch, shape)[-1].convs
    pairs = st.builds(Bits, precisions, precisions)
    bits = data.draw(st.lists(pairs, min_size=count, max_size=count))
    at = data.draw(st.integers(0, count - 1))
    more = [*bits]
    more[at] = bits[at]._replace(weight=min(MAX_BITS, bits[at].weight + 1))
    score = quantization_entropy(arch, shape, bits, weights=(1.0,))
    gain = quantized_rms(4.0, more[at].weight) / quantized_rms(4.0, bits[at].weight)
    assert gain >= 1
    assert quantization_entropy(arch, shape, more, weights=(1.0,)) == _close(score + math.log(gain))
    assert quantization_entropy_of_layers(expand(arch, shape, 10), bits, weights=(1.0,)) == _close(score)


@given(std=st.floats(1.0, 30.0), bits=st.integers(MIN_BITS, MAX_BITS - 1))
def test_what_bits_keep_grows_towards_the_rounded_normal(std, bits):
    rounded = math.sqrt(std * std + 1 / 12)
    assert quantized_rms(std, bits) <= quantized_rms(std, bits + 1) <= rounded * (1 + 1e-6)
    assert quantized_rms(std, MAX_BITS) == pytest.approx(rounded, rel=1e-6)


def test_pointwise_chain_by_hand():
    arch = Architecture((Block("conv", 64, 1, depth=5), Block("conv", 32, 1, stride=2)))
    through = 0.5 * (math.log(3) + 4 * math.log(64))
    assert mad_score(arch, (3, 8, 8)) == _close(through + 0.5 * math.log(64) + math.log(32))
    assert mad_score(arch, (3, 8, 8), weights=(1, 0)) == _close(through + math.log(64))
    entropy = 1 * math.log(64 * 64) * through + 8 * math.log(32 * 16) * (through + 0.5 * math.log(64))
    assert deepmad_score(arch, (3, 8, 8), penalty=0) == _close(entropy)
