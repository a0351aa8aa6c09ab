"""Which layers of a file run in integers: what ONNX Runtime keeps, and why the rest stays in floating point."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from compress_modules import MODULES, random_norms
from torch import nn

from nas.compress.graph import executed_graph
from nas.compress.onnx_file import write_onnx, write_quantised_onnx
from nas.compress.onnx_file.kernels import Kernels, kernels_of
from nas.compress.quantise import QuantiseSettings, quantise_network

LAYERS = {"residual": 6, "padded shortcut": 4, "mixture": 11, "transformer": 6}
WEIGHTS = ["conv1.weight", "conv2.weight", "conv3.weight", "out.weight", "short.weight", "stem.weight"]  # of "residual"


@cache
def quantised_kernels(name: str, **settings: int | None) -> Kernels:
    torch.manual_seed(0)
    make, shape = MODULES[name]
    wanted = QuantiseSettings(method="minmax", **{"weight_bits": 7, "edge_bits": 7, **settings})  # type: ignore[arg-type]
    return kernels_of(
        write_quantised_onnx(quantise_network(random_norms(make()), torch.randn(16, *shape), settings=wanted))
    )


@pytest.mark.parametrize("name", LAYERS)
def test_all_layers_with_codes_run_in_integers(name: str) -> None:
    found = quantised_kernels(name)
    assert found.integer == LAYERS[name]
    assert [node for node in found.floating if node.weight and node.operation != "ConvTranspose"] == []


@pytest.mark.parametrize("bits", [4, 3])
def test_few_bits_run_in_the_8_bit_kernel(bits: int) -> None:
    found = quantised_kernels("residual", weight_bits=bits, activation_bits=bits)
    assert found == Kernels(LAYERS["residual"], ())


def test_a_transposed_convolution_is_named_with_its_weight() -> None:
    [node] = quantised_kernels("mixture").floating
    assert (node.operation, node.weight) == ("ConvTranspose", "up.weight")
    assert node.reason == "ONNX Runtime has no integer kernel for transposed convolutions"


def test_products_of_activations_are_told_from_layers() -> None:
    floating = quantised_kernels("transformer").floating
    assert [(node.weight, node.reason) for node in floating] == [
        ("", "a product of two activations, not both of them rounded")
    ] * 2
    assert {node.name for node in floating} == {"matmul", "matmul_1"}  # though ONNX Runtime has renamed the first


def test_weights_alone_in_integers_run_in_floating_point() -> None:
    found = quantised_kernels("residual", activation_bits=None)
    assert found.integer == 0
    assert sorted(node.weight for node in found.floating) == WEIGHTS
    assert {node.reason for node in found.floating} == {"its input is not quantised"}


def test_a_float_file_has_nothing_in_integers() -> None:
    model = random_norms(MODULES["residual"][0]())
    found = kernels_of(write_onnx(executed_graph(model, (3, 8, 8)), (3, 8, 8)))
    assert found.integer == 0
    assert {node.reason for node in found.floating} == {"neither its input nor its weight is quantised"}
    assert sorted(node.weight for node in found.floating) == WEIGHTS


def test_a_convolution_whose_output_is_not_rounded_is_said_to_stay() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(64, 2)).eval()
    settings = QuantiseSettings(method="minmax", weight_bits=7, edge_bits=7)
    quantised = quantise_network(model, torch.randn(16, 3, 6, 6), settings=settings)
    images = next(iter(quantised.activations))
    bare = replace(quantised, activations={images: quantised.activations[images]})
    found = kernels_of(write_quantised_onnx(bare))
    reasons = {node.weight: node.reason for node in found.floating}
    assert found.integer == 0
    assert reasons["0.weight"].startswith("its output is not rounded")
    assert reasons["1.weight"] == reasons["3.weight"] == "its input is not quantised"
