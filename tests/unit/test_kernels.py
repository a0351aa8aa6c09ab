"""What runtimes execute: kernels from layers."""

import numpy as np
import pytest

from hardware.counts import count
from hardware.kernels import DENSE, DEPTHWISE, POINTWISE, InvalidKernel, Kernel, check_kernel, fuse, kernels_of
from search_spaces import SPACES
from search_spaces.arch import Architecture, Block
from search_spaces.expand import expand
from search_spaces.layers import CONV, NORM

SHAPE = (3, 64, 64)


@pytest.mark.parametrize("name", SPACES)
def test_every_layer_belongs_to_one_kernel_and_no_work_is_lost(name):
    arch = SPACES[name].sample(np.random.default_rng(0))
    layers = expand(arch, SHAPE, 10)
    fused = fuse(layers)
    assert sorted(at for each in fused for at in each.layers) == list(range(len(layers)))
    assert sum(each.kernel.macs for each in fused) == count(arch, SHAPE, 10).macs
    for each in fused:
        check_kernel(each.kernel)


def test_a_residual_block_is_one_kernel_a_convolution():
    layers = expand(Architecture((Block("zen_xx", 8, 3, inner=16),)), (4, 8, 8), None)
    first, *others = kernels_of(layers)
    assert first == Kernel(DENSE, (4, 8, 8), (16, 8, 8), 3, act="relu")
    shortcut = next(kernel for kernel in others if kernel.kind == POINTWISE)
    assert not shortcut.adds  # the main path adds
    assert sum(kernel.adds for kernel in others) == 1
    assert [kernel.act for kernel in others if kernel.adds] == ["relu"]


def test_a_depthwise_convolution_with_its_activation_and_batch():
    layers = expand(Architecture((Block("genet_dw", 16, 3, 2, inner=24),)), (8, 8, 8), None)
    kernels = kernels_of(layers, batch=4)
    depthwise = next(kernel for kernel in kernels if kernel.kind == DEPTHWISE)
    assert depthwise.groups == 24
    assert depthwise.batch == 4
    assert depthwise.macs == 4 * 24 * 9 * 16
    assert depthwise.weight_count == 24 * 10


def test_a_norm_that_is_not_behind_a_convolution_stays():
    layers = expand(SPACES["nas-bench-201"].sample(np.random.default_rng(0)), (3, 32, 32), 10)
    lonely = [at for at, layer in enumerate(layers) if layer.op == NORM and layers[layer.inputs[0]].op != CONV]
    fused = {each.layers[0] for each in fuse(layers)}
    assert lonely
    assert fused.issuperset(lonely)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (Kernel("wave", (4, 8, 8), (4, 8, 8)), "kind='wave', expected one of conv"),
        (Kernel(DENSE, (4, 8, 8), (4, 0, 8), 3), "height=0, expected a whole number of at least 1"),
        (Kernel(DENSE, (4, 8, 8), (4, 8, 8), 3, act="cube"), "act='cube'"),
        (Kernel("grouped", (4, 8, 8), (6, 8, 8), 3, groups=4), "groups=4 do not divide 4 input and 6 output"),
        (Kernel(DENSE, (4, 8, 8), (4, 8, 8), 1), "is 'pointwise'"),
    ],
)
def test_what_is_no_kernel_is_refused(kernel, message):
    with pytest.raises(InvalidKernel, match=message):
        check_kernel(kernel, "row 3")
