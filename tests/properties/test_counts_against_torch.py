"""Counts agree with a torch forward: parameters, multiply-adds by hooks, memory by following storages."""

import weakref
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import blocks, fits
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from hardware.counts import count
from search_spaces.arch import Architecture
from search_spaces.blocks import BLOCKS
from search_spaces.build import build
from search_spaces.expand import expand
from search_spaces.layers import (
    ACTIVATIONS,
    ADD,
    ATTENTION,
    AVG_POOL,
    CONV,
    GLOBAL_POOL,
    INPUT,
    LAYER_NORM,
    LINEAR,
    MUL,
    NORM,
    POSITION,
    SUM,
    ZERO,
)
from search_spaces.operations import compute

CLASSES = 6


@st.composite
def networks_with(draw, kind):
    kinds = [draw(st.sampled_from(sorted(BLOCKS))) for _ in range(draw(st.integers(0, 2)))]
    shape = (draw(st.integers(1, 4)), draw(st.integers(3, 20)), draw(st.integers(3, 20)))
    rows = (draw(blocks((k,), widths=st.integers(1, 40), max_depth=3)) for k in [*kinds, kind])
    arch = Architecture(tuple(rows))
    assume(fits(arch, shape))
    return arch, shape


def macs_by_hooks(model, images):
    total = 0

    def add_conv(module, inputs, output):
        nonlocal total
        taps = prod(module.kernel_size) * module.in_channels // module.groups
        total += output.numel() // output.shape[0] * taps

    def add_linear(module, inputs, output):
        nonlocal total
        total += module.in_features * module.out_features

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(add_conv)
        elif isinstance(module, nn.Linear):
            module.register_forward_hook(add_linear)
    with FlopCounterMode(display=False) as attention:
        model(images)
    products = attention.get_flop_counts()["Global"].get(torch.ops.aten.bmm, 0)  # of queries and keys, of values
    return total + products // 2 // len(images)


@pytest.mark.parametrize("kind", BLOCKS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_params_and_macs(kind, data):
    arch, shape = data.draw(networks_with(kind))
    model = build(arch, num_classes=CLASSES, in_channels=shape[0]).eval()
    counts = count(arch, shape, CLASSES)
    assert counts.params == sum(p.numel() for p in model.parameters())
    with torch.inference_mode():
        assert counts.macs == macs_by_hooks(model, torch.zeros(1, *shape))


class LiveStorages(TorchDispatchMode):
    """Follows every storage that an operation returns until its last tensor dies; weights are not counted."""

    def __init__(self, given, weights):
        super().__init__()
        self.ignored = {tensor.untyped_storage().data_ptr() for tensor in weights}
        self.bytes_at = {}
        self.tensors_at = {}
        self.peak_bytes = 0
        self.follow(given)

    def follow(self, tensor):
        storage = tensor.untyped_storage()
        at = storage.data_ptr()
        if at in self.ignored:
            return
        if at not in self.bytes_at:
            self.bytes_at[at], self.tensors_at[at] = storage.nbytes(), 0
        self.tensors_at[at] += 1
        weakref.finalize(tensor, self.forget, at)
        self.peak_bytes = max(self.peak_bytes, sum(self.bytes_at.values()))

    def forget(self, at):
        self.tensors_at[at] -= 1
        if self.tensors_at[at] == 0:
            del self.bytes_at[at], self.tensors_at[at]

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if all(result is not argument for argument in args):
            self.follow(result)
        return result


def run_like_a_runtime(layers, weights, values):
    """Inference as runtimes do it: norms folded away, activations and additions in place where legal.

    ``values`` is consumed: nothing is kept longer than its last reader needs it.
    """
    readers = {}
    for layer in layers:
        for i in layer.inputs:
            readers[i] = readers.get(i, 0) + 1
    for at, layer in enumerate(layers):
        for i in layer.inputs:
            readers[i] -= 1
        operands = [values[i] for i in layer.inputs]
        free = [readers[i] == 0 for i in layer.inputs]
        values[at] = operate(layer, weights, operands, free)
        del operands
        for i in set(layer.inputs):
            if readers[i] == 0:
                del values[i]


def operate(layer, weights, operands, free):
    x = operands[0]
    if layer.op == CONV:
        return F.conv2d(x, weights[layer.name], None, layer.stride, layer.padding, 1, layer.groups)
    if layer.op == LINEAR:
        return F.linear(x.flatten(1), weights[layer.name])
    if layer.op == LAYER_NORM:
        return torch.empty_like(x)
    if layer.op == ATTENTION:
        return attend(layer, operands)
    if layer.op in (GLOBAL_POOL, AVG_POOL, ZERO):
        return compute(layer, [x])
    return x if layer.op == NORM else operate_in_place(layer, operands, free)


def attend(layer, operands):
    """The weights between all positions exist once, beside inputs and output; softmax works in place."""
    queries, keys, values = (x.view(layer.groups, -1, prod(layer.shape[1:])) for x in operands)
    weights = torch.bmm(queries.transpose(1, 2), keys)
    return torch.bmm(values, weights).view(1, *layer.shape)


def operate_in_place(layer, operands, free):
    x, y = operands[0], operands[-1]
    if layer.op in (*ACTIVATIONS, POSITION):
        return x.neg_() if free[0] else -x  # what it computes does not matter here
    if layer.op == ADD:
        return x.add_(y) if free[0] else y.add_(x) if free[1] else x + y
    if layer.op == SUM:
        return sum_in_place(operands, free)
    assert layer.op == MUL
    return x.mul_(y) if free[0] else x * y


def sum_in_place(operands, free):
    into = next((i for i, dies in enumerate(free) if dies), None)
    total = operands[0].clone() if into is None else operands[into]
    for i, operand in enumerate(operands):
        if i != (into or 0):
            total.add_(operand)
    return total


@pytest.mark.parametrize("kind", BLOCKS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_peak_memory_is_the_high_water_mark_of_live_tensors(kind, data):
    arch, shape = data.draw(networks_with(kind))
    layers = expand(arch, shape, CLASSES)
    weights = {
        layer.name: torch.zeros(layer.channels, layer.in_channels // layer.groups, layer.kernel, layer.kernel)
        for layer in layers
        if layer.op == CONV
    }
    weights |= {x.name: torch.zeros(x.channels, x.in_channels) for x in layers if x.op == LINEAR}
    values = {INPUT: torch.from_numpy(np.zeros((1, *shape), np.float32))}
    with torch.inference_mode(False), torch.no_grad(), LiveStorages(values[INPUT], weights.values()) as live:
        run_like_a_runtime(layers, weights, values)
    assert count(arch, shape, CLASSES).peak_memory_bytes == live.peak_bytes
