"""Every operation of our spaces on every runtime: computed as the reference does, or refused by its name."""

import dataclasses

import numpy as np
import pytest
from thinning import thinned

from hardware.device import Device
from hardware.folded_network import FoldedNetwork, resized
from hardware.measuring_process import read_source
from hardware.models import LayerModel
from hardware.numerics import check_numerics
from hardware.runtimes import RUNTIMES, missing
from hardware.runtimes.contract import RuntimeRefused, import_runtime
from search_spaces import SPACES
from search_spaces.expand import expand
from search_spaces.layers import (
    ACTIVATIONS,
    ADD,
    CONCAT,
    CONV,
    GLOBAL_POOL,
    LINEAR,
    MAX_POOL,
    OPS,
    RELU,
    Layer,
)
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


@pytest.mark.parametrize("space", thinned(CASES, 2))
@pytest.mark.parametrize("name", NAMES)
def test_each_space_computes_the_reference(name, space):
    if reason := missing(name):
        pytest.skip(reason)
    for model in networks(space):
        device = Device(runtime=name)
        source, _ = read_source(model, device)
        assert check_numerics(import_runtime(name).load(source, device), source, device) < 1e-4


def mixture():
    """What the small networks of those spaces lack: every activation, maximum pooling, concatenation."""
    shapes = {"in": (3, 18, 15), "wide": (6, 18, 15), "half": (6, 9, 8), "both": (12, 9, 8)}
    rows = [Layer("conv", CONV, (-1,), shapes["in"], shapes["wide"], 3, bias=True)]
    for activation in ACTIVATIONS:
        at = len(rows) - 1
        rows.append(Layer(f"act.{activation}", activation, (at,), shapes["wide"], shapes["wide"]))
        rows.append(Layer(f"add.{activation}", ADD, (at, at + 1), shapes["wide"], shapes["wide"]))
    at = len(rows) - 1
    rows += [
        Layer("below", CONV, (at,), shapes["wide"], shapes["wide"], 1, bias=True),
        Layer("same", MAX_POOL, (at + 1,), shapes["wide"], shapes["wide"], 3, 1),
        Layer("half", MAX_POOL, (at + 2,), shapes["wide"], shapes["half"], 3, 2),
        Layer("two", CONCAT, (at + 3, at + 3), shapes["half"], shapes["both"]),
        Layer("tiles", MAX_POOL, (at + 4,), shapes["both"], (12, 4, 4), 2, 2),
        Layer("pool", GLOBAL_POOL, (at + 5,), (12, 4, 4), (12, 1, 1)),
        Layer("pairs", CONCAT, (at + 6, at + 6), (12, 1, 1), (24, 1, 1)),
        Layer("fc", LINEAR, (at + 7,), (24, 1, 1), (5, 1, 1)),
    ]
    return LayerModel("mixture", tuple(rows), shapes["in"])


@pytest.mark.parametrize("name", NAMES)
def test_the_other_operations_compute_the_reference(name):
    if reason := missing(name):
        pytest.skip(reason)
    whole = mixture()
    for end in (None, -4):  # with the classifier, and as maps
        model = LayerModel("mixture", whole.layers[:end], whole.input_shape)
        source, _ = read_source(model, Device(runtime=name))
        assert check_numerics(import_runtime(name).load(source, Device(runtime=name)), source, Device()) < 1e-4


def test_both_together_hold_all_operations():
    found = {layer.op for space in CASES for model in networks(space) for layer in model.layers}
    assert found | {layer.op for layer in mixture().layers} == set(OPS)


@pytest.mark.parametrize("name", ["litert", "ncnn"])
def test_an_operation_that_we_cannot_write_names_its_layer(name):
    if reason := missing(name):
        pytest.skip(reason)
    source, _ = read_source(mixture(), Device(runtime=name))
    strange = source.layers[1]._replace(name="act.new", op="a_new_one")
    unknown = dataclasses.replace(source, layers=(source.layers[0], strange))
    with pytest.raises(RuntimeRefused, match=r"mixture: layer 'act.new' is a_new_one, which .* not written"):
        import_runtime(name).load(unknown, Device(runtime=name))
    place = {"litert": "{tflite}", "ncnn": "{param}"}[name]
    with pytest.raises(RuntimeRefused, match=r"mixture: layer 'act.new' is a_new_one, which .* not written"):
        import_runtime("command").load(unknown, Device(runtime="command", run=f"x {place}"))


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
