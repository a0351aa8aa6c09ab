"""Every operation of our spaces on every runtime: computed as the reference does, or refused by its name."""

import numpy as np
import pytest

from hardware.device import Device
from hardware.folded_network import FoldedNetwork, resized
from hardware.measuring_process import read_source
from hardware.models import LayerModel
from hardware.numerics import check_numerics
from hardware.runtimes import RUNTIMES, missing
from hardware.runtimes.contract import import_runtime
from search_spaces import SPACES
from search_spaces.expand import expand
from search_spaces.layers import ADD, CONV, OPS, RELU
from search_spaces.random_weights import random_weights

COMPILERS = ("torch-compile", "aotinductor", "executorch")
CASES = {  # space: image
    "zen-idw-se": (3, 17, 31),
    "resnet-small": (3, 31, 32),
    "mobilenetv3-tiny-images": (3, 37, 40),
    "nas-bench-201-tiny": (3, 33, 30),
    "transnas-micro": (3, 34, 33),
    "vit-tiny": (3, 32, 48),
}
NAMES = [name for name, row in RUNTIMES.items() if name not in (*COMPILERS, "command") and "cpu" in row.precisions]


def networks(space):
    """The two smallest of a dozen networks, one with a classifier."""
    rng = np.random.default_rng(1)
    drawn = [expand(SPACES[space].sample(rng), CASES[space], (5, None)[i % 2]) for i in range(12)]
    for kind in (drawn[::2], drawn[1::2]):
        smallest = min(kind, key=lambda layers: sum(layer.weight_count + layer.macs for layer in layers))
        yield LayerModel(f"{space}, {len(smallest)} layers", smallest, CASES[space])


@pytest.mark.parametrize("space", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_each_space_computes_the_reference(name, space):
    if reason := missing(name):
        pytest.skip(reason)
    for model in networks(space):
        device = Device(runtime=name)
        source, _ = read_source(model, device)
        assert check_numerics(import_runtime(name).load(source, device), source, device) < 1e-4


def test_these_spaces_hold_nearly_all_operations():
    """The rest is SUM with one input, and what only one published network uses."""
    found = {layer.op for space in CASES for model in networks(space) for layer in model.layers}
    assert len(set(OPS) - found) <= 4, set(OPS) - found


def test_position_tables_are_resized_as_pytorch_does():
    import torch

    table = np.random.default_rng(0).standard_normal((3, 7, 7), dtype=np.float32)
    for size in ((7, 7), (4, 9), (14, 1)):
        expected = torch.nn.functional.interpolate(torch.from_numpy(table)[None], size, mode="bilinear")[0].numpy()
        assert resized(table, *size) == pytest.approx(expected, abs=1e-6)


def test_a_step_takes_in_only_what_nobody_else_reads():
    layers = list(expand(SPACES["resnet-small"].sample(np.random.default_rng(1)), (3, 32, 32), 5))
    weights = random_weights(layers, 0)
    steps = FoldedNetwork(layers, weights, {CONV: (RELU,), ADD: (RELU,)}).steps()
    assert len({step.output for step in steps}) == len(steps)
    outputs = {step.output for step in steps} | {-1}
    for step in steps:
        assert set(step.layer.inputs) <= outputs
        assert step.activation in ("", RELU)
    assert {step.layer.op for step in steps} & {"norm", RELU} <= {RELU}
    assert sum(step.activation == RELU for step in steps) > 3
