"""Entropy scores of published and random TinyNAS networks against the authors' code, to the digit."""

import json
import math
from pathlib import Path
from statistics import fmean, stdev

import pytest
import tinynas_structures as tinynas
import torch

from predictors.proxies.deepmad import (
    deepmad_entropy_of_layers,
    deepmad_score,
    effectiveness,
    effectiveness_of_layers,
)
from predictors.proxies.entropy import (
    MULTI_SCALE,
    MULTI_SCALE_DAMO_YOLO,
    SINGLE_SCALE,
    mad_score,
    mad_score_of_layers,
    stages_of_layers,
)
from predictors.proxies.entropy_forward import NoiseSampling, mad_score_measured
from predictors.proxies.quantization_entropy import (
    Bits,
    quantization_entropy,
    quantization_entropy_of_layers,
    quantized_rms,
)
from search_spaces.expand import expand

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "entropy_scores.json").read_text())
MEASURED = json.loads((HERE / "entropy_forward.json").read_text())["networks"]
NETWORKS = GOLDEN["networks"]
SLOW = {"R18-like", "maedet_s"}
WEIGHTS = {"single": SINGLE_SCALE, "multi": MULTI_SCALE, "damoyolo": MULTI_SCALE_DAMO_YOLO}


def _name(network):
    return network["name"]


def _layers(network):
    return expand(tinynas.architecture(network["structure"]), tinynas.input_shape(network))


def _exactly(value):
    return pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("network", NETWORKS, ids=_name)
def test_stages_are_the_authors(network):
    found = stages_of_layers(_layers(network))
    assert [stage.convs for stage in found] == network["convs"]
    assert [stage.shape[0] for stage in found] == network["channels"]
    assert [1 if stage.gated else stage.shape[1] for stage in found] == network["sides"]


@pytest.mark.parametrize("network", NETWORKS, ids=_name)
def test_mad_is_the_authors(network):
    layers = _layers(network)
    arch = tinynas.architecture(network["structure"])
    for name, weights in WEIGHTS.items():
        assert mad_score_of_layers(layers, weights=weights) == _exactly(network[f"mad_{name}"])
        score = mad_score(arch, tinynas.input_shape(network), weights=weights)
        assert score == _exactly(network[f"mad_{name}"])


def test_mad_is_what_the_damo_yolo_tutorial_prints():
    network = next(n for n in NETWORKS if n["name"] == "damoyolo_tutorial")
    printed = {"damoyolo": 1399.2675807481487, "multi": 577.0716364544834, "single": 82.21959442936654}
    for name, value in printed.items():
        assert mad_score_of_layers(_layers(network), weights=WEIGHTS[name]) == _exactly(value)


@pytest.mark.parametrize("network", [n for n in NETWORKS if "rho" in n], ids=_name)
def test_deepmad_and_rho_are_the_authors(network):
    layers = _layers(network)
    entropy = deepmad_entropy_of_layers(layers, compat=True)
    assert entropy == _exactly(network["deepmad_entropy"])
    assert effectiveness_of_layers(layers) == _exactly(network["rho"])


@pytest.mark.parametrize("network", [n for n in NETWORKS if "deepmad" in n], ids=_name)
def test_deepmad_of_an_architecture_is_the_authors(network):
    arch, shape = tinynas.architecture(network["structure"]), tinynas.input_shape(network)
    assert deepmad_score(arch, shape, compat=True) == _exactly(network["deepmad"])
    raw = deepmad_score(arch, shape, penalty=0, weights=(1, 1, 1, 1, 8), compat=True)
    assert raw == _exactly(network["deepmad_entropy"])
    assert effectiveness(arch, shape) == _exactly(network["rho"])


def test_behind_a_gate_the_true_side_counts():
    network = next(n for n in NETWORKS if n["name"] == "deepmad-50M")
    found = stages_of_layers(_layers(network))
    assert [stage.shape[1] for stage in found] == [112, 56, 28, 14, 7]
    expected = sum(
        weight * (math.log(stage.shape[0]) + 2 * math.log(side)) * stage.log_std
        for stage, side, weight in zip(found, (112, 56, 28, 14, 7), (1, 1, 1, 1, 8), strict=True)
    )
    assert deepmad_entropy_of_layers(_layers(network)) == _exactly(expected)
    assert expected > 1.5 * network["deepmad_entropy"]


@pytest.mark.parametrize("network", GOLDEN["quantised"], ids=_name)
def test_qe_score_is_the_authors(network):
    arch, shape = tinynas.architecture(network["structure"]), tinynas.input_shape(network)
    bits = [Bits(*pair) for pair in network["bits"]]
    for name, weights in WEIGHTS.items():
        score = quantization_entropy(arch, shape, bits, weights=weights)
        assert score == _exactly(network[f"qe_{name}"])
        by_layers = quantization_entropy_of_layers(expand(arch, shape, 10), bits, weights=weights)
        assert by_layers == _exactly(network[f"qe_{name}"])
    assert quantization_entropy(arch, shape, bits) == _exactly(network["qe_multi"])
    assert effectiveness(arch, shape) == _exactly(network["rho"])


def test_what_bits_keep_is_the_authors_table():
    for std, bits, value in GOLDEN["quantized_rms"]:
        assert quantized_rms(std, bits) == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(network, id=_name(network), marks=[pytest.mark.slow] if network["name"] in SLOW else [])
        for network in MEASURED
    ],
)
def test_the_noise_forward_is_the_authors_within_three_standard_errors(network):
    arch, shape = tinynas.architecture(network["structure"]), tinynas.input_shape(network)
    sampling = NoiseSampling(batch=network["batch"], repeat=12)
    for name in ("single", "multi"):
        generator = torch.Generator().manual_seed(100)
        ours = mad_score_measured(arch, shape, sampling, weights=WEIGHTS[name], generator=generator)
        error = math.hypot(ours.standard_error, stdev(network[name]) / len(network[name]) ** 0.5)
        assert abs(ours.mean - fmean(network[name])) < 3 * error
        assert stdev(ours.values) == pytest.approx(stdev(network[name]), rel=1.0)
        assert ours.mean < mad_score(arch, shape, weights=WEIGHTS[name])
